"""JSON: an array of objects, wherever in the file it stands, or one object. Each object is a record.

An array is read block by block (`json_elements`), so memory is bounded by `chunk_size` and `max_record`, whatever the
file's size. What stands around it is read as strictly as the records themselves (`json_stream`): a file that is cut off
or malformed there is refused as a whole, because nobody knows then which records are missing.

A record's `_raw` is the element as it stands in the file. One that spans several lines has a `_text` of one line, since
that is what a record is written as: white space outside of strings is gone, everything else is as it was.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any

import msgspec
import polars as pl

from filemill.formats.json_elements import Elements, Rows
from filemill.formats.json_stream import Stream, Walker
from filemill.formats.jsonl import JsonlReader
from filemill.formats.opening import refuse_foreign
from filemill.formats.placing import Placed
from filemill.formats.reading import GROUP, SMALL
from filemill.formats.terms import ReadRequest
from filemill.model.runs import RunOrder
from filemill.ports.step import Opened
from filemill.records import json_text, text
from filemill.records.batch import Batch
from filemill.records.layout import Layout

_BOM = b"\xef\xbb\xbf"
_PEEK = 4096
_OBJECT, _OPEN = b"{"[0], b"["[0]


class JsonReader(JsonlReader):
    """Reads the objects of an array, or one object. An element that is none is a bad record of class `Json`.

    `path` are the keys that lead to it; empty: the document itself.
    """

    def __init__(self, request: ReadRequest, *, path: Sequence[str] = ()) -> None:
        super().__init__(request)
        self.path = tuple(path)

    def read(self) -> Iterator[Batch]:
        """Batches of consecutive records; small files travel together.

        Raises:
            PermanentError: a file as a whole cannot be read: it is cut off, malformed outside of its elements, not
                UTF-8, or has no such array.
            Restart: a later chunk widened an inferred type.
            OSError: the file could not be read.
        """
        waiting, files = Rows(), 0
        before = self._layout(_OPEN)
        for index, order in enumerate(self.request.orders):
            if order.file.size > min(SMALL, self.request.chunk_size):
                yield from self._hand_over(waiting, before)
                waiting, files = Rows(), 0
                yield from self._read_big(index, order)
                continue
            layout, rows = self._whole(index, order)
            full = files >= GROUP or waiting.size + rows.size > self.request.chunk_size
            if full or layout != before:
                yield from self._hand_over(waiting, before)
                waiting, files = Rows(), 0
            before = layout
            files += 1
            waiting.join(rows)
        yield from self._hand_over(waiting, before)

    def _whole(self, index: int, order: RunOrder) -> tuple[Layout, Rows]:
        """A small file's elements."""
        opened = self.request.open(order.file.path)
        rows = Rows()
        layout = self._layout(_OPEN)
        try:
            for layout, some in self._chunks(index, opened):  # noqa: B007 -- used behind the loop
                rows.join(some)
        finally:
            opened.close()
        return layout, rows

    def _read_opened(self, index: int, order: RunOrder) -> Generator[Batch, None, None]:
        opened = self.request.open(order.file.path)
        try:
            for layout, rows in self._chunks(index, opened):
                yield from self._hand_over(rows, layout, alone=True)
        finally:
            opened.close()

    def _chunks(self, index: int, opened: Opened) -> Iterator[tuple[Layout, Rows]]:
        """The elements of one file; when the last of them was asked for, all of the file was read and found whole."""
        peek = opened.pread(_PEEK, 0)
        refuse_foreign(peek)
        request = self.request
        start = len(_BOM) if peek.startswith(_BOM) else 0
        stream = Stream(opened, start, request.chunk_size)
        walker = Walker(stream, self.path, request.max_record)
        kind = walker.go()
        if kind not in (_OPEN, _OBJECT):
            what = f"`{'.'.join(self.path)}`" if self.path else "the file"
            raise stream.malformed(f"{what} is neither an array of objects nor an object")
        layout = self._layout(kind)
        request.note_layout(index, layout)
        elements = Elements(
            index,
            stream,
            "the array" if kind == _OPEN else "the object",
            chunk_size=request.chunk_size,
            max_record=request.max_record,
        )
        if kind == _OBJECT:
            yield layout, elements.one()
        else:
            for rows in elements.array():
                yield layout, rows
        walker.end()

    def _layout(self, kind: int) -> Layout:
        opens = "".join(f"{{{json_text.key_text(key)}:" for key in self.path)
        around = (f"{opens}[", "]" + "}" * len(self.path)) if kind == _OPEN else ("", "")
        return Layout("jsonl", "json", self.names, returns=False, around=around)

    def _hand_over(self, rows: Rows, layout: Layout, *, alone: bool = False) -> Iterator[Batch]:
        if not rows.found:
            return
        if not alone:
            self._begin(next(iter(rows.found)))
            alone = len(rows.found) == 1
        placed = Placed(_frame(rows), rows.bad, rows.found, {}, returns=False)
        yield from self._deliver(placed, layout, alone=alone)

    def _prove(self, placed: Placed) -> dict[str, list[Any]]:
        """The named members' values; that the records are objects is known already."""
        if not self.names:
            return {}
        lines = text.standing(placed.frame).str.join("\n")[0].encode()
        try:
            found = json_text.member_columns(lines, self.names)
        except msgspec.MsgspecError:
            return super()._prove(placed)
        return dict(zip(self.names, found, strict=True))


def _frame(rows: Rows) -> pl.DataFrame:
    """The records with their places; with `_text` if one of them has several lines."""
    frame = pl.DataFrame(
        [
            pl.Series("_raw", rows.raw, dtype=pl.Binary).cast(pl.String),
            pl.Series("_file", rows.file, dtype=pl.UInt32),
            pl.Series("_record", rows.record, dtype=pl.Int64),
            pl.Series("_line", rows.line, dtype=pl.Int64),
            pl.Series("_start", rows.start, dtype=pl.Int64),
        ]
    )
    if rows.one_line:
        return frame
    texts = [
        msgspec.json.format(raw, indent=-1) if b"\n" in raw or b"\r" in raw else raw
        for raw in rows.raw
    ]
    return frame.with_columns(pl.Series("_text", texts, dtype=pl.Binary).cast(pl.String))
