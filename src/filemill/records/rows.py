"""Records as Python dicts, and back, in every format: what a step left alone keeps its text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from filemill.model.errors import PermanentError
from filemill.records import json_text, text
from filemill.records.cells import value_text
from filemill.records.csv_rows import CsvRows, CsvWriter, union
from filemill.records.json_rows import (
    AT_A_TIME,
    WRITABLE,
    Added,
    JsonRows,
    JsonWriter,
    equal,
    problem,
    refuse,
    refused,
)
from filemill.records.layout import LINE, text_layout

if TYPE_CHECKING:
    from filemill.records.batch import Batch


class Rows(Protocol):
    """The rows of one batch."""

    def take(self, start: int, stop: int) -> list[dict[str, Any]]:
        """Those from `start` up to, but not including, `stop`, at least one, made anew: they may be changed."""


class Writer(Protocol):
    """Takes in what a step made of the rows of one batch."""

    bad: dict[int, str]
    """By origin: why one of its rows cannot be written; known when `batch` was called."""

    def take(self, rows: Sequence[Mapping[Any, Any]], origin: Sequence[int]) -> None:
        """Take in rows, `rows[i]` made of record `origin[i]`; all of one origin come in one call."""

    def batch(self) -> tuple[Batch, list[int]]:
        """What was taken in, without any row of an origin that is bad, and each record's origin."""


class LineRows:
    """The rows of a batch of lines."""

    def __init__(self, batch: Batch) -> None:
        self._lines = text.bare(text.standing(batch.frame), batch.layout)
        self._added = Added(batch)

    def take(self, start: int, stop: int) -> list[dict[str, Any]]:
        """Those from `start` up to, but not including, `stop`."""
        return self._added.put([{LINE: line} for line in self._lines[start:stop]], start)


class LineWriter:
    """Keeps what a step made of a batch of lines until all is there."""

    def __init__(self, batch: Batch) -> None:
        self.bad: dict[int, str] = {}
        self._batch = batch
        self._rows: list[Mapping[Any, Any]] = []
        self._origin: list[int] = []

    def take(self, rows: Sequence[Mapping[Any, Any]], origin: Sequence[int]) -> None:
        """Take in rows, `rows[i]` made of record `origin[i]`."""
        self._rows += rows
        self._origin += origin

    def batch(self) -> tuple[Batch, list[int]]:
        """What was taken in, without any row of an origin that is bad, and each record's origin."""
        rows, origin = self._rows, self._origin
        while True:
            try:
                return _lines(self._batch.picked(origin), rows), origin
            except (PermanentError, TypeError, ValueError):
                found = refused(rows, origin)
                if not found:
                    raise
            self.bad |= found
            keep = [number for number, at in enumerate(origin) if at not in found]
            rows = [rows[number] for number in keep]
            origin = [origin[number] for number in keep]


def rows_of(batch: Batch) -> Rows:
    """The rows of a batch."""
    match batch.layout.format:
        case "csv":
            return CsvRows(batch)
        case "jsonl":
            return JsonRows(batch)
        case _:
            return LineRows(batch)


def writer_of(batch: Batch, rows: Rows) -> Writer:
    """What takes in what was made of these rows of the batch."""
    match rows:
        case CsvRows():
            return CsvWriter(batch, rows)
        case JsonRows():
            return JsonWriter(batch)
        case _:
            return LineWriter(batch)


def read_rows(batch: Batch) -> list[dict[str, Any]]:
    """Every record as a fresh dict; see `Batch.rows`."""
    return rows_of(batch).take(0, len(batch)) if len(batch) else []


def write_rows(batch: Batch, rows: Sequence[Mapping[str, Any]], origin: Sequence[int]) -> Batch:
    """The batch these rows make; see `Batch.with_rows`."""
    if not len(batch):
        return batch
    writer = writer_of(batch, rows_of(batch))
    writer.take(rows, origin)
    return finished(writer)


def finished(writer: Writer) -> Batch:
    """All that the writer took in.

    Raises:
        PermanentError: one of the rows cannot be written.
    """
    made, _ = writer.batch()
    for why in writer.bad.values():
        raise PermanentError(why, help=WRITABLE)
    return made


def tagged(batch: Batch, tags: Sequence[tuple[str, ...]]) -> Batch:
    """The batch, its records with these tags beside their own."""
    for tag in dict.fromkeys(tag for some in tags for tag in some):
        batch = batch.with_tag(tag, pl.Series([tag in some for some in tags], dtype=pl.Boolean))
    return batch


def _lines(batch: Batch, rows: Sequence[Mapping[str, Any]]) -> Batch:
    """The batch of lines with these rows; with more than a line can hold, they are objects from here on."""
    before = LineRows(batch).take(0, len(batch))
    changed = [not equal(row, old) for row, old in zip(rows, before, strict=True)]
    refuse(row for row, is_changed in zip(rows, changed, strict=True) if is_changed)
    if not any(changed):
        return batch
    settled = batch.settled()
    columns = union(batch.layout.columns, rows)
    ends = ["\r" if line.endswith("\r") else "" for line in text.standing(settled.frame)]
    if columns == (LINE,):
        texts = [value_text(row.get(LINE)) + end for row, end in zip(rows, ends, strict=True)]
        changes: dict[str, object] = {"columns": columns}
    else:
        texts = [json_text.value_json(dict(row)) + end for row, end in zip(rows, ends, strict=True)]
        changes = {"columns": columns, "format": "jsonl", "base": ()}
    layout = text_layout(batch.layout, changes | {"added": ()})
    made = pl.Series("_text", texts, dtype=pl.String)
    places = settled._places()  # noqa: SLF001 -- one half of the same thing
    return type(batch)(places.with_columns(made), layout, batch.file_tags)


__all__ = [
    "AT_A_TIME",
    "LineRows",
    "LineWriter",
    "Rows",
    "Writer",
    "problem",
    "read_rows",
    "rows_of",
    "tagged",
    "write_rows",
    "writer_of",
]
