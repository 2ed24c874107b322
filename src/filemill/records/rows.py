"""Records as Python dicts, and back: what a step left alone keeps its text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from filemill.model.errors import PermanentError
from filemill.records import json_text, text, views
from filemill.records.cells import join_cells, quote_cell, split_cells, value_text
from filemill.records.json_text import same
from filemill.records.layout import LINE, Layout, text_layout
from filemill.records.text import CELL, TAG

if TYPE_CHECKING:
    from filemill.records.batch import Batch


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
        rows = json_text.objects("\n".join(text.standing(batch.frame)).encode())
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
    frame = batch.typed(batch.layout.columns)
    # csv has no null among texts: a column without any value is empty text, too.
    empty = [
        pl.col(name).cast(pl.String).fill_null("")
        for name, dtype in frame.schema.items()
        if dtype in (pl.String, pl.Null)
    ]
    return frame.with_columns(empty).to_dicts()


def write_rows(
    batch: Batch,
    rows: Sequence[Mapping[str, Any]],
    origin: Sequence[int],
    tags: Mapping[str, Sequence[bool]],
) -> Batch:
    """The batch these rows make; see `Batch.with_rows`."""
    before = read_rows(batch)
    changed = [not _equal(row, before[o]) for row, o in zip(rows, origin, strict=True)]
    picked = batch if list(origin) == list(range(len(batch))) else _pick(batch, origin)
    if any(changed):
        for row, is_changed in zip(rows, changed, strict=True):
            if is_changed and (why := problem(row)):
                raise PermanentError(
                    why, help="return only texts, numbers, booleans, lists and dicts"
                )
        old = [before[o] for o in origin]
        picked = _rewritten(picked, rows, old, changed)
    for tag, mask in tags.items():
        picked = picked.with_tag(tag, pl.Series(mask, dtype=pl.Boolean))
    return picked


def _equal(row: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    return len(row) == len(before) and all(
        name in before and same(value, before[name]) for name, value in row.items()
    )


def _pick(batch: Batch, origin: Sequence[int]) -> Batch:
    return type(batch)(batch.frame[list(origin)], batch.layout, batch.file_tags)


def _rewritten(
    batch: Batch,
    rows: Sequence[Mapping[str, Any]],
    old: Sequence[Mapping[str, Any]],
    changed: Sequence[bool],
) -> Batch:
    layout = batch.layout
    settled = batch.settled()
    places = settled._places()  # noqa: SLF001 -- one half of the same thing
    if layout.format == "csv":
        columns = _union(layout.columns, rows)
        texts = _csv_texts(settled, columns, rows, old, changed)
        seen = [views.from_python(name, [row.get(name) for row in rows]) for name in columns]
        new = text_layout(settled.layout, {"columns": columns, "base": columns})
        return type(batch)(places.with_columns(_text(texts), *seen), new, batch.file_tags)
    standing = text.standing(settled.frame).to_list()
    if layout.format == "lines":
        return _rewritten_lines(batch, rows, standing, places)
    texts = [
        json_text.rewrite(record, o, row) if c else record
        for record, o, row, c in zip(standing, old, rows, changed, strict=True)
    ]
    new = text_layout(settled.layout, {"columns": _union(layout.columns, rows)})
    return type(batch)(places.with_columns(_text(texts)), new, batch.file_tags)


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


def _csv_texts(
    settled: Batch,
    columns: tuple[str, ...],
    rows: Sequence[Mapping[str, Any]],
    old: Sequence[Mapping[str, Any]],
    changed: Sequence[bool],
) -> list[str]:
    layout = settled.layout
    dialect = layout.dialect
    base = layout.base
    pad = dialect.separator * (len(columns) - len(base)) if columns[: len(base)] == base else None
    texts = []
    standing = text.standing(settled.frame)
    for record, row, before, is_changed in zip(standing, rows, old, changed, strict=True):
        body, end = (record[:-1], "\r") if record.endswith("\r") else (record, "")
        if not is_changed and pad is not None:
            texts.append(body + pad + end)
            continue
        exact = dict(zip(base, split_cells(body, dialect), strict=True))
        cells = []
        for name in columns:
            value = row.get(name)
            if name in row and name in before and same(value, before[name]):
                cells.append(exact[name])
            else:
                cells.append(quote_cell(value_text(value), dialect))
        texts.append(join_cells(cells, dialect) + end)
    return texts


def _union(columns: tuple[str, ...], rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The columns that any row has: known ones in their order, then new ones as they first appear."""
    names: dict[str, None] = {}
    for shape in dict.fromkeys(map(tuple, rows)):
        names |= dict.fromkeys(shape)
    known = tuple(name for name in columns if name in names)
    return (*known, *(name for name in names if name not in columns))


def _text(texts: Sequence[str]) -> pl.Series:
    return pl.Series("_text", texts, dtype=pl.String)


__all__ = ["TAG", "Layout", "problem", "read_rows", "write_rows"]
