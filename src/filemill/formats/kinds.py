"""Types beyond integer, float, boolean and text: dates, times, decimals, binary, integers without a sign.

A record holds such a value as text. A kind is a word for its type, and a text is of a kind only if it is the very text
that the value it stands for would be given: so nothing is read into a text that was not written so on purpose.
"""

from __future__ import annotations

from typing import Literal, cast

import polars as pl
from polars.datatypes import DataTypeClass
from polars.exceptions import PolarsError

Type = pl.DataType | DataTypeClass
_DATE, _TIME, _BINARY, _UNSIGNED = "date", "time", "binary", "unsigned"
_DATETIME, _DECIMAL = "datetime", "decimal"
_MOMENT = "%Y-%m-%dT%H:%M:%S%.f"
_CLOCK = "%H:%M:%S%.f"
_Unit = Literal["ns", "us", "ms"]


def kind_of(dtype: Type) -> str:
    """The kind of a type, which for a number or a boolean is its word; empty for text and what is nested."""
    if isinstance(dtype, pl.Datetime):
        return " ".join((_DATETIME, dtype.time_unit, dtype.time_zone or "")).strip()
    if isinstance(dtype, pl.Decimal):
        return f"{_DECIMAL} {dtype.precision} {dtype.scale}"
    plain = {pl.Date: _DATE, pl.Time: _TIME, pl.Binary: _BINARY, pl.UInt64: _UNSIGNED}
    for each, kind in plain.items():
        if dtype == each:
            return kind
    if dtype == pl.Boolean:
        return "boolean"
    return "integer" if dtype.is_integer() else "float" if dtype.is_float() else ""


def dtype_of_kind(kind: str) -> pl.DataType:
    """The type of a kind."""
    word, *more = kind.split(" ")
    if word == _DATETIME:
        return pl.Datetime(cast(_Unit, more[0]), more[1] if len(more) > 1 else None)
    if word == _DECIMAL:
        return pl.Decimal(int(more[0]), int(more[1]))
    plain = {_DATE: pl.Date(), _TIME: pl.Time(), _BINARY: pl.Binary(), _UNSIGNED: pl.UInt64()}
    return plain[word]


def cast_kind(values: pl.Series, kind: str) -> pl.Series:
    """Texts as values of that kind, null where one is none."""
    values = values.alias("v")
    word, *more = kind.split(" ")
    if word == _DATE:
        return values.str.to_date("%Y-%m-%d", strict=False)
    if word == _TIME:
        return values.str.to_time(_CLOCK, strict=False)
    if word == _BINARY:
        return values.str.decode("base64", strict=False)
    if word == _DATETIME:
        unit = cast(_Unit, more[0])
        if len(more) == 1:
            return values.str.to_datetime(_MOMENT, time_unit=unit, strict=False)
        moments = values.str.to_datetime(_MOMENT + "%:z", time_unit=unit, strict=False)
        return moments.dt.convert_time_zone(more[1])
    return values.cast(dtype_of_kind(kind), strict=False)


def is_kind(values: pl.Series, kind: str) -> bool:
    """Say whether every text is the one that a value of that kind has."""
    try:
        return bool(texts(cast_kind(values, kind)).equals(values.alias("v"), null_equal=True))
    except PolarsError:
        return False


def texts(values: pl.Series) -> pl.Series:
    """A column that is not nested as plain texts."""
    if values.dtype == pl.String:
        return values
    said = spoken(pl.col("v"), values.dtype)
    made = pl.col("v").cast(pl.String) if said is None else said
    return values.alias("v").to_frame().select(made).to_series().alias(values.name)


def spoken(value: pl.Expr, dtype: Type) -> pl.Expr | None:
    """A value that JSON has nothing for as text; None if it needs none."""
    if dtype == pl.Date:
        return value.dt.strftime("%Y-%m-%d")
    if isinstance(dtype, pl.Datetime):
        return _zoned(value) if dtype.time_zone else value.dt.strftime(_MOMENT)
    if dtype == pl.Time:
        return value.dt.strftime(_CLOCK)
    if dtype == pl.Duration:
        return value.dt.to_string("iso")
    if dtype == pl.Binary:
        return value.bin.encode("base64")
    return None


def _zoned(value: pl.Expr) -> pl.Expr:
    """Local time with its offset; in UTC where the offset has seconds (before 1900), which ISO 8601 cannot say."""
    offset = (value.dt.base_utc_offset() + value.dt.dst_offset()).dt.total_seconds()
    plain = value.dt.strftime(_MOMENT + "%:z")
    in_utc = value.dt.convert_time_zone("UTC").dt.strftime(_MOMENT + "%:z")
    return pl.when(offset % 60 == 0).then(plain).otherwise(in_utc)
