"""CSV records as dicts, and back, column by column: cells that a step left as they were keep their text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from types import NoneType
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from filemill.model.errors import PermanentError
from filemill.records import text, views
from filemill.records.cells import quote_cells, value_text
from filemill.records.json_rows import problem
from filemill.records.layout import Layout, text_layout
from filemill.records.text import CELL

if TYPE_CHECKING:
    from filemill.records.batch import Batch

_ENCODE = msgspec.json.Encoder().encode
_ABSENT = object()


class CsvRows:
    """The rows of a CSV batch, each time made anew."""

    def __init__(self, batch: Batch) -> None:
        self._names = batch.layout.columns
        frame = batch.typed(self._names)
        self._columns = [_csv_values(frame.get_column(name)) for name in self._names]

    def take(self, start: int, stop: int) -> list[dict[str, Any]]:
        """Those from `start` up to, but not including, `stop`."""
        names = self._names
        columns = [column[start:stop] for column in self._columns]
        return [dict(zip(names, row)) for row in zip(*columns, strict=True)]  # noqa: B905 -- a cell a name


def _csv_values(view: pl.Series) -> list[Any]:
    """A column's values as a function gets them: csv has no null among texts, an empty cell is empty text."""
    if view.dtype == pl.Null:
        return [""] * len(view)
    return (view.fill_null("") if view.dtype == pl.String else view).to_list()


def refuse(rows: Iterable[Mapping[Any, Any]]) -> None:
    """Raise a PermanentError for the first row that no format can write."""
    for row in rows:
        if why := problem(row):
            raise PermanentError(why, help="return only texts, numbers, booleans, lists and dicts")


def written(batch: Batch, rows: Sequence[Mapping[str, Any]]) -> Batch:
    """The batch under the rows' columns; cells that are as they were keep their text."""
    settled = batch.settled()
    layout = settled.layout
    shapes = dict.fromkeys(map(tuple, rows))
    columns = union(layout.columns, shapes)
    views_before = settled.typed(layout.columns)
    cells: dict[str, pl.Series] = {}
    seen: list[pl.Series] = []
    turned = _turned(rows, shapes, columns)
    for name in columns:
        values = turned[name]
        if name not in layout.columns:
            cells[name] = _new_cells(name, values, layout)
            seen.append(_view(name, values))
            continue
        view = views_before.get_column(name)
        changed = _changed(values, _csv_values(view))
        if not changed:
            seen.append(view)
            continue
        new = _new_cells(name, [values[i] for i in changed], layout)
        if len(changed) < len(values):
            standing = text.csv_base_cells(settled.frame, layout, [name])[0]
            new = standing.scatter(changed, new.fill_null(""))
        cells[name] = new
        seen.append(_view(name, values))
    own = _own_columns(batch, rows, columns) if len(shapes) > 1 else {}
    made = _assembled(settled, columns, cells, seen)
    made.own = own
    return made


def _turned(
    rows: Sequence[Mapping[str, Any]],
    shapes: Mapping[tuple[str, ...], None],
    columns: Sequence[str],
) -> dict[str, list[Any]]:
    """The rows' values by column."""
    if len(shapes) == 1:
        (names,) = shapes
        values = zip(*[row.values() for row in rows], strict=True)
        return {name: list(column) for name, column in zip(names, values, strict=True)}
    return {name: [row.get(name, _ABSENT) for row in rows] for name in columns}


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


def _changed(values: list[Any], before: list[Any]) -> list[int]:
    """Where a column's values are other ones, or of another type, than they were."""
    if values == before and list(map(type, values)) == list(map(type, before)):
        return []
    return [
        i
        for i, (new, old) in enumerate(zip(values, before, strict=True))
        if new is not old and (type(new) is not type(old) or new != old)
    ]


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
    batch: Batch, rows: Sequence[Mapping[str, Any]], columns: tuple[str, ...]
) -> dict[int, tuple[str, ...]]:
    """The columns of those files whose own rows do not have all of them, in the order they would have alone."""
    own: dict[int, tuple[str, ...]] = {}
    for file, start, stop in batch.split_files():
        names = union(batch.layout.columns, rows[start:stop])
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
