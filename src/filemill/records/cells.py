"""CSV cells as text: finding them exactly as they stand, and writing new ones with minimal quoting."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import msgspec
import polars as pl

from filemill.model.errors import PermanentError
from filemill.records.layout import Dialect

_ENCODE = msgspec.json.Encoder().encode


@lru_cache(maxsize=64)
def _cell_pattern(separator: str, quote: str) -> re.Pattern[str]:
    s, q = re.escape(separator), re.escape(quote)
    return re.compile(f"{q}(?:[^{q}]|{q}{q})*+{q}|[^{s}{q}]*+")


@lru_cache(maxsize=64)
def _special(separator: str, quote: str) -> str:
    """What makes quoting necessary, as a pattern for both Python and Polars."""
    return f"[{re.escape(separator)}{re.escape(quote)}\\r\\n]"


def split_cells(text: str, dialect: Dialect) -> list[str]:
    """The cells of one proven record, quotes included; `text` ends without CR or LF."""
    separator, quote = dialect.separator, dialect.quote
    if quote is None or quote not in text:
        return text.split(separator)
    pattern = _cell_pattern(separator, quote)
    cells: list[str] = []
    at = 0
    while True:
        match = pattern.match(text, at)
        at = match.end() if match else at
        if match is None or (at < len(text) and text[at] != separator):
            raise PermanentError(f"a record's quoting does not parse: {text[:80]!r}")
        cells.append(match.group())
        if at == len(text):
            return cells
        at += 1


def cell_value(cell: str, dialect: Dialect) -> str:
    """What a cell says: its text without quotes."""
    quote = dialect.quote
    if quote is not None and len(cell) > 1 and cell[0] == quote:
        return cell[1:-1].replace(quote + quote, quote)
    return cell


def value_text(value: Any) -> str:
    """The text of a Python value in a csv cell, before quoting."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    encoded = _ENCODE(value).decode()
    # Dates, decimals and the like encode as JSON strings: a cell holds what is inside.
    return str(msgspec.json.decode(encoded)) if encoded.startswith('"') else encoded


def quote_cell(text: str, dialect: Dialect) -> str:
    """One cell's text, quoted only where it must be.

    Raises:
        PermanentError: quoting is off and the text has a separator or line ending.
    """
    quote = dialect.quote
    if quote is None:
        if re.search(f"[{re.escape(dialect.separator)}\\r\\n]", text):
            raise _cannot_quote(text, dialect)
        return text
    if re.search(_special(dialect.separator, quote), text):
        return quote + text.replace(quote, quote + quote) + quote
    return text


def quote_cells(values: pl.Series, dialect: Dialect) -> pl.Series:
    """A column of cell texts, quoted only where it must be; null stays null. Raises as `quote_cell` does."""
    quote = dialect.quote
    special = _special(dialect.separator, quote or dialect.separator)
    plain = values.alias("v")  # Polars takes names such as `^a$` and `*` for patterns
    needs = plain.str.contains(special)
    if not needs.any():
        return values
    if quote is None:
        raise _cannot_quote(str(values.filter(needs)[0]), dialect)
    cell = pl.col("v")
    quoted = pl.concat_str(
        [pl.lit(quote), cell.str.replace_all(quote, quote * 2, literal=True), pl.lit(quote)]
    )
    made = plain.to_frame().select(pl.when(needs).then(quoted).otherwise(cell)).to_series()
    return made.alias(values.name)


def _lonely(dialect: Dialect) -> str:
    """A record whose only cell is empty: quoted, because an empty line is no record."""
    return "" if dialect.quote is None else dialect.quote * 2


def fill_lonely(texts: pl.Series, dialect: Dialect) -> pl.Series:
    """The same for a column of records."""
    empty = texts == ""
    if dialect.quote is None or not empty.any():
        return texts
    frame = texts.to_frame()
    filled = pl.when(empty).then(pl.lit(_lonely(dialect))).otherwise(pl.col(texts.name))
    return frame.select(filled.alias(texts.name)).to_series()


def _cannot_quote(text: str, dialect: Dialect) -> PermanentError:
    return PermanentError(
        f"a value has a separator or line ending and quoting is off: {text[:60]!r}",
        help=f"set another `separator:` than {dialect.separator!r}, or turn quoting on",
    )
