"""Records as columns of exact texts, with a word for what each column could be: what typed formats are made of.

A column's type must be that of all the file's records, and only the last one tells. So values are kept as text, and
each batch says of each column how narrow a type its values would fit; `together` is the type of two stretches, whatever
way the records were parted. A number that a text column holds keeps the digits it came with.

Dates, decimals and the like are text too, unless they were read out of a file that has such types: then a column keeps
its type as long as every value is one of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec
import polars as pl

from filemill.formats.kinds import cast_kind, dtype_of_kind, is_kind
from filemill.records import json_text, text, views
from filemill.records.batch import Batch
from filemill.records.columns import PLACES
from filemill.records.layout import LINE, TYPES, UNKNOWN
from filemill.records.text import CELL

BIG = "big integer"
"""Integers of 64 bits of which some are too large for a float to hold exactly."""
_EXACT = 2**53
_STRING, _TRUE, _FALSE, _NULL = ord('"'), ord("t"), ord("f"), ord("n")
_NUMBER = frozenset(b"-0123456789")
_STRINGS = msgspec.json.Decoder(list[str | None])


class Columns(msgspec.Struct):
    """One row a record, one String column a name, null where a record has no value; and each column's word.

    A column without a word is none: it only stands for the records.
    """

    frame: pl.DataFrame
    words: dict[str, str]


def columns_of(batch: Batch) -> Columns:
    """A batch's columns, in order of first appearance."""
    layout = batch.layout
    made: dict[str, tuple[pl.Series, str]] = {}
    if layout.format == "csv":
        for name in layout.columns:
            made[name] = _csv_column(batch, name)
    else:
        if layout.format == "lines":
            if LINE not in layout.added:
                line = text.bare(text.standing(batch.frame), layout)
                made[LINE] = (line, "text" if len(line) else UNKNOWN)
        else:
            made |= _members(text.standing(batch.frame))
        for name in layout.added:
            cells = batch.frame.get_column(CELL + name)
            values, word = _json_column([None if cell is None else cell.encode() for cell in cells])
            if name in made:  # a member of some records, added to others
                there, other = made[name]
                both = pl.DataFrame({"a": values, "b": there}).select(pl.coalesce("a", "b"))
                values, word = both.to_series(), together(word, other)
            made[name] = (values, word)
    _keep_kinds(made, layout.kinds)
    if not made:  # records of no column still are records
        nothing = pl.repeat(None, len(batch), dtype=pl.String, eager=True).alias("")
        return Columns(nothing.to_frame(), {})
    frame = _named([values.cast(pl.String) for values, _ in made.values()], list(made))
    return Columns(frame, {name: word for name, (_, word) in made.items()})


def _keep_kinds(made: dict[str, tuple[pl.Series, str]], kinds: Sequence[tuple[str, str]]) -> None:
    """Give columns back the types they had in their file, where every value still is of it."""
    for name, kind in kinds:
        if name in made:
            values, word = made[name]
            if word == UNKNOWN if kind in TYPES else is_kind(values, kind):
                made[name] = (values, kind)


def together(one: str, other: str) -> str:
    """The narrowest type that takes the values of both."""
    if other in (one, UNKNOWN):
        return one
    if one == UNKNOWN:
        return other
    both = {one, other}
    if both == {"integer", BIG}:
        return BIG
    return "float" if both == {"integer", "float"} else "text"


def dtype_of(word: str) -> pl.DataType:
    """The type in which a column of that word is written."""
    word = "integer" if word == BIG else word or "text"
    return views.DTYPES[word] if word in views.DTYPES else dtype_of_kind(word)


def typed(frame: pl.DataFrame, words: Mapping[str, str]) -> pl.DataFrame:
    """The columns of `words`, in their order and types; one that the frame lacks is null."""
    made = []
    for name, word in words.items():
        dtype = dtype_of(word)
        if name not in frame.columns:
            made.append(pl.repeat(None, frame.height, dtype=dtype, eager=True).alias(name))
            continue
        values = frame.get_column(name)
        if dtype == pl.String:
            made.append(values)
        elif word not in views.DTYPES and word != BIG:
            made.append(cast_kind(values, word))
        else:
            plain = "integer" if word == BIG else word
            made.append(views.cast_text(values, plain, declared=True)[0].cast(dtype))
    return _named(made, list(words))


def _named(columns: Sequence[pl.Series], names: Sequence[str]) -> pl.DataFrame:
    """A frame of these columns; given in a list, one of no name would get another."""
    frame = pl.DataFrame([column.alias(f"c{i}") for i, column in enumerate(columns)])
    frame.columns = list(names)
    return frame


def _csv_column(batch: Batch, name: str) -> tuple[pl.Series, str]:
    layout = batch.layout
    if name in layout.added:
        values = batch.frame.get_column(CELL + name)
        if layout.dialect.quote is not None:
            values = text.unquoted(values, layout.dialect.quote)
    else:
        values = text.csv_base_values(batch.frame, layout, [name])[0]
    seen = batch.frame.get_column(name) if _is_viewed(batch, name) else None
    if seen is None:
        return values, _infer(values)
    dtype = seen.dtype
    if dtype == pl.Null or seen.null_count() == len(seen):
        return values, _infer(values)
    for word, fits in (
        ("boolean", dtype == pl.Boolean),
        ("integer", dtype.is_integer()),
        ("float", dtype.is_float()),
    ):
        if fits:
            # A declared type reads `007` as a number; what a step made may still be more than 64 bits hold.
            view, misfits = views.cast_text(values.fill_null(""), word, declared=True)
            return values, "text" if misfits is not None else _sized(word, view)
    return values, "text"


def _is_viewed(batch: Batch, name: str) -> bool:
    return (
        name in batch.frame.columns and name not in PLACES and not name.startswith(("_tag:", CELL))
    )


def _infer(values: pl.Series) -> str:
    word, view = views.view_text(values.fill_null(""))
    return _sized(word, view) if view is not None else word


def _sized(word: str, view: pl.Series) -> str:
    if word != "integer":
        return word
    least, most = view.min(), view.max()
    small = isinstance(least, int) and isinstance(most, int) and least > -_EXACT and most < _EXACT
    return "integer" if small else BIG


def _members(texts: pl.Series) -> dict[str, tuple[pl.Series, str]]:
    """The members of JSON records as columns."""
    if not len(texts):
        return {}
    # Most files' records have the keys of their first one: those are found natively.
    names = tuple(json_text.members(texts[0]))
    try:
        found = _decoder(names)(texts.str.join("\n")[0].encode())
    except msgspec.ValidationError:
        return _members_of_any(texts)
    made = {}
    for i, name in enumerate(names):
        raws = map(attrgetter(f"f{i}"), found)
        made[name] = _json_column([None if raw is None else bytes(raw) for raw in raws])
    return made


@lru_cache(maxsize=64)
def _decoder(names: tuple[str, ...]) -> Callable[[bytes], list[Any]]:
    """A decoder of lines whose objects have no other members than these, as attributes `f0`, `f1`.. of raw text."""
    fields = [(f"f{i}", msgspec.Raw, msgspec.field(default=None)) for i in range(len(names))]
    renames = {f"f{i}": name for i, name in enumerate(names)}
    struct = msgspec.defstruct(
        "Record", fields, rename=renames, forbid_unknown_fields=True, gc=False
    )
    return msgspec.json.Decoder(struct).decode_lines


def _members_of_any(texts: pl.Series) -> dict[str, tuple[pl.Series, str]]:
    """The same for records of any keys."""
    rows = [json_text.members(record) for record in texts]
    names: dict[str, None] = {}
    for shape in dict.fromkeys(map(tuple, rows)):
        names |= dict.fromkeys(shape)
    made = {}
    for name in names:
        raws = [row.get(name) for row in rows]
        made[name] = _json_column([None if raw is None else bytes(raw) for raw in raws])
    return made


def _json_column(raws: Sequence[bytes | None]) -> tuple[pl.Series, str]:
    """Values given as JSON texts: their texts, strings without quotes, and their word."""
    heads = {raw[0] for raw in raws if raw is not None} - {_NULL}
    if not heads:
        return pl.Series([None] * len(raws), dtype=pl.String), UNKNOWN
    if heads == {_STRING}:
        values = _STRINGS.decode(b"[" + b",".join([raw or b"null" for raw in raws]) + b"]")
        return pl.Series(values, dtype=pl.String), "text"
    if heads <= {_TRUE, _FALSE} or heads <= _NUMBER:
        texts = [None if raw is None or raw[0] == _NULL else raw.decode() for raw in raws]
        series = pl.Series(texts, dtype=pl.String)
        return series, _infer(series)
    found = [None if raw is None else json_text.raw_text(msgspec.Raw(raw)) for raw in raws]
    return pl.Series(found, dtype=pl.String), "text"


__all__ = ["Columns", "columns_of", "dtype_of", "together", "typed"]
