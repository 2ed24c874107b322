"""Records as Python dicts, and back: what a step left alone keeps its text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from operator import eq
from types import NoneType
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from filemill.model.errors import PermanentError
from filemill.records import json_text, text, views
from filemill.records.appending import appended
from filemill.records.cells import quote_cells, value_text
from filemill.records.json_text import same
from filemill.records.layout import LINE, Layout, text_layout
from filemill.records.text import CELL, TAG

if TYPE_CHECKING:
    from filemill.records.batch import Batch


_ENCODE = msgspec.json.Encoder().encode
_ENCODE_LINES = msgspec.json.Encoder().encode_lines
_COMMA = ord(",")
_ABSENT = object()


def problem(row: Mapping[Any, Any]) -> str:
    """Why no format can write this row; empty when it can be written."""
    for name, value in row.items():
        if not isinstance(name, str):
            return f"column name {name!r} is no text"
        if type(value) in (str, int, bool, type(None)):
            continue
        if _infinite(value):
            return f"column `{name}` is inf or NaN"
        try:
            json_text.value_json(value)
        except (TypeError, ValueError, msgspec.MsgspecError):
            return f"column `{name}` holds a {type(value).__name__}, which has no text"
    return ""


def _infinite(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(map(_infinite, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_infinite, value))
    return False


def read_rows(batch: Batch) -> list[dict[str, Any]]:
    """Every record as a fresh dict; see `Batch.rows`."""
    layout = batch.layout
    if not len(batch):
        return []
    if layout.format == "csv":
        return _csv_rows(batch)
    if layout.format == "jsonl":
        rows = json_text.objects(text.joined(text.standing(batch.frame)))
    else:
        rows = [{LINE: line} for line in text.bare(text.standing(batch.frame), layout)]
    for name in layout.added:
        values = batch.frame.get_column(name)
        cells = batch.frame.get_column(CELL + name)
        for row, value, there in zip(rows, values, cells.is_not_null(), strict=True):
            if there:
                row[name] = value
    return rows


def _csv_rows(batch: Batch) -> list[dict[str, Any]]:
    names = batch.layout.columns
    frame = batch.typed(names)
    columns = [_csv_values(frame.get_column(name)) for name in names]
    return [dict(zip(names, row)) for row in zip(*columns, strict=True)]  # noqa: B905 -- a cell a name


def _csv_values(view: pl.Series) -> list[Any]:
    """A column's values as a function gets them: csv has no null among texts, an empty cell is empty text."""
    if view.dtype == pl.Null:
        return [""] * len(view)
    return (view.fill_null("") if view.dtype == pl.String else view).to_list()


def write_rows(
    batch: Batch,
    rows: Sequence[Mapping[str, Any]],
    origin: Sequence[int],
    tags: Mapping[str, Sequence[bool]],
    given: Sequence[Mapping[str, Any]] | None = None,
) -> Batch:
    """The batch these rows make; see `Batch.with_rows`."""
    same_rows = len(origin) == len(batch) and all(map(eq, origin, range(len(batch))))
    picked = batch if same_rows else _pick(batch, origin)
    if len(picked):
        if batch.layout.format == "csv":
            picked = _csv_written(picked, rows)
        else:
            before = given if given is not None and _is_flat(batch) else read_rows(batch)
            old = before if same_rows else [before[o] for o in origin]
            made = appended(picked, rows, old) if same_rows else None
            picked = _written(picked, rows, old) if made is None else made
    for tag, mask in tags.items():
        picked = picked.with_tag(tag, pl.Series(mask, dtype=pl.Boolean))
    return picked


def _pick(batch: Batch, origin: Sequence[int]) -> Batch:
    return type(batch)(batch.frame[list(origin)], batch.layout, batch.file_tags)


def _refuse(rows: Iterable[Mapping[str, Any]]) -> None:
    for row in rows:
        if why := problem(row):
            raise PermanentError(why, help="return only texts, numbers, booleans, lists and dicts")


# -- json and lines: row by row -------------------------------------------------------------------


def _written(
    batch: Batch, rows: Sequence[Mapping[str, Any]], old: Sequence[Mapping[str, Any]]
) -> Batch:
    lines, before = _lines(rows), _lines(old)
    if lines is None or before is None:
        lines = before = [b""] * len(rows)
        changed = [not _equal(row, o) for row, o in zip(rows, old, strict=True)]
        _refuse(row for row, is_changed in zip(rows, changed, strict=True) if is_changed)
    else:
        # Equal JSON means equal types too, but NaN is written as null.
        changed = [
            row != o or (one != other and not _equal(row, o))
            for one, other, row, o in zip(lines, before, rows, old, strict=True)
        ]
        doubtful = not {type(name) for shape in set(map(tuple, rows)) for name in shape} <= {str}
        _refuse(
            row
            for row, is_changed, line in zip(rows, changed, lines, strict=True)
            if is_changed and (doubtful or b"null" in line)
        )
    if not any(changed):
        return batch
    settled = batch.settled()
    places = settled._places()  # noqa: SLF001 -- one half of the same thing
    standing = text.standing(settled.frame).to_list()
    if batch.layout.format == "lines":
        return _rewritten_lines(batch, rows, standing, places)
    texts = [
        _rewritten(record, o, row, one, other) if c else record
        for record, o, row, c, one, other in zip(
            standing, old, rows, changed, lines, before, strict=True
        )
    ]
    new = text_layout(settled.layout, {"columns": _union(batch.layout.columns, rows)})
    return type(batch)(places.with_columns(_text(texts)), new, batch.file_tags)


def _is_flat(batch: Batch) -> bool:
    """Whether no record can hold a list or an object, which a function could change in place."""
    if batch.layout.format != "jsonl" or batch.layout.added:
        return False
    block = text.joined(text.standing(batch.frame))
    return block.count(b"{") == len(batch) and b"[" not in block


def _lines(rows: Sequence[Mapping[str, Any]]) -> list[bytes] | None:
    """Each row as JSON; None if one cannot be written."""
    try:
        lines = _ENCODE_LINES(rows).split(b"\n")
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        return None
    return lines[:-1] if len(lines) == len(rows) + 1 else None


def _equal(row: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    return len(row) == len(before) and all(
        name in before and same(value, before[name]) for name, value in row.items()
    )


def _rewritten(
    record: str, old: Mapping[str, Any], row: Mapping[str, Any], line: bytes, before: bytes
) -> str:
    """The record's text; where the row only has members behind the old ones, those are spliced in as they are."""
    head = before[:-1]
    if len(head) > 1 and line.startswith(head) and line[len(head)] == _COMMA:
        at = record.rindex("}")
        return record[:at] + line[len(head) :].decode() + record[at + 1 :]
    return json_text.rewrite(record, old, row)


def _rewritten_lines(
    batch: Batch, rows: Sequence[Mapping[str, Any]], standing: Sequence[str], places: pl.DataFrame
) -> Batch:
    columns = _union(batch.layout.columns, rows)
    ends = ["\r" if record.endswith("\r") else "" for record in standing]
    if columns == (LINE,):
        texts = [value_text(row.get(LINE)) + end for row, end in zip(rows, ends, strict=True)]
        changes: dict[str, object] = {"columns": columns}
    else:
        # More than a line can hold: from here on the records are objects.
        texts = [json_text.value_json(dict(row)) + end for row, end in zip(rows, ends, strict=True)]
        changes = {"columns": columns, "format": "jsonl", "base": ()}
    layout = text_layout(batch.layout, changes | {"added": ()})
    return type(batch)(places.with_columns(_text(texts)), layout, batch.file_tags)


# -- csv: column by column ------------------------------------------------------------------------


def _csv_written(batch: Batch, rows: Sequence[Mapping[str, Any]]) -> Batch:
    """The batch under the rows' columns; cells that are as they were keep their text."""
    settled = batch.settled()
    layout = settled.layout
    shapes = dict.fromkeys(map(tuple, rows))
    columns = _union(layout.columns, shapes)
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
        _refuse([{name: ""}])
    kinds = set(map(type, values))
    texts: list[str | None]
    if kinds <= {int}:
        return pl.Series(name, list(map(str, values)), dtype=pl.String)
    if kinds <= {int, float, bool}:
        if float in kinds and not all(map(math.isfinite, values)):
            _refuse({name: value} for value in values)
        return pl.Series(name, _ENCODE(values)[1:-1].decode().split(","), dtype=pl.String)
    if kinds <= {str, NoneType}:
        texts = ["" if value is None else value for value in values]
    else:
        there = [value for value in values if value is not _ABSENT]
        _refuse({name: value} for value in there)
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
        names = _union(batch.layout.columns, rows[start:stop])
        before = own.get(file, names)
        own[file] = names if before == names else tuple(dict.fromkeys((*before, *names)))
    return {file: names for file, names in own.items() if names != columns}


def _union(columns: tuple[str, ...], rows: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """The columns that any row has: known ones in their order, then new ones as they first appear."""
    names: dict[str, None] = {}
    for shape in dict.fromkeys(map(tuple, rows)):
        names |= dict.fromkeys(shape)
    known = tuple(name for name in columns if name in names)
    return (*known, *(name for name in names if name not in columns))


def _text(texts: Sequence[str]) -> pl.Series:
    return pl.Series("_text", texts, dtype=pl.String)


__all__ = ["TAG", "Layout", "problem", "read_rows", "write_rows"]
