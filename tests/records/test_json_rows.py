"""Rows of JSON records are written by whole columns where they can be: what comes out is the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from filemill.model.errors import PermanentError
from filemill.records import json_rows, json_text
from filemill.records.batch import Batch
from filemill.records.text import standing

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.0, -0.0, 1.0, 1.5, math.nan, 1e300]),
    st.sampled_from(["", "a", "null", "}", '"', "\\", "[", "{", "é", "\n"]),
    st.lists(st.integers(0, 1), max_size=2),
    st.dictionaries(st.sampled_from(["a", "b"]), st.none() | st.integers(0, 1), max_size=2),
)
NAMES = st.sampled_from(["a", "b", "c", "n"])
OLD = st.dictionaries(NAMES, VALUES, max_size=3)


@st.composite
def changes(draw: st.DrawFn) -> tuple[dict[str, Any], dict[Any, Any]]:
    old = draw(OLD)
    written = msgspec.json.decode(msgspec.json.encode(old))
    kind = draw(st.sampled_from(["more", "more", "more", "same", "other", "order", "key"]))
    new: dict[Any, Any] = dict(written)
    if kind == "more":
        new |= {f"x{n}": value for n, value in enumerate(draw(st.lists(VALUES, max_size=2)))}
    elif kind == "other":
        new |= draw(OLD)
    elif kind == "order":
        new = dict(reversed(new.items()))
    elif kind == "key":
        new[1] = 2
    return written, new


def outcome(batch: Any, new: list[Mapping[Any, Any]]) -> Any:
    try:
        made = batch.with_rows(new, range(len(new)))
    except PermanentError as error:
        return str(error)
    return list(standing(made.frame)), made.layout.columns, made.rows()


def expected(batch: Any, new: list[Mapping[Any, Any]]) -> Any:
    """The same by a look at each member of each row."""
    texts = []
    for record, old, row in zip(standing(batch.frame), batch.rows(), new, strict=True):
        if json_rows.equal(row, old):
            texts.append(record)
        elif why := json_rows.problem(row):
            return why
        else:
            texts.append(json_text.rewrite(record, old, row))
    names = tuple(dict.fromkeys(name for row in new for name in row))
    known = tuple(name for name in batch.layout.columns if name in names)
    if texts == list(standing(batch.frame)):
        return texts, batch.layout.columns, batch.rows()
    columns = (*known, *(name for name in names if name not in known))
    return texts, columns, [msgspec.json.decode(text) for text in texts]


@settings(max_examples=400, deadline=None)
@given(
    pairs=st.lists(changes(), min_size=1, max_size=4),
    spaced=st.booleans(),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_it_is_what_a_look_at_each_row_gives(shared_files, pairs, spaced, end) -> None:
    lines = [msgspec.json.encode(old).decode() for old, _ in pairs]
    if spaced:
        lines = [line.replace("{", "{ ", 1) for line in lines]
    batch = shared_files.read("jsonl", "".join(line + end for line in lines).encode()).batch
    new = [new for _, new in pairs]

    assert str(outcome(batch, new)) == str(expected(batch, new))


@pytest.mark.parametrize("change", ["add", "alter", "nothing"])
def test_records_written_as_we_write_take_no_look_at_each_member(shared_files, change) -> None:
    batch = shared_files.read("jsonl", b'{"a":1,"b":null}\n{"a":2,"b":"x"}\n').batch
    new = batch.rows()
    for row in new:
        row.update({"add": {"c": row["a"] * 2}, "alter": {"a": row["a"] * 10}}.get(change, {}))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_rows, "same", None)
        patch.setattr(json_text, "rewrite", None)
        made = batch.with_rows(new, range(2))

    assert list(standing(made.frame)) == [msgspec.json.encode(row).decode() for row in new]


def test_one_record_that_is_written_otherwise_costs_a_look_at_itself(shared_files) -> None:
    batch = shared_files.read("jsonl", b'{"a":1}\n{"a": 2}\n{"a":3}\n').batch
    rows = [{**row, "b": row["a"] > 1} for row in batch.rows()]
    looked = []

    with pytest.MonkeyPatch.context() as patch:
        one = json_rows._one
        patch.setattr(json_rows, "_one", lambda *given: (looked.append(given[0]), one(*given))[1])
        made = batch.with_rows(rows, range(3))

    assert looked == ['{"a": 2}']
    assert list(standing(made.frame)) == [
        '{"a":1,"b":false}',
        '{"a": 2,"b":true}',
        '{"a":3,"b":true}',
    ]


def test_what_a_function_changed_in_place_is_no_old_row(shared_files) -> None:
    batch = shared_files.read("jsonl", b'{"a":[1]}\n').batch
    copy = dict(batch.rows()[0])
    copy["a"].append(2)

    made = batch.with_rows([copy], [0])

    assert list(standing(made.frame)) == ['{"a":[1,2]}']


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_no_format_can_write_is_refused_among_them(shared_files, value) -> None:
    batch = shared_files.read("jsonl", b'{"a":1}\n').batch

    with pytest.raises(PermanentError, match="inf or NaN"):
        batch.with_rows([{"a": 1, "b": value}], [0])


def test_a_nan_in_the_place_of_a_null_is_refused(shared_files) -> None:
    batch = shared_files.read("jsonl", b'{"a":null}\n').batch

    with pytest.raises(PermanentError, match="inf or NaN"):
        batch.with_rows([{"a": math.nan}], [0])


def test_text_that_was_encoded_before_may_not_break_its_line(shared_files) -> None:
    batch = shared_files.read("jsonl", b'{"a":1}\n{"a":2}\n').batch
    rows = [{"a": 1, "b": msgspec.Raw(b'{"c":1}')}, {"a": 2}]

    assert list(standing(batch.with_rows(rows, range(2)).frame)) == [
        '{"a":1,"b":{"c":1}}',
        '{"a":2}',
    ]
    rows[0]["b"] = msgspec.Raw(b'{"c":\n1}')
    with pytest.raises(PermanentError, match="line break"):
        batch.with_rows(rows, range(2))


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(VALUES.filter(lambda value: str(value) != "nan"), min_size=1, max_size=4),
    known=st.booleans(),
)
def test_a_view_that_is_kept_is_what_the_text_is_parsed_to(shared_files, values, known) -> None:
    lines = b"".join(msgspec.json.encode({"a": 1, "b": "x"}) + b"\n" for _ in values)
    batch = shared_files.read("jsonl", lines, needs=frozenset({"a"})).batch
    assert batch.viewed() == ["a"]
    rows = [{"a": value, "b": "x"} if known else {"b": "x", "c": value} for value in values]

    made = batch.with_rows(rows, range(len(rows)))
    again = Batch(made.frame, made.layout, made.file_tags)

    assert_frame_equal(made.typed(["a"]), again.typed(["a"]))
