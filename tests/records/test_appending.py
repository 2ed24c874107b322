"""Rows that only have more members at the end are written by whole columns: what comes out is the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filemill.model.errors import PermanentError
from filemill.records import rows as rows_module
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


def outcome(batch: Any, new: list[Mapping[Any, Any]], old: Any) -> Any:
    try:
        made = batch.with_rows(new, range(len(new)), None, old)
    except PermanentError as error:
        return str(error)
    return list(standing(made.frame)), made.layout.columns, made.rows()


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
    given_rows = batch.rows()

    found = outcome(batch, new, given_rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "appended", lambda *_: None)
        assert str(found) == str(outcome(batch, new, None))


def test_members_added_at_the_end_take_no_look_at_each_row(shared_files) -> None:
    batch = shared_files.read("jsonl", b'{"a":1}\n{"a":2,"b":"x"}\n').batch
    new = [{**row, "c": row["a"] * 2} for row in batch.rows()]

    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(rows_module, "_written")
        made = batch.with_rows(new, range(2))

    assert list(standing(made.frame)) == ['{"a":1,"c":2}', '{"a":2,"b":"x","c":4}']


def test_what_a_function_changed_in_place_is_no_old_row(shared_files) -> None:
    batch = shared_files.read("jsonl", b'{"a":[1]}\n').batch
    given_rows = batch.rows()
    copy = dict(given_rows[0])
    copy["a"].append(2)  # a copy of the dict holds the same list

    made = batch.with_rows([copy], [0], None, given_rows)

    assert list(standing(made.frame)) == ['{"a":[1,2]}']


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_no_format_can_write_is_refused_among_them(shared_files, value) -> None:
    batch = shared_files.read("jsonl", b'{"a":1}\n').batch

    with pytest.raises(PermanentError, match="inf or NaN"):
        batch.with_rows([{"a": 1, "b": value}], [0])
