"""Which files of a group may share a batch: those whose columns have the same types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import polars as pl

from filemill.records.layout import UNKNOWN, Hints, widen


class Segment(msgspec.Struct):
    """Rows of one batch: `length` from `first`, with the type of each column.

    `unknown` are (column, first, length) of files without a single value in a column.
    """

    first: int
    length: int
    types: dict[str, str]
    unknown: Sequence[tuple[str, int, int]] = ()
    views: Mapping[str, pl.Series] = {}
    """Columns whose view finding their type has made already."""


def segments(  # noqa: PLR0917 -- each is another kind of thing
    files: pl.Series,
    names: Sequence[str],
    declared: Mapping[str, str],
    hints: Hints,
    infer: Callable[[str, int, int], str],
    whole: Mapping[str, str],
) -> list[Segment]:
    """Stretches of consecutive files that agree on every column's type.

    A file without a value in a column agrees with any. `infer(column, first, length)` is the type over one
    file's rows. `whole` are columns' types over all rows, which settle each file's if they are boolean, integer or
    unknown.
    """
    settled = {
        name: word for name, word in whole.items() if word in ("boolean", "integer", UNKNOWN)
    }
    open_names = [n for n in names if n not in declared and n not in settled]
    runs = files.rle().struct
    if not open_names and not hints.types:
        return [Segment(0, len(files), {**settled, **declared})]
    made: list[Segment] = []
    first = 0
    for order, length in zip(runs.field("value"), runs.field("len"), strict=True):
        hinted = hints.types.get(order, {})
        types: dict[str, str] = dict(declared)
        for name in names:
            if name in declared:
                continue
            word = infer(name, first, length) if name in open_names or hinted else settled[name]
            types[name] = widen(hinted.get(name, UNKNOWN), word)
        unknown = [(n, first, length) for n, word in types.items() if word == UNKNOWN]
        last = made[-1] if made else None
        if last is not None and _agree(last.types, types):
            last.length += length
            last.types = {n: last.types[n] or types[n] for n in types}
            last.unknown = [*last.unknown, *unknown]
        else:
            made.append(Segment(first, length, types, unknown))
        first += length
    return made


def _agree(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    return all(one[n] == word or UNKNOWN in (one[n], word) for n, word in other.items())
