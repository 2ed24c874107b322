"""Csv that a person opens in a spreadsheet: cells that would be taken for formulas get a `'` before them.

A spreadsheet takes what begins with `=`, `+`, `-`, `@` (also full-width), a tab or a line ending for a formula, and a
formula can reach other files, the network, and in old versions programs (OWASP, CSV Injection). So with
`formulas: escape` such cells begin with `'`. Numbers with a sign stay numbers: what follows the sign is no more than
digits, dots, commas, an exponent, a percent sign. Everything else keeps its exact text, quotes included.

It is done to the encoded text, so that what no step touched is seen as well as what steps made; only records that a
search over the whole column finds suspicious are taken apart.
"""

from __future__ import annotations

import re
from functools import lru_cache

import polars as pl

from filemill.records.cells import cell_value, quote_cell, split_cells
from filemill.records.layout import Dialect

_SIGNS = "=@＝＋－＠"  # noqa: RUF001 -- the full-width ones are meant
_MARK = "'"
_BEGINS = f"{_SIGNS}+-\t\r\n"
_NUMBER = re.compile(r"[+-][0-9.,]*(?:(?<=[0-9])[eE][+-]?[0-9]+)?%?\Z")


def is_formula(value: str) -> bool:
    """Say whether a spreadsheet may take a cell that says this for a formula."""
    return value[:1] in _BEGINS and value != "" and _NUMBER.match(value) is None


def escape(texts: pl.Series, dialect: Dialect) -> pl.Series:
    """These csv records, with a `'` before what may be a formula."""
    suspicious = texts.str.contains(_pattern(dialect.separator, dialect.quote)).arg_true()
    if not len(suspicious):
        return texts
    made = [escape_one(text, dialect) for text in texts.gather(suspicious).to_list()]
    return texts.clone().scatter(suspicious, made)


def escape_one(text: str, dialect: Dialect) -> str:
    """The same of one record; a CR at its end belongs to the line."""
    body = text.removesuffix("\r")
    cells = [_safe(cell, dialect) for cell in split_cells(body, dialect)]
    return dialect.separator.join(cells) + text[len(body) :]


def _safe(cell: str, dialect: Dialect) -> str:
    value = cell_value(cell, dialect)
    if not is_formula(value):
        return cell
    quote = dialect.quote
    if quote is not None and cell.startswith(quote):
        return quote + (_MARK * 2 if quote == _MARK else _MARK) + cell[1:]
    return quote_cell(_MARK + cell, dialect) if quote == _MARK else _MARK + cell


@lru_cache(maxsize=64)
def _pattern(separator: str, quote: str | None) -> str:
    """Finds every record with a formula in it, and some without."""
    s = re.escape(separator)
    number = "0-9." if separator == "," else "0-9.,"
    tab = "" if separator == "\t" else r"\t"
    q = re.escape(quote) if quote is not None else ""
    bare = f"[{_SIGNS}{tab}]|[+-][{number}]*(?:[^{number}{s}{q}\\r]|\\r.)|\\r."
    behind_quote = f"|{q}[{_SIGNS}+\\-\\t\\r\\n]" if q else ""
    return f"(?s)(?:^|{s})(?:{bare}{behind_quote})"
