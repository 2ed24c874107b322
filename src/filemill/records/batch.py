r"""A batch: consecutive records of one chunk, or of many small files that share header and types.

A record is its own bytes. A batch holds each record's raw text, its place in its file, its tags, and only those
columns that expressions or steps name. The frame is never the record: what no step changed is written as
it came in.

Layout of `frame` (Polars), one row a record, in input order:

| column     | type    | what                                                                |
|------------|---------|---------------------------------------------------------------------|
| `_raw`     | String  | the record as received, without its `\n` (a `\r` before it is kept) |
| `_text`    | String  | only if a step rewrote records: what stands in the place of `_raw`   |
| `_file`    | UInt32  | index into the orders of the batch's runs                           |
| `_record`  | Int64   | number in its file, from 1                                          |
| `_line`    | Int64   | physical line on which it starts, from 1                            |
| `_start`   | Int64   | first byte in its file                                              |
| `_tag:X`   | Boolean | the record has tag X                                                |
| `_cell:C`  | String  | text of added column C, ready to be written (null: absent)           |
| `C`        | typed   | the view of column C that expressions and steps see                 |

A column that is only added stays beside the text until the record is encoded, which then splices it in; whatever
changes a column that the text holds, or selects, rewrites the text at once (`_text`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from filemill.model.tags import TagExpression, has_tag
from filemill.records import json_text, text, views
from filemill.records.columns import (
    PLACES,
    absent,
    beside,
    certain,
    exactly,
    is_place,
    plain,
    rows_where,
    where,
)
from filemill.records.layout import LINE, Layout, text_layout
from filemill.records.masks import evaluate
from filemill.records.text import CELL, TAG


class Batch:
    """One batch. Immutable: every method that changes something answers with another batch."""

    def __init__(
        self, frame: pl.DataFrame, layout: Layout, file_tags: Sequence[frozenset[str]]
    ) -> None:
        self.frame = frame
        self.layout = layout
        self.file_tags = file_tags
        """Tags of each order's file; a record inherits those of its file."""
        self.own: dict[int, tuple[str, ...]] = {}
        """After a Python step on csv: the columns of those files that do not have all of the batch's."""
        self._extracted: dict[str, pl.Series] = {}
        """Views that were asked for and are not in the frame: a second expression does not parse again."""
        self.also: tuple[str, ...] = ()
        """Of a part of a JSON batch: the columns of the whole, which it is seen with."""

    def __len__(self) -> int:
        return self.frame.height

    def columns(self) -> tuple[str, ...]:
        """All columns the records have, in order, whether extracted or not (csv); those known (jsonl)."""
        return self.layout.columns

    def keys(self) -> tuple[str, ...]:
        """All columns any record has, in order of first appearance; in jsonl this reads every record."""
        if self.layout.format != "jsonl":
            return self.layout.columns
        names = dict.fromkeys(self.also)
        for shape in dict.fromkeys(self._shapes()):
            names |= dict.fromkeys(shape)
        return tuple(names)

    def _shapes(self) -> Iterator[tuple[str, ...]]:
        """Each JSON record's members in order, those added included."""
        shapes = (tuple(json_text.members(t)) for t in text.standing(self.frame))
        added = self.layout.added
        if not added:
            return shapes
        there = self.frame.select(pl.col(CELL + name).is_not_null() for name in added).rows()
        return (
            (*shape, *(name for name, has in zip(added, row, strict=True) if has))
            for shape, row in zip(shapes, there, strict=True)
        )

    def typed(self, names: Sequence[str]) -> pl.DataFrame:
        """The typed view of these columns, one row a record; PermanentError names an absent one (did-you-mean).

        Columns the reader was not asked for are extracted here, their types inferred from this batch alone.
        """
        have = set(self.frame.columns)
        missing = [name for name in names if name not in have or is_place(name)]
        if not missing:
            return exactly(self.frame, names)
        jsonl = self.layout.format == "jsonl"
        new = [name for name in missing if name not in self._extracted]
        if new:
            views_ = self._json_views(new) if jsonl else self._text_views(new)
            self._extracted |= zip(new, views_, strict=True)
        return exactly(beside(self.frame, [self._extracted[name] for name in missing]), names)

    def viewed(self) -> list[str]:
        """The columns whose views its frame has: those that some step or expression names."""
        return [name for name in self.frame.columns if not is_place(name)]

    def keep_view(self, view: pl.Series) -> None:
        """Take in what parsing the column of this name would give: it is not parsed for it."""
        self._extracted[view.name] = view

    def mask(self, expression: TagExpression) -> pl.Series:
        """Which records satisfy a tag expression over their own and their file's tags."""
        own = [name.removeprefix(TAG) for name in self.frame.columns if name.startswith(TAG)]
        result = evaluate(expression.term, lambda pattern: self._has(pattern, own))
        if isinstance(result, bool):
            return pl.repeat(result, len(self), dtype=pl.Boolean, eager=True)
        return result

    def with_tag(self, tag: str, mask: pl.Series) -> Batch:
        """Add `tag` to the masked records (null counts as false); others keep what they had."""
        name = TAG + tag
        new = certain(mask)
        if name in self.frame.columns:
            new = new | self.frame.get_column(name)
        made = self._with(beside(self.frame, [new.alias(name)]))
        made._extracted = self._extracted  # noqa: SLF001 -- the same records, with the same text
        return made

    def where(self, mask: pl.Series) -> Batch:
        """Only the masked records (null counts as false), in order."""
        return self._with(rows_where(self.frame, mask))

    def picked(self, rows: Sequence[int]) -> Batch:
        """The records at these places, as often as they are named; the batch itself if they are all in order."""
        if list(rows) != list(range(len(self))):
            return self._with(self.frame[pl.Series(rows, dtype=pl.UInt32)])
        return self

    def with_column(self, name: str, values: pl.Series, mask: pl.Series | None = None) -> Batch:
        """Add or replace a column; records outside `mask` keep what they had (nothing, if it is new).

        Raises:
            PermanentError: a value has no text: inf or NaN (steps report those as bad records before).
        """
        values = plain(values).alias(name)
        if mask is not None:
            mask = certain(mask)
            if mask.all():
                mask = None
        layout = self.layout
        if name not in layout.added and self._stands(name):
            return self._replace(name, values, mask)
        cells = text.value_cells(values, layout).alias(CELL + name)
        old = name in layout.added
        if mask is not None:
            before = self.frame.get_column(CELL + name) if old else None
            cells = where(mask, cells, before)
            values = self._seen(name, values, mask)
        frame = beside(self.frame, [values, cells])
        if not old:
            columns = layout.columns if name in layout.columns else (*layout.columns, name)
            layout = text_layout(layout, {"added": (*layout.added, name), "columns": columns})
        return self._with(frame, layout)

    def select(self, columns: Sequence[tuple[str, pl.Series | None]]) -> Batch:
        """Keep only these columns, in this order; None keeps the record's own cell text, a Series gives new values.

        Raises:
            PermanentError: a kept csv column is absent (did-you-mean).
        """
        names = [name for name, values in columns if values is None]
        layout = self.layout
        if layout.format != "jsonl":
            for name in names:
                self._require(name)
        if layout.format == "lines" and [name for name, _ in columns] == [LINE]:
            return self._select_line(columns[0][1])
        if layout.format == "lines":
            layout = text_layout(layout, {"format": "jsonl"})
        kept = text.cell_texts(self.frame, self.layout, names)
        cells: dict[str, pl.Series] = {}
        seen: list[pl.Series] = []
        for name, values in columns:
            if values is None:
                cells[name] = kept[name]
                if name in self.frame.columns and not is_place(name):
                    seen.append(self.frame.get_column(name))
            else:
                given = plain(values).alias(name)
                cells[name] = text.value_cells(given, layout)
                seen.append(given)
        ends = text.line_ends(text.standing(self.frame), layout)
        made = text.from_cells(cells, layout, ends).alias("_text")
        frame = beside(self._places(), [made, *seen])
        order = tuple(name for name, _ in columns)
        return self._with(
            frame, text_layout(layout, {"columns": order, "base": order, "added": ()})
        )

    def rows(self) -> list[dict[str, Any]]:
        """Every record as a dict of typed values, all columns, in the record's own key order."""
        from filemill.records.rows import read_rows  # noqa: PLC0415 -- the two modules build on each other

        return read_rows(self)

    def with_rows(self, rows: Sequence[Mapping[str, Any]], origin: Sequence[int]) -> Batch:
        """The batch after a Python step: `rows[i]` came of record `origin[i]`.

        A row equal to its origin keeps its raw text; a changed one keeps the text of every cell that is
        equal (same type and value) and encodes the others. Rows may be fewer or more than before.

        Raises:
            PermanentError: a row holds what no format can write; `rows.problem` tells beforehand.
        """
        from filemill.records.rows import write_rows  # noqa: PLC0415

        return write_rows(self, rows, origin)

    def settled(self) -> Batch:
        """The same records with every added column written into the text."""
        if not self.layout.added or self.layout.format == "lines":
            return self
        made = text.complete(self.frame, self.layout).alias("_text")
        cells = [CELL + name for name in self.layout.added]
        return self._with(
            self.frame.drop(cells).with_columns(made),
            text_layout(self.layout, {"base": self.layout.columns, "added": ()}),
        )

    def split_files(self) -> list[tuple[int, int, int]]:
        """(order index, first row, one past the last row) of each file's stretch of rows, in order."""
        files = self.frame.get_column("_file")
        if not len(files):
            return []
        if files[0] == files[-1]:
            return [(int(files[0]), 0, len(files))]
        runs = files.rle().struct
        stretches = []
        at = 0
        for length, index in zip(runs.field("len"), runs.field("value"), strict=True):
            stretches.append((int(index), at, at + length))
            at += length
        return stretches

    def _with(self, frame: pl.DataFrame, layout: Layout | None = None) -> Batch:
        return Batch(frame, layout or self.layout, self.file_tags)

    def _places(self) -> pl.DataFrame:
        """The frame without any column's view or cells."""
        return self.frame.select(
            [n for n in self.frame.columns if n in PLACES or n.startswith(TAG)]
        )

    def _require(self, name: str) -> None:
        if name not in self.layout.columns:
            raise absent(name, self.layout.columns)

    def _text_views(self, names: Sequence[str]) -> list[pl.Series]:
        for name in names:
            self._require(name)
        if self.layout.format == "lines":
            return [text.bare(text.standing(self.frame), self.layout).alias(n) for n in names]
        found = []
        values = text.csv_base_values(self.frame, self.layout, names)
        for name, column in zip(names, values, strict=True):
            found.append(views.cast_text(column.alias(name), views.infer_text(column))[0])
        return found

    def _json_views(self, names: Sequence[str]) -> list[pl.Series]:
        texts = text.standing(self.frame)
        if not len(texts):
            return [pl.Series(name, [], dtype=pl.Null) for name in names]
        columns = json_text.member_columns(text.joined(texts), names)
        found = []
        for name, values in zip(names, columns, strict=True):
            view = views.of_json(name, values)
            if view is None:
                exact = json_text.text_of_members(texts.to_list(), name)
                view = pl.Series(name, exact, dtype=pl.String)
            found.append(view)
        return found

    def _has(self, pattern: str, own: Sequence[str]) -> bool | pl.Series:
        by_file = [has_tag(pattern, tags) for tags in self.file_tags]
        if by_file and all(by_file):
            return True
        result: bool | pl.Series = False
        if any(by_file):
            result = pl.Series(by_file, dtype=pl.Boolean).gather(self.frame.get_column("_file"))
        for tag in own:
            if has_tag(pattern, (tag,)):
                result = (
                    result | self.frame.get_column(TAG + tag)
                    if result is not False
                    else (self.frame.get_column(TAG + tag))
                )
        return result

    def _stands(self, name: str) -> bool:
        """Say whether any record's text already holds that column."""
        if self.layout.format != "jsonl":
            return name in self.layout.columns
        texts = text.standing(self.frame)
        # A name may also be written with escapes, so a record with any is looked at.
        maybe = texts.str.contains(json_text.key_text(name), literal=True)
        if self.layout.escapes or "_text" in self.frame.columns:
            maybe |= texts.str.contains("\\u", literal=True)
        if not maybe.any():
            return False
        return any(name in json_text.members(t) for t in texts.filter(maybe))

    def _seen(self, name: str, values: pl.Series, mask: pl.Series) -> pl.Series:
        """The view after a masked change."""
        before = self.frame.get_column(name) if name in self.frame.columns else None
        if before is not None and before.dtype != values.dtype:
            if before.dtype.is_numeric() and values.dtype.is_numeric():
                before, values = before.cast(pl.Float64), values.cast(pl.Float64)
            elif values.dtype == pl.Null:
                values = values.cast(before.dtype)
            elif before.dtype != pl.Null:
                before, values = before.cast(pl.String), values.cast(pl.String)
        return where(mask, values, before)

    def _replace(self, name: str, values: pl.Series, mask: pl.Series | None) -> Batch:
        """Rewrite the records whose text holds the column."""
        if mask is not None and name not in self.frame.columns:
            return self._with(self.typed([*self.viewed(), name]).pipe(self._join_view))._replace(
                name, values, mask
            )
        layout = self.layout
        seen = values if mask is None else self._seen(name, values, mask)
        if layout.format == "lines":
            made = self._replace_line(values, mask)
        elif layout.format == "jsonl":
            # Settled first: members added before must stand before this one where it is new, in every batch.
            settled = self.settled()
            made = text.set_members(settled.frame, name, text.value_cells(values, layout), mask)
            frame = beside(settled.frame, [made, seen.alias(name)])
            return self._with(frame, settled.layout)
        else:
            settled = self.settled()
            layout = settled.layout
            cells = text.cell_texts(settled.frame, layout, layout.base)
            new = text.value_cells(values, layout)
            cells[name] = new if mask is None else where(mask, new, cells[name])
            before = text.standing(settled.frame)
            made = text.from_cells(cells, layout, text.line_ends(before, layout)).alias("_text")
            if mask is not None:
                made = where(mask, made, before.alias("_text"))
            return self._with(beside(settled.frame, [made, seen.alias(name)]), layout)
        return self._with(beside(self.frame, [made, seen.alias(name)]), layout)

    def _join_view(self, seen: pl.DataFrame) -> pl.DataFrame:
        return beside(self.frame, seen.get_columns())

    def _replace_line(self, values: pl.Series, mask: pl.Series | None) -> pl.Series:
        before = text.standing(self.frame).alias("_text")
        made = values.cast(pl.String).alias("_text")
        if made.null_count():
            made = made.fill_null("")
        ends = text.line_ends(before, self.layout)
        if ends is not None and ends.any():
            made = (
                made
                + pl.select(
                    pl.when(ends).then(pl.lit("\r")).otherwise(pl.lit("")).alias("r")
                ).to_series()
            )
        return made if mask is None else where(mask, made, before)

    def _select_line(self, values: pl.Series | None) -> Batch:
        if values is None:
            drop = [CELL + n for n in self.layout.added] + list(self.layout.added)
            layout = text_layout(self.layout, {"columns": (LINE,), "added": ()})
            return self._with(self.frame.drop(drop), layout)
        return self._select_line(None)._replace(LINE, plain(values), None)
