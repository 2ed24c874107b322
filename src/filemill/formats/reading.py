"""What every reader of records does: read files in chunks or in groups, find records, say what is bad.

A big file is read in blocks, one batch each, the unfinished record carried to the next block: memory is bounded by
`BLOCK` and `max_record`, whatever the file's size. Many small files make one block that is split
natively once, because what costs there is the overhead per frame, not the bytes.

A big file can also be read one chunk at a time, by whoever is idle: `cut` says where chunks may end, an order's `chunk`
which bytes are asked for. A chunk begins where a record does if the one before it ended where a record does, and that
is proven by reading it; so a wrong guess of `cut` is always noticed (`Drifted`).

What a reader answers never depends on the chunk size or on the company a file is read in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace

import msgspec

from filemill.formats.ahead import Notes, ahead
from filemill.formats.cutting import cut_lines, cut_quoted
from filemill.formats.opening import finished, read_whole, refuse_foreign
from filemill.formats.placing import Piece, Placed, sanitize
from filemill.formats.terms import Entangled, Head, NotText, Parsed, ReadRequest, Skip
from filemill.model.runs import BadRecord, ChunkRange, RunOrder
from filemill.ports.step import Opened
from filemill.records.batch import Batch
from filemill.records.layout import UNKNOWN, Drifted, Hints, Layout, Restart, widen

SMALL = 128 << 10
"""Files up to this size are read in groups."""
GROUP = 512
BLOCK = 4 << 20
"""Bytes read at once. What is made of a block passes over its bytes a dozen times: of this size it stays near the
processor, which makes those passes up to four times as fast as over 16 MiB."""
_PEEK = 4096
_HEAD = 64 << 10
"""Bytes in which a file's head is looked for first."""
_BOM = b"\xef\xbb\xbf"


class _Cursor(msgspec.Struct):
    """Where reading a file in chunks stands: at byte `position`, `carry` bytes of which the last chunk held already."""

    position: int
    line: int = 1
    record: int = 1
    carry: int = 0
    skip: Skip | None = None


class RecordReader(ABC):
    """Reads the request's orders, in order, as batches."""

    def __init__(self, request: ReadRequest) -> None:
        self.request = request
        self.file_tags = [frozenset(order.file.tags) for order in request.orders]
        self._types: dict[str, str] = {}
        self._settled: set[str] = set()

    def read(self) -> Iterator[Batch]:
        """Batches of consecutive records; bad records are reported, blank lines counted, neither is yielded.

        Raises:
            PermanentError: a file as a whole cannot be read: not UTF-8 text, or a header that is wrong.
            Restart: a later chunk widened an inferred type.
            Drifted: a chunk that was asked for does not end where a record does.
            OSError: the file could not be read.
        """
        group: list[tuple[Layout, Piece, bytes]] = []
        size = 0
        for index, order in enumerate(self.request.orders):
            if order.file.size > min(SMALL, self.request.chunk_size) or order.chunk is not None:
                yield from self._flush(group)
                group, size = [], 0
                yield from self._read_big(index, order)
                continue
            member = self._small(index, order)
            if member is None:
                continue
            full = size + len(member[2]) > self.request.chunk_size or len(group) >= GROUP
            if group and (full or group[0][0] != member[0]):
                yield from self._flush(group)
                group, size = [], 0
            group.append(member)
            size += len(member[2])
        yield from self._flush(group)

    def cut(self) -> list[int]:
        """Where the chunks of the request's only order end, the file's size last; its layout is noted."""
        (order,) = self.request.orders
        opened = self.request.open(order.file.path)
        try:
            head, mark = self._head_of(opened)
            self.request.note_layout(0, head.layout)
            begins, size = mark + head.used, order.file.size
            quote = self.quote_of(head.layout)
            if quote is None:
                return cut_lines(opened, begins, size, self.request.chunk_size)
            return cut_quoted(opened, begins, size, self.request.chunk_size, quote)
        finally:
            opened.close()

    def quote_of(self, layout: Layout) -> bytes | None:  # noqa: ARG002 -- for formats that have one
        """The character between two of which a line ending is no record's end."""
        return None

    @abstractmethod
    def head(self, block: bytes, *, final: bool) -> Head | None:
        """What the start of a file says; None to be asked again with more bytes.

        Raises:
            PermanentError: it says that the file cannot be read.
        """

    @abstractmethod
    def parse(
        self, block: bytes, pieces: Sequence[Piece], layout: Layout, *, final: bool
    ) -> Parsed:
        """Find the records of a block that ends in LF if it is `final`."""

    @abstractmethod
    def batches(self, placed: Placed, layout: Layout, *, alone: bool) -> Iterator[Batch]:
        """Batches of placed records with their typed views; `alone`: one file that may go on."""

    def _small(self, index: int, order: RunOrder) -> tuple[Layout, Piece, bytes] | None:
        """A small file: its layout, where its records begin, and their bytes; None if it has none."""
        data = read_whole(order.file.path, order.file.size)
        refuse_foreign(data[:_PEEK])
        start = len(_BOM) if data.startswith(_BOM) else 0
        body = data[start:] if start else data
        head = self.head(body, final=True)
        if head is None:
            return None
        self.request.note_layout(index, head.layout)
        if head.blank:
            self.request.count_blank(index, head.blank)
        if head.used >= len(body):
            return None
        body = finished(body[head.used :] if head.used else body, head.layout)
        return head.layout, Piece(index, start + head.used, 1 + head.lines, 1, len(body)), body

    def _flush(self, group: list[tuple[Layout, Piece, bytes]]) -> Iterator[Batch]:
        if not group:
            return
        layout = group[0][0]
        pieces = [piece for _, piece, _ in group]
        self._begin(pieces[0].order)
        parsed = self._parse(b"".join([body for _, _, body in group]), pieces, layout, final=True)
        if parsed is None:
            for member in group:
                yield from self._flush([member])
            return
        if parsed.skip is not None:
            self._end_skip(pieces[-1].order, parsed.skip, pieces[-1].start + pieces[-1].size)
        yield from self._deliver(parsed.placed, layout, alone=len(group) == 1)

    def _read_big(self, index: int, order: RunOrder) -> Iterator[Batch]:
        """One file, or one chunk of it; where there are several chunks, blocks are read ahead."""
        self._begin(index)
        chunk, most = order.chunk, self.request.chunk_size
        # A chunk is a little longer than it was asked to be: it ends where a record does.
        alone = order.file.size <= most if chunk is None else chunk.end - chunk.start <= 2 * most
        if alone:
            yield from self._read_opened(index, order)
            return
        told, notes = self.request, Notes()
        self.request = replace(
            told,
            report_bad=notes.later(told.report_bad),
            count_blank=notes.later(told.count_blank),
            count_records=notes.later(told.count_records),
            note_layout=notes.later(told.note_layout),
            note_range=notes.later(told.note_range),
        )
        try:
            yield from ahead(self._read_opened(index, order), notes)
        finally:
            self.request = told

    def _read_opened(self, index: int, order: RunOrder) -> Generator[Batch, None, None]:
        opened = self.request.open(order.file.path)
        try:
            head, mark = self._head_of(opened)
            self.request.note_layout(index, head.layout)
            chunk = order.chunk
            if chunk is not None and chunk.number > 0:
                yield from self._read_later_chunk(index, opened, head.layout, order, chunk)
                return
            if head.blank:
                self.request.count_blank(index, head.blank)
            cursor = _Cursor(mark + head.used, 1 + head.lines)
            end = None if chunk is None or chunk.end >= order.file.size else chunk.end
            yield from self._read_to(index, opened, cursor, head.layout, end)
            if chunk is not None:
                self.request.note_range(index, cursor.line - 1, self._types)
        finally:
            opened.close()

    def _read_later_chunk(
        self, index: int, opened: Opened, layout: Layout, order: RunOrder, chunk: ChunkRange
    ) -> Iterator[Batch]:
        """A chunk whose types are those that the chunks before it have; another one is a wider one."""
        self._settled = set(self._types)
        cursor = _Cursor(chunk.start, chunk.first_line, chunk.first_record)
        end = None if chunk.end >= order.file.size else chunk.end
        yield from self._read_to(index, opened, cursor, layout, end)
        self.request.note_range(index, cursor.line - chunk.first_line, self._types)

    def _head_of(self, opened: Opened) -> tuple[Head, int]:
        """What the start of a file says, and how many bytes its mark has."""
        peek = opened.pread(_PEEK, 0)
        refuse_foreign(peek)
        mark = len(_BOM) if peek.startswith(_BOM) else 0
        size = _HEAD
        while True:
            block = opened.pread(size, mark)
            head = self.head(block, final=False)
            if head is None and len(block) < size:
                head = self.head(block, final=True)
                if head is None:
                    raise AssertionError("a whole file always has a head")
            if head is not None:
                return head, mark
            size *= 4

    def _begin(self, index: int) -> None:
        """Forget the last file's types; begin with those an earlier reading of this one widened."""
        self._types = dict(self.request.hints.types.get(index, {}))
        self._settled = set()

    def _read_to(
        self, index: int, opened: Opened, cursor: _Cursor, layout: Layout, end: int | None
    ) -> Iterator[Batch]:
        """The records from the cursor to `end`, where one has to end, or to the end of the file."""
        final = False
        while not final:
            # What the last block left is read again: that is cheaper than joining it to the next.
            size = cursor.carry + self._step(cursor, end)
            if end is not None:
                size = min(size, end - cursor.position)
            block = opened.pread(size, cursor.position)
            final = len(block) == cursor.carry
            cursor.carry = 0
            if final and end is not None:
                if block or cursor.skip is not None:
                    raise Drifted
                return
            if final and block:
                block = finished(block, layout)
            if cursor.skip is not None:
                block = self._pass_skipped(index, cursor, cursor.skip, block, final=final)
            if block:
                yield from self._take(index, cursor, block, layout, final=final)

    def _step(self, cursor: _Cursor, end: int | None) -> int:
        """How many bytes to read next: of blocks of one size up to `end`, more of a record that is longer than one."""
        most = self.request.chunk_size
        block = min(most, BLOCK)
        if end is not None:
            left = end - cursor.position - cursor.carry
            block = -(-left // max(1, round(left / block)))
        return max(block, min(most, cursor.carry))

    def _take(
        self, index: int, cursor: _Cursor, block: bytes, layout: Layout, *, final: bool
    ) -> Iterator[Batch]:
        """The records of one block."""
        piece = Piece(index, cursor.position, cursor.line, cursor.record, len(block))
        parsed = self._parse(block, [piece], layout, final=final)
        if parsed is None:
            raise AssertionError("a single piece always parses")
        cursor.line += parsed.placed.lines
        cursor.record += parsed.placed.records.get(index, 0)
        cursor.skip = parsed.skip
        if parsed.skip is None:
            cursor.position += parsed.consumed
            cursor.carry = len(block) - parsed.consumed
        else:
            cursor.position += len(block)
            if final:
                self._end_skip(index, parsed.skip, cursor.position)
        yield from self._deliver(parsed.placed, layout, alone=True)

    def _pass_skipped(
        self, index: int, cursor: _Cursor, skip: Skip, block: bytes, *, final: bool
    ) -> bytes:
        """Let go of a bad record's bytes; answers with what stands behind its end, if that is here."""
        end = block.find(b"\n")
        if end < 0:
            if block:
                skip.last = block[-1]
            cursor.position += len(block)
            if final:
                self._end_skip(index, skip, cursor.position)
            return b""
        if end:
            skip.last = block[end - 1]
        self._end_skip(index, skip, cursor.position + end)
        cursor.line, cursor.record = skip.line + skip.lines, skip.record + 1
        cursor.position += end + 1
        cursor.skip = None
        return block[end + 1 :]

    def _parse(
        self, block: bytes, pieces: Sequence[Piece], layout: Layout, *, final: bool
    ) -> Parsed | None:
        """Parse; where the block is not UTF-8, parse a clean copy and report the records with other bytes.

        None: the pieces disturb one another and must be read one by one.
        """
        try:
            parsed = self.parse(block, pieces, layout, final=final)
        except NotText:
            clean, wrong = sanitize(block)
            parsed = self.parse(clean, pieces, layout, final=final)
            parsed.placed.refuse(wrong, pieces)
        except Entangled:
            return None
        return parsed

    def _deliver(self, placed: Placed, layout: Layout, *, alone: bool) -> Iterator[Batch]:
        self._count(placed)
        if placed.frame.height:
            yield from self.batches(placed, layout, alone=alone)

    def _count(self, placed: Placed) -> None:
        for order, count in placed.records.items():
            self.request.count_records(order, count)
        for order, count in placed.blank.items():
            self.request.count_blank(order, count)
        self.report(placed.bad)

    def report(self, bad: Sequence[tuple[int, BadRecord]]) -> None:
        """Report bad records, file by file."""
        by_order: dict[int, list[BadRecord]] = {}
        for order, record in bad:
            by_order.setdefault(order, []).append(
                msgspec.structs.replace(record, step=self.request.step)
            )
        for order, records in by_order.items():
            self.request.report_bad(order, sorted(records, key=lambda each: each.record))

    def _end_skip(self, order: int, skip: Skip, end: int) -> None:
        """Report a bad record whose end was found; `end` is where its LF stands."""
        end -= skip.last == 0x0D
        self.request.count_records(order, 1)
        bad = BadRecord("", skip.record, skip.line, skip.start, end, skip.error, skip.message)
        self.report([(order, bad)])

    def settle_types(self, order: int, found: Mapping[str, str]) -> dict[str, str]:
        """The type of each column of a file that is read in chunks, fixed by its first chunk.

        Raises:
            Restart: this chunk needs a wider one.
        """
        wider: dict[str, str] = {}
        settled: dict[str, str] = {}
        for name, word in found.items():
            before = self._types.get(name, UNKNOWN)
            settled[name] = widen(before, word)
            if name in self._settled and settled[name] != before:
                wider[name] = settled[name]
            self._types[name] = settled[name]
            self._settled.add(name)
        if wider:
            raise Restart(Hints({order: wider}))
        return settled
