"""CSV records as dicts, and back, column by column: cells that a step left as they were keep their text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat
from operator import is_
from types import NoneType
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from filemill.model.errors import PermanentError
from filemill.records import text, views
from filemill.records.cells import quote_cells, value_text
from filemill.records.json_rows import refuse, refused
from filemill.records.layout import Layout, text_layout
from filemill.records.text import CELL

if TYPE_CHECKING:
    from filemill.records.batch import Batch

_ENCODE = msgspec.json.Encoder().encode
_ABSENT = object()


class CsvRows:
    """The rows of a CSV batch, each time made anew."""

    def __init__(self, batch: Batch) -> None:
        self.names = batch.layout.columns
        frame = batch.typed(self.names)
        self.columns = [_csv_values(frame.get_column(name)) for name in self.names]

    def take(self, start: int, stop: int) -> list[dict[str, Any]]:
        """Those from `start` up to, but not including, `stop`."""
        columns = [column[start:stop] for column in self.columns]
        return list(map(dict, map(zip, repeat(self.names), zip(*columns, strict=True))))


def _csv_values(view: pl.Series) -> list[Any]:
    """A column's values as a function gets them: csv has no null among texts, an empty cell is empty text."""
    if view.dtype == pl.Null:
        return [""] * len(view)
    return (view.fill_null("") if view.dtype == pl.String else view).to_list()


class CsvWriter:
    """Takes in what a step made of a CSV batch's rows, a few at a time: of them only what is new is kept.

    `bad` says by origin why one of its rows cannot be written; no row of that origin is in the batch then.
    """

    def __init__(self, batch: Batch, rows: CsvRows) -> None:
        self.bad: dict[int, str] = {}
        self._batch = batch
        self._before = rows
        self._origin: list[int] = []
        self._shapes: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self._shape_of: list[tuple[Any, ...]] = []
        """Each row's columns."""
        self._changed: dict[str, dict[int, Any]] = {name: {} for name in rows.names}
        """By column that was there before and row: the values that are others now."""
        self._new: dict[Any, list[Any]] = {}
        """By new column: each row's value."""

    def take(self, rows: Sequence[Mapping[Any, Any]], origin: Sequence[int]) -> None:
        """Take in rows, `rows[i]` made of record `origin[i]`; all of one origin come in one call."""
        if not rows:
            return
        first = len(self._origin)
        values = self._turned(rows)
        self._origin += origin
        for name, column in zip(self._before.names, self._before.columns, strict=True):
            before = (
                column[origin.start : origin.stop]
                if isinstance(origin, range)
                else [column[at] for at in origin]
            )
            self._note_changes(name, values.pop(name, repeat(_ABSENT)), before, first)
        for name in self._new.keys() - values.keys():
            self._new[name] += [_ABSENT] * len(rows)
        for name, made in values.items():
            self._new.setdefault(name, [_ABSENT] * first).extend(made)

    def _turned(self, rows: Sequence[Mapping[Any, Any]]) -> dict[Any, Iterable[Any]]:
        """The rows' values by column."""
        shapes = dict.fromkeys(map(tuple, rows))
        if len(shapes) == 1:
            [shape] = shapes
            self._shape_of += [self._shapes.setdefault(shape, shape)] * len(rows)
            columns = zip(*(row.values() for row in rows), strict=True)
            return dict(zip(shape, columns, strict=True))
        self._shape_of += [self._shapes.setdefault(shape, shape) for shape in map(tuple, rows)]
        names = dict.fromkeys(chain.from_iterable(shapes))
        return {name: [row.get(name, _ABSENT) for row in rows] for name in names}

    def _note_changes(
        self, name: str, values: Iterable[Any], before: Sequence[Any], first: int
    ) -> None:
        if all(map(is_, values, before)):
            return
        changed = self._changed[name]
        for at, (new, old) in enumerate(zip(values, before), first):  # noqa: B905 -- may be endless
            if new is not old and (type(new) is not type(old) or new != old):
                changed[at] = new

    def batch(self) -> tuple[Batch, list[int]]:
        """What was taken in, and each record's origin; cells that are as they were keep their text."""
        keep = list(range(len(self._origin)))
        while True:
            origin = [self._origin[at] for at in keep]
            try:
                return self._written(keep, origin), origin
            except (PermanentError, TypeError, ValueError):
                found = refused(map(self._row, keep), origin)
                if not found:
                    raise
            self.bad |= found
            keep = [at for at in keep if self._origin[at] not in found]

    def _row(self, at: int) -> dict[Any, Any]:
        """One of the rows that were taken in."""
        origin = self._origin[at]
        row = {
            name: self._changed[name].get(at, column[origin])
            for name, column in zip(self._before.names, self._before.columns, strict=True)
        }
        row |= {name: values[at] for name, values in self._new.items()}
        return {name: row[name] for name in self._shape_of[at]}

    def _written(self, keep: list[int], origin: list[int]) -> Batch:
        picked = self._batch.picked(origin)
        if not origin:
            return picked
        settled = picked.settled()
        layout = settled.layout
        shape_of = [self._shape_of[at] for at in keep]
        columns = union(layout.columns, shape_of)
        views_before = settled.typed(layout.columns)
        cells: dict[str, pl.Series] = {}
        seen: list[pl.Series] = []
        for name in columns:
            if name not in layout.columns:
                values = [self._new[name][at] for at in keep]
                cells[name] = _new_cells(name, values, layout)
                seen.append(_view(name, values))
                continue
            changed = self._changed[name]
            rows = [row for row, at in enumerate(keep) if at in changed] if changed else []
            if not rows:
                seen.append(views_before.get_column(name))
                continue
            new = _new_cells(name, [changed[keep[row]] for row in rows], layout)
            if len(rows) < len(keep):
                standing = text.csv_base_cells(settled.frame, layout, [name])[0]
                new = standing.scatter(rows, new.fill_null(""))
            cells[name] = new
            column = self._before.columns[layout.columns.index(name)]
            values = [changed.get(at, column[o]) for at, o in zip(keep, origin, strict=True)]
            seen.append(_view(name, values))
        made = _assembled(settled, columns, cells, seen)
        made.own = _own_columns(picked, shape_of, columns) if len(set(shape_of)) > 1 else {}
        return made


def _assembled(
    settled: Batch, columns: tuple[str, ...], cells: dict[str, pl.Series], seen: list[pl.Series]
) -> Batch:
    layout = settled.layout
    kept = columns[: len(layout.base)]
    if kept == layout.base and not any(name in cells for name in kept):
        # Only new columns: the text stays, they are written behind it.
        added = columns[len(kept) :]
        frame = settled.frame.with_columns(
            *seen, *(cells[name].alias(CELL + name) for name in added)
        )
        layout = text_layout(layout, {"columns": columns, "added": added})
        return type(settled)(frame, layout, settled.file_tags)
    rest = [name for name in columns if name not in cells]
    exact = dict(zip(rest, text.csv_base_cells(settled.frame, layout, rest), strict=True))
    all_cells = {name: exact[name] if name in exact else cells[name] for name in columns}
    ends = text.line_ends(text.standing(settled.frame), layout)
    made = text.from_cells(all_cells, layout, ends).alias("_text")
    frame = settled._places().with_columns(made, *seen)  # noqa: SLF001 -- one half of the same thing
    layout = text_layout(layout, {"columns": columns, "base": columns})
    return type(settled)(frame, layout, settled.file_tags)


def _new_cells(name: Any, values: list[Any], layout: Layout) -> pl.Series:
    """Values as cells; an absent one is null.

    Raises:
        PermanentError: one of them has no text.
    """
    if not isinstance(name, str):
        refuse([{name: ""}])
    kinds = set(map(type, values))
    texts: list[str | None]
    if kinds <= {int}:
        return pl.Series(name, list(map(str, values)), dtype=pl.String)
    if kinds <= {int, float, bool}:
        if float in kinds and not all(map(math.isfinite, values)):
            refuse({name: value} for value in values)
        return pl.Series(name, _ENCODE(values)[1:-1].decode().split(","), dtype=pl.String)
    if kinds <= {str, NoneType}:
        texts = ["" if value is None else value for value in values]
    else:
        there = [value for value in values if value is not _ABSENT]
        refuse({name: value} for value in there)
        texts = [None if value is _ABSENT else value_text(value) for value in values]
    return quote_cells(pl.Series(name, texts, dtype=pl.String), layout.dialect)


def _view(name: str, values: list[Any]) -> pl.Series:
    return views.from_python(name, [None if value is _ABSENT else value for value in values])


def _own_columns(
    batch: Batch, shapes: Sequence[tuple[str, ...]], columns: tuple[str, ...]
) -> dict[int, tuple[str, ...]]:
    """The columns of those files whose own rows do not have all of them, in the order they would have alone."""
    own: dict[int, tuple[str, ...]] = {}
    for file, start, stop in batch.split_files():
        names = union(batch.layout.columns, shapes[start:stop])
        before = own.get(file, names)
        own[file] = names if before == names else tuple(dict.fromkeys((*before, *names)))
    return {file: names for file, names in own.items() if names != columns}


def union(columns: tuple[str, ...], rows: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """The columns that any row has: known ones in their order, then new ones as they first appear."""
    names: dict[str, None] = {}
    for shape in dict.fromkeys(map(tuple, rows)):
        names |= dict.fromkeys(shape)
    known = tuple(name for name in columns if name in names)
    return (*known, *(name for name in names if name not in columns))
