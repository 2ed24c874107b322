"""Several batches as one: what a guard or a route parted comes together again in the order of the input."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from filemill.model.errors import PermanentError
from filemill.records import text
from filemill.records.batch import Batch
from filemill.records.columns import PLACES
from filemill.records.layout import Layout, text_layout
from filemill.records.text import CELL, TAG

_KEY = ("_file", "_record")


def concat(parts: Sequence[Batch]) -> Batch:
    """All records of the parts, one part behind the other, under the union of their columns.

    A record that lacks a column has an empty cell in csv and no key in JSON; views of one column come to one type.

    Raises:
        PermanentError: some parts are lines and others objects.
    """
    parts = [part for part in parts if len(part)] or list(parts[:1])
    if len(parts) == 1:
        return parts[0]
    layouts = {part.layout for part in parts}
    if len(layouts) > 1:
        parts, layout = _aligned(parts)
    else:
        layout = parts[0].layout
    frames = [part.frame for part in parts]
    if len({tuple(frame.schema.items()) for frame in frames}) > 1:
        frames = _same_columns(parts)
    return Batch(pl.concat(frames, rechunk=True), layout, parts[0].file_tags)


def merge(parts: Sequence[Batch]) -> Batch:
    """As `concat`, in the order of file and record; records of one number keep the order of the parts."""
    parts = [part for part in parts if len(part)] or list(parts[:1])
    if len(parts) == 1:
        return parts[0]
    # The part that the input begins with says which columns come first.
    whole = concat(sorted(parts, key=lambda part: part.frame.select(_KEY).row(0)))
    return Batch(whole.frame.sort(_KEY, maintain_order=True), whole.layout, whole.file_tags)


def align(batch: Batch, columns: tuple[str, ...]) -> Batch:
    """The csv or lines records under exactly these columns: empty cells for those they lack, others go."""
    if batch.layout.format == "jsonl" or batch.layout.columns == columns:
        return batch
    wide = _with_empty(batch, columns)
    layout = wide.layout
    if layout.columns == columns or layout.format == "lines":
        return wide
    base = len(layout.base)
    if columns[:base] == layout.base and set(columns[base:]) == set(layout.added):
        layout = text_layout(layout, {"columns": columns, "added": columns[base:]})
        return Batch(wide.frame, layout, wide.file_tags)
    return wide.select([(name, None) for name in columns])


def own_columns(parts: Sequence[Batch]) -> dict[int, tuple[str, ...]]:
    """The columns of each file of csv parts, in order of first appearance."""
    own: dict[int, tuple[str, ...]] = {}
    for part in parts:
        if part.layout.format == "csv":
            for file, _, _ in part.split_files():
                names = part.own.get(file, part.layout.columns)
                before = own.get(file, names)
                own[file] = names if before == names else tuple(dict.fromkeys((*before, *names)))
    return own


def without(batch: Batch, sent: Sequence[Batch]) -> Batch:
    """The batch's records whose file and number are in none of `sent`."""
    known = pl.concat([each.frame.select(_KEY) for each in sent])
    return Batch(
        batch.frame.join(known, on=_KEY, how="anti", maintain_order="left"),
        batch.layout,
        batch.file_tags,
    )


def has_copies(batch: Batch) -> bool:
    """Say whether some record is there more than once (a step made several of one)."""
    return batch.frame.select(pl.struct(_KEY).is_duplicated().any()).item() is True


def _aligned(parts: Sequence[Batch]) -> tuple[list[Batch], Layout]:
    """The parts under one layout."""
    formats = {part.layout.format for part in parts}
    if len(formats) > 1:
        raise PermanentError(
            f"records of {' and '.join(sorted(formats))} cannot stand in one output",
            help="let the guarded step and the records that bypass it have the same columns, or write to two sinks",
        )
    if formats != {"jsonl"}:
        return _aligned_csv(parts)
    if len({part.layout.added for part in parts}) > 1:
        parts = [part.settled() for part in parts]
    columns = tuple(dict.fromkeys(name for part in parts for name in part.layout.columns))
    layouts = [part.layout for part in parts]
    layout = text_layout(
        layouts[0],
        {
            "columns": columns,
            "returns": any(each.returns for each in layouts),
            "braced": all(each.braced for each in layouts),
            "escapes": any(each.escapes for each in layouts),
        },
    )
    return list(parts), layout


def _aligned_csv(parts: Sequence[Batch]) -> tuple[list[Batch], Layout]:
    columns = tuple(dict.fromkeys(name for part in parts for name in part.layout.columns))
    if len({part.layout.base for part in parts}) == 1:
        added = columns[len(parts[0].layout.base) :]
        if all(columns[: len(part.layout.base)] == part.layout.base for part in parts):
            layout = text_layout(parts[0].layout, {"columns": columns, "added": added})
            return [_with_empty(part, added) for part in parts], _returning(layout, parts)
    made = []
    for part in parts:
        missing = [name for name in columns if name not in part.layout.columns]
        wide = _with_empty(part, missing)
        made.append(wide.select([(name, None) for name in columns]))
    return made, _returning(made[0].layout, parts)


def _returning(layout: Layout, parts: Sequence[Batch]) -> Layout:
    return text_layout(layout, {"returns": any(part.layout.returns for part in parts)})


def _with_empty(part: Batch, names: Sequence[str]) -> Batch:
    """The part with empty cells for those of the columns it lacks."""
    height = len(part)
    for name in names:
        if name not in part.layout.columns:
            nothing = pl.Series(name, [None] * height, dtype=pl.Null)
            nowhere = pl.repeat(value=False, n=height, dtype=pl.Boolean, eager=True)
            part = part.with_column(name, nothing, nowhere)
    return part


def _same_columns(parts: Sequence[Batch]) -> list[pl.DataFrame]:
    """The parts' frames with the same columns in the same order and types."""
    names = list(dict.fromkeys(name for part in parts for name in part.frame.columns))
    views = [name for name in names if not _is_place(name)]
    texts = "_text" in names
    frames = []
    for part in parts:
        frame = part.frame
        if texts and "_text" not in frame.columns:
            frame = frame.with_columns(text.standing(frame).alias("_text"))
        unseen = [name for name in views if name not in frame.columns]
        if unseen:
            known = part.layout.columns
            there = [n for n in unseen if part.layout.format == "jsonl" or n in known]
            frame = frame.with_columns(part.typed(there).get_columns() if there else [])
        frames.append(frame)
    kinds = {name: _kind(name, frames) for name in names}
    return [
        frame.select(
            pl.col(name).cast(kind)
            if name in frame.columns
            else pl.lit(False if name.startswith(TAG) else None, dtype=kind).alias(name)
            for name, kind in kinds.items()
        )
        for frame in frames
    ]


def _is_place(name: str) -> bool:
    return name in PLACES or name.startswith((TAG, CELL))


def _kind(name: str, frames: Sequence[pl.DataFrame]) -> pl.DataType:
    """One type for a column of several frames: the one they share, a float for numbers, else text."""
    found = {frame.schema[name] for frame in frames if name in frame.columns} - {pl.Null()}
    if not found:
        return pl.Null()
    if len(found) == 1:
        return found.pop()
    return pl.Float64() if all(kind.is_numeric() for kind in found) else pl.String()
