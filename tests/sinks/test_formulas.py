"""`formulas: escape`: no cell of a csv output begins what a spreadsheet would compute; all else is as it was."""

from __future__ import annotations

import csv
import io

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from filemill.records.cells import quote_cell
from filemill.records.layout import Dialect
from filemill.sinks.folder_options import FolderOptions
from filemill.sinks.formulas import escape, escape_one, is_formula

FORMULAS = [
    "=1+1", "@SUM(A1)", "+1+1", "-1-1", "-E5", "+cmd|' /C calc'!A0", "-2+3", "\t=1", "\r=1", "\n=1", "＝1", "－x",  # noqa: RUF001
    "=", "@", "-1e5x", "+49 170", "-1,=2",
]  # fmt: skip
PLAIN = [
    "", "a", "-5", "+5", "-1.5e3", "-0,5", "-1.234,56", "-5%", "-", "1+1", "a=b", " =1", "'=1", "-.5", "2026-01-02",
]  # fmt: skip
PIECES = [
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "\n",
    "＝",  # noqa: RUF001
    "'",
    '"',
    ",",
    ";",
    "1",
    "23",
    ".",
    "e5",
    "E",
    "%",
    "a",
    " ",
    "é",
]
CELLS = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
DIALECTS = st.sampled_from(
    [Dialect(), Dialect(";"), Dialect("\t"), Dialect("|", "'"), Dialect(",", None)]
)


@pytest.mark.parametrize("value", FORMULAS)
def test_what_is_one(value: str) -> None:
    assert is_formula(value)


@pytest.mark.parametrize("value", PLAIN)
def test_what_is_none(value: str) -> None:
    assert not is_formula(value)


def record(cells: list[str], dialect: Dialect, *, quoted: bool) -> str:
    if quoted and dialect.quote is not None:
        q = dialect.quote
        return dialect.separator.join(q + cell.replace(q, q + q) + q for cell in cells)
    return dialect.separator.join(quote_cell(cell, dialect) for cell in cells)


@given(
    rows=st.lists(st.lists(CELLS, min_size=2, max_size=4), min_size=1, max_size=4),
    dialect=DIALECTS,
    quoted=st.booleans(),
    crlf=st.booleans(),
)
def test_each_formula_and_nothing_else_gets_its_mark(rows, dialect, quoted, crlf) -> None:
    if dialect.quote is None:
        bad = str.maketrans("", "", dialect.separator + "\r\n")
        rows = [[cell.translate(bad) for cell in row] for row in rows]
    end = "\r" if crlf else ""
    texts = [record(row, dialect, quoted=quoted) + end for row in rows]
    if not crlf:  # a CR at the end would be the line's
        texts = [text for text in texts if not text.endswith("\r")]
        rows = [row for row in rows if not record(row, dialect, quoted=quoted).endswith("\r")]
    made = escape(pl.Series(texts, dtype=pl.String), dialect).to_list()
    for row, before, after in zip(rows, texts, made, strict=True):
        expected = [f"'{cell}" if is_formula(cell) else cell for cell in row]
        reader = csv.reader(
            io.StringIO(after.removesuffix("\r"), newline=""),
            delimiter=dialect.separator,
            quotechar=dialect.quote,
            quoting=csv.QUOTE_NONE if dialect.quote is None else csv.QUOTE_MINIMAL,
        )
        if not any("\r" in cell or "\n" in cell for cell in row):  # the csv module ends lines there
            assert next(reader) == expected
        if expected == row:
            assert after == before, "what has no formula keeps its exact text"
        assert after.endswith("\r") == before.endswith("\r")
        assert after == escape_one(before, dialect), "the search misses none"
        assert escape_one(after, dialect) == after, "once is enough"


@pytest.mark.parametrize(
    "other", [{"format": "jsonl"}, {"format": "parquet"}, {"format": "raw"}, {"as": "received"}]
)
def test_it_is_for_csv_alone(other) -> None:
    with pytest.raises(ValidationError, match="is for csv"):
        FolderOptions.model_validate({"folder": "out", "formulas": "escape", **other})
    FolderOptions.model_validate({"folder": "out", "formulas": "escape", "format": "csv"})
