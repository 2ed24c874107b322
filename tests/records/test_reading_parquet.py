"""Parquet: rows as JSON text without loss, what is bad, what refuses the file."""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
import math
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filemill.model.errors import PermanentError


def local(text: str) -> dt.datetime:
    """A time without a zone, as most Parquet files have it."""
    return dt.datetime.fromisoformat(text)


def parquet(frame: pl.DataFrame, **how: Any) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, **how)
    return buffer.getvalue()


COLUMNS: dict[str, tuple[pl.DataType, st.SearchStrategy[Any]]] = {
    "i": (pl.Int64(), st.integers(-(2**63), 2**63 - 1)),
    "u": (pl.UInt64(), st.integers(0, 2**64 - 1)),
    "f": (pl.Float64(), st.floats(allow_nan=False, allow_infinity=False)),
    "b": (pl.Boolean(), st.booleans()),
    "s": (pl.String(), st.text(max_size=6)),
    "x": (pl.Binary(), st.binary(max_size=6)),
    "m": (pl.Decimal(20, 3), st.decimals(-(10**6), 10**6, places=3)),
    "d": (pl.Date(), st.dates()),
    "t": (pl.Datetime("us"), st.datetimes(local("0001-01-02"), local("9999-12-30"))),
    "l": (pl.List(pl.Int64()), st.lists(st.integers(-5, 5) | st.none(), max_size=3)),
    "r": (
        pl.Struct({"k": pl.String(), "d": pl.Date()}),
        st.fixed_dictionaries({"k": st.text(max_size=3), "d": st.dates() | st.none()}),
    ),
}


@st.composite
def frames(draw: Any) -> pl.DataFrame:
    height = draw(st.integers(1, 6))
    columns = []
    for name in draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, unique=True)):
        dtype, values = COLUMNS[name]
        some = draw(st.lists(values | st.none(), min_size=height, max_size=height))
        columns.append(pl.Series(name, some, dtype=dtype))
    return pl.DataFrame(columns)


def said(value: Any) -> Any:
    """A Python value as its JSON says it."""
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case dt.datetime() | dt.date():
            return value.isoformat()
        case dict():
            return {key: said(each) for key, each in value.items()}
        case list():
            return [said(each) for each in value]
        case _:
            return value


def moment(value: str | None) -> str | None:
    return value if value is None else dt.datetime.fromisoformat(value).isoformat()


@settings(max_examples=40, deadline=None)
@given(frame=frames(), rows=st.integers(1, 4), chunk_size=st.integers(1, 200))
def test_every_value_is_in_the_text(
    shared_files: Any, frame: pl.DataFrame, rows: int, chunk_size: int
) -> None:
    data = parquet(frame, row_group_size=rows)
    reading = shared_files.read("parquet", data, chunk_size=chunk_size)
    assert reading.records == {0: frame.height}
    assert [row[2:] for row in reading.rows()] == [(n, n, 0) for n in range(1, frame.height + 1)]
    for text, row in zip(reading.raw(), frame.to_dicts(), strict=True):
        found = json.loads(text, parse_float=Decimal)
        assert list(found) == list(row)
        for name, value in row.items():
            if name == "f" and value is not None:
                assert float(found[name]) == value
                assert math.copysign(1, float(found[name])) == math.copysign(1, value)
            elif name == "t":
                assert moment(found[name]) == said(value)
            else:
                assert found[name] == said(value)


def test_times_binary_and_what_is_nested(files: Any) -> None:
    frame = pl.DataFrame(
        {
            "ns": pl.Series([1_700_000_000_123_456_789], dtype=pl.Int64).cast(pl.Datetime("ns")),
            "zone": pl.Series([local("2024-07-01T12:00:00")]).dt.replace_time_zone("Europe/Berlin"),
            "time": [dt.time(1, 2, 3, 500_000)],
            "span": [dt.timedelta(days=1, seconds=2)],
            "kind": pl.Series(["a"], dtype=pl.Categorical),
            "list": [[{"t": local("2024-01-01"), "b": b"\xff"}]],
            "void": [None],
            "half": pl.Series([0.1], dtype=pl.Float32),
        }
    )
    (text,) = files.read("parquet", parquet(frame)).raw()
    assert json.loads(text) == {
        "ns": "2023-11-14T22:13:20.123456789",
        "zone": "2024-07-01T12:00:00+02:00",
        "time": "01:02:03.500",
        "span": "P1DT2S",
        "kind": "a",
        "list": [{"t": "2024-01-01T00:00:00", "b": "/w=="}],
        "void": None,
        "half": 0.1,
    }


def test_views_are_the_files_own_types(files: Any) -> None:
    frame = pl.DataFrame(
        {"m": [Decimal("12.50")], "i": [7], "d": [dt.date(2024, 1, 2)], "l": [[1]]}
    )
    reading = files.read("parquet", parquet(frame), needs=frozenset(frame.columns))
    assert {name: reading.dtypes(name) for name in frame.columns} == {
        "m": {pl.Float64()},
        "i": {pl.Int64()},
        "d": {pl.String()},
        "l": {pl.String()},
    }
    assert [reading.views(name) for name in frame.columns] == [[12.5], [7], ["2024-01-02"], ["[1]"]]


def test_only_the_wanted_columns_in_their_order(files: Any) -> None:
    data = parquet(pl.DataFrame({"a": [1], "b": [2], "c": [3]}))
    assert files.read("parquet", data, options={"columns": ["c", "a"]}).raw() == ['{"c":3,"a":1}']
    for more in ({"options": {"columns": ["z"]}}, {"needs": frozenset(["z"])}):
        with pytest.raises(PermanentError, match="column `z` is missing"):
            files.read("parquet", data, **more)


def test_columns_may_be_called_anything(files: Any) -> None:
    names = ["*", "^a$", "", "_raw", "_tag:x", 'q"', "\0", "a"]
    frame = pl.DataFrame([[f"{i}\n"] for i in range(len(names))])
    frame.columns = names
    data = parquet(frame)
    reading = files.read("parquet", data, needs=frozenset(names))
    assert json.loads(reading.raw()[0]) == {name: f"{i}\n" for i, name in enumerate(names)}
    assert reading.batch.typed(["*", "^a$", "a"]).row(0) == ("0\n", "1\n", "7\n")
    some = files.read("parquet", data, options={"columns": ["a", "^a$", "*"]})
    assert json.loads(some.raw()[0]) == {"a": "7\n", "^a$": "1\n", "*": "0\n"}
    assert list(json.loads(some.raw()[0])) == ["a", "^a$", "*"]


def test_what_has_no_text_is_a_bad_record(files: Any) -> None:
    far = pl.Series([0, 2**31 - 1, 0, 0], dtype=pl.Int32).cast(pl.Date)
    frame = pl.DataFrame(
        {"f": [1.0, 1.0, float("nan"), 1.0], "d": far, "l": [[1.0], [None], [], [float("inf")]]}
    )
    data = parquet(frame)
    reading = files.read("parquet", data)
    assert [(b.record, b.line, b.start, b.end, b.error) for b in reading.bad[0]] == [
        (2, 2, 0, 0, "Value"),
        (3, 3, 0, 0, "Value"),
        (4, 4, 0, 0, "Value"),
    ]
    assert reading.raw() == ['{"f":1.0,"d":"1970-01-01","l":[1.0]}']
    forgiving = files.read("parquet", data, options={"nan": "null"})
    assert [b.record for b in forgiving.bad[0]] == [2]
    assert forgiving.raw()[1:] == [
        '{"f":null,"d":"1970-01-01","l":[]}',
        '{"f":1.0,"d":"1970-01-01","l":[null]}',
    ]


def test_a_row_that_is_too_long_is_bad(files: Any) -> None:
    data = parquet(pl.DataFrame({"s": ["x" * 2000, "y"]}))
    reading = files.read("parquet", data, max_record=1024)
    assert [(b.record, b.error) for b in reading.bad[0]] == [(1, "TooLong")]
    assert reading.raw() == ['{"s":"y"}']


def test_what_refuses_a_file(files: Any) -> None:
    whole = parquet(
        pl.DataFrame({"a": list(range(1000)), "s": ["text"] * 1000}), compression="zstd"
    )
    middle = len(whole) // 3
    for data, says in (
        (b"", "no Parquet"),
        (b"a,b\n1,2\n", "no Parquet"),
        (whole[:-1], "cut off"),
        (whole[:middle], "cut off"),
        (b"PARE" + whole[4:-4] + b"PARE", "encrypted"),
        (b"PAR1" + b"\xff" * 100 + b"PAR1", "cannot be read"),
        (whole[:middle] + bytes(200) + whole[middle + 200 :], "cannot be read"),
    ):
        with pytest.raises(PermanentError) as caught:
            files.read("parquet", data)
        assert says in caught.value.message
        assert caught.value.help


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damage_is_refused_or_read_never_worse(shared_files: Any, data: st.DataObject) -> None:
    whole = bytearray(parquet(pl.DataFrame({"a": [1, 2, None], "s": ["x", "yy", "z"]})))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    helped = "none needed"
    try:
        for text in shared_files.read("parquet", bytes(whole)).raw():
            json.loads(text)
    except PermanentError as error:
        helped = error.help
    assert helped
