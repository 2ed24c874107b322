"""A frame's columns: which are places and which the records' own, and what may stand in one."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import polars as pl

from filemill.model.errors import PermanentError
from filemill.records.text import CELL, TAG

PLACES = ("_raw", "_text", "_file", "_record", "_line", "_start")


def is_place(name: str) -> bool:
    """Say whether a frame's column of that name is none of the records' own."""
    return name in PLACES or name.startswith((TAG, CELL))


def absent(name: str, columns: Sequence[str], what: str = "header") -> PermanentError:
    """The error for a column that is named and not there."""
    near = difflib.get_close_matches(name, columns, n=1)
    return PermanentError(
        f"column `{name}` is missing; the {what} has "
        + (f"`{near[0]}`" if near else ", ".join(f"`{c}`" for c in columns[:20])),
        help=f"did you mean `{near[0]}`?" if near else "name a column that the file has",
    )


def exactly(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """These columns, whatever they are called: `select` takes names such as `^a$` and `*` for patterns."""
    if len(set(names)) < len(names):
        return frame.select([frame.get_column(name) for name in names])
    return pl.DataFrame({name: frame.get_column(name) for name in names})


def rows_where(frame: pl.DataFrame, mask: pl.Series) -> pl.DataFrame:
    """Only the masked rows, in order; null counts as false.

    Column by column: `frame.filter` makes a plan of it first, which on a small file costs more than the work.
    """
    return pl.DataFrame([column.filter(mask) for column in frame.get_columns()])


def beside(frame: pl.DataFrame, columns: Sequence[pl.Series]) -> pl.DataFrame:
    """The frame with these columns, each in the place of one of its name if there is one; all of its height."""
    made = frame.clone()
    for column in columns:
        if column.name in made.columns:
            made.replace_column(made.columns.index(column.name), column)
        else:
            made.insert_column(made.width, column)
    return made


def certain(mask: pl.Series) -> pl.Series:
    """The mask with false for null."""
    return mask.fill_null(value=False) if mask.null_count() else mask


def plain(values: pl.Series) -> pl.Series:
    """Values that have a text: decimals (which literals become) as floats, nothing infinite.

    Raises:
        PermanentError: there is inf or NaN in it.
    """
    if values.dtype.is_decimal():
        values = values.cast(pl.Float64)
    if values.dtype.is_float() and not values.is_finite().fill_null(value=True).all():
        raise PermanentError(
            f"column `{values.name}` has inf or NaN, which no format can write",
            help="guard the division or the logarithm that makes it",
        )
    return values


def where(mask: pl.Series, new: pl.Series, old: pl.Series | None) -> pl.Series:
    """The new values where the mask holds, elsewhere the old ones (nothing, if there are none)."""
    frame = pl.DataFrame({"m": mask, "n": new})
    rest: pl.Expr = pl.lit(None)
    if old is not None:
        frame = frame.with_columns(old.alias("o"))
        rest = pl.col("o")
    return frame.select(pl.when("m").then("n").otherwise(rest)).to_series().alias(new.name)
