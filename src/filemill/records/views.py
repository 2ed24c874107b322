"""Typed views: what type a column of texts or JSON values is, and its values in that type.

A column is a number only if every value in it is one that survives the round trip: `007`, `+5` and integers of more
than 64 bits make it text, and so does an integer of 2**53 or more among floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from filemill.records.layout import UNKNOWN

DTYPES: dict[str, pl.DataType] = {
    "integer": pl.Int64(),
    "float": pl.Float64(),
    "boolean": pl.Boolean(),
    "text": pl.String(),
    UNKNOWN: pl.Null(),
}
_INTEGER = r"^-?(?:0|[1-9][0-9]*)$"
_FLOAT = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$"
_BOOLEAN = r"^(?:true|false)$"
# A person who declares a type knows that `007` is a number there.
_DECLARED_INTEGER = r"^[+-]?[0-9]+$"
_DECLARED_FLOAT = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
_MAYBE = r"^(?:-?[0-9]|true$|false$)"
_EXACT = 2**53
_SAMPLE = 64
_PLAIN = "v"
"""A name for series that are worked on: under their own, Polars takes `^a$` and `*` for patterns of names."""


def maybe_typed(values: pl.Series) -> pl.Series:
    """Which texts could be a number or a boolean; a column with none of them is text or empty in any stretch."""
    return values.alias(_PLAIN).str.contains(_MAYBE)


def infer_text(values: pl.Series) -> str:
    """The type of a column of texts, '' being no value; UNKNOWN when there is no other."""
    return view_text(values)[0]


def view_text(values: pl.Series) -> tuple[str, pl.Series | None]:
    """The type of a column of texts, and its view where finding the type made it."""
    sample = values.head(_SAMPLE).alias(_PLAIN)
    sample = sample.filter(sample != "")
    if len(sample) and not maybe_typed(sample).all():
        return "text", values
    for word, pattern in (("boolean", _BOOLEAN), ("integer", _INTEGER), ("float", _FLOAT)):
        if len(sample) and not sample.str.contains(pattern).all():
            continue
        view, misfits = cast_text(values, word)
        if misfits is None:
            return (word, view) if view.null_count() < len(view) else (UNKNOWN, None)
        odd = values.filter(misfits).alias(_PLAIN)
        if word == "integer" and odd.str.contains(_INTEGER).any():
            return "text", values  # more than 64 bits
    return "text", values


def cast_text(
    values: pl.Series, word: str, *, declared: bool = False
) -> tuple[pl.Series, pl.Series | None]:
    """The values in that type ('' is null, except in text), and a mask of those that do not fit, if any."""
    if word == "text":
        return values, None
    view, misfits = _cast(values.alias(_PLAIN), word, declared=declared)
    return view.alias(values.name), misfits


def _cast(values: pl.Series, word: str, *, declared: bool) -> tuple[pl.Series, pl.Series | None]:
    empty = values == ""
    if word == UNKNOWN:
        misfit = ~empty
        return pl.Series(values.name, [None] * len(values), dtype=pl.Null), _some(misfit)
    if word == "boolean":
        return _cast_boolean(values, empty)
    if word == "integer":
        view = values.str.strip_prefix("+") if declared else values
        number = view.cast(pl.Int64, strict=False)
        pattern = _DECLARED_INTEGER if declared else _INTEGER
        return number, _some(~empty & (number.is_null() | ~values.str.contains(pattern)))
    view = values.str.strip_prefix("+") if declared else values
    number = view.cast(pl.Float64, strict=False)
    pattern = _DECLARED_FLOAT if declared else _FLOAT
    misfit = ~empty & (number.is_null() | number.is_infinite() | ~values.str.contains(pattern))
    if not declared:
        big = (number.abs() >= _EXACT).fill_null(value=False)
        if big.any():
            misfit |= big & values.str.contains(_INTEGER)
    return number, _some(misfit)


def without(view: pl.Series, misfits: pl.Series) -> pl.Series:
    """The view with no value where one does not fit."""
    frame = pl.DataFrame({"v": view, "m": misfits})
    kept = frame.select(pl.when("m").then(None).otherwise(pl.col("v"))).to_series()
    return kept.alias(view.name)


def whole_numbers(values: Sequence[Any]) -> list[Any]:
    """JSON values in which a float without a fraction is an integer, as a schema's `integer` means it."""
    return [int(v) if type(v) is float and v.is_integer() else v for v in values]


def _cast_boolean(values: pl.Series, empty: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    truth = values == "true"
    misfit = ~empty & ~truth & (values != "false")
    frame = pl.DataFrame({"t": truth, "e": empty | misfit})
    view = frame.select(pl.when(pl.col("e")).then(None).otherwise(pl.col("t"))).to_series()
    return view.alias(values.name), _some(misfit)


def _some(mask: pl.Series) -> pl.Series | None:
    mask = mask.fill_null(value=False)
    return mask if mask.any() else None


def infer_values(values: Sequence[Any]) -> str:
    """The type of a column of JSON values, None being no value; UNKNOWN when there is no other."""
    kinds = set(map(type, values)) - {type(None)}
    if not kinds:
        return UNKNOWN
    if kinds == {str}:
        return "text"
    if kinds == {bool}:
        return "boolean"
    if kinds == {int}:
        return "integer" if _all_64_bit(values) else "text"
    if kinds <= {int, float}:
        exact = all(abs(v) < _EXACT for v in values if type(v) is int)
        return "float" if exact else "text"
    return "text"


def of_json(name: str, values: Sequence[Any]) -> pl.Series | None:
    """The view of a column of JSON values; None if it is text and some values are none, whose own text it shows."""
    word = infer_values(values)
    if word != "text":
        return cast_values(values, word)[0].alias(name)
    if set(map(type, values)) <= {str, type(None)}:
        return pl.Series(name, values, dtype=pl.String)
    return None


def _all_64_bit(values: Sequence[Any]) -> bool:
    try:
        pl.Series(values, dtype=pl.Int64)
    except (OverflowError, TypeError):
        return all(map(_is_64_bit, values))
    return True


def _is_64_bit(value: int | None) -> bool:
    return value is None or -(2**63) <= value < 2**63


_FITS: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "float": (int, float),
    "boolean": (bool,),
    UNKNOWN: (),
}


def cast_values(values: Sequence[Any], word: str) -> tuple[pl.Series, list[int]]:
    """JSON values in that type (not for text), and the indices of those that do not fit."""
    fits = _FITS[word]
    if set(map(type, values)) <= {*fits, type(None)} and (word != "integer" or _all_64_bit(values)):
        return pl.Series("", values, dtype=DTYPES[word], strict=False), []
    misfits = [
        i
        for i, v in enumerate(values)
        if v is not None and (type(v) not in fits or (type(v) is int and not _is_64_bit(v)))
    ]
    if misfits:
        wrong = set(misfits)
        values = [None if i in wrong else v for i, v in enumerate(values)]
    return pl.Series("", values, dtype=DTYPES[word], strict=False), misfits


def from_python(name: str, values: Sequence[Any]) -> pl.Series:
    """A view of what Python code made: numbers, booleans and strings as such, the rest as text."""
    from filemill.records.cells import value_text  # noqa: PLC0415 -- cells stands beside, not above

    word = infer_values(values)
    if word == "text":
        texts = [v if v is None else value_text(v) for v in values]
        return pl.Series(name, texts, dtype=pl.String)
    return cast_values(values, word)[0].alias(name)
