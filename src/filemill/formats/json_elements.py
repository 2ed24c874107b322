"""The elements of a JSON array, found block by block, with their places; those that are no records are bad.

The elements of a stretch are found in one native call: a cut is guessed where an element seems to end, and proved by
parsing what lies before it (a JSON text that parses has no second meaning). Where no guess holds, because an element is
bad or lists of objects stand within, a pattern finds them one by one, and beyond its depth a scan by brackets. All
three find the same elements, so what is found never depends on how the file was cut into blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate

import msgspec

from filemill.formats.json_stream import Scan, Stream
from filemill.model.runs import BadRecord

DEEPEST = 500
"""Levels of nesting a record may have: less than what any later parser refuses."""
_STRETCH = 1 << 20
"""Bytes whose elements are looked for in one call: that many values are in memory at once."""
_LEAST = 512
_PATTERN_DEPTH = 8
_GUESSES = 2
_EACH = 64
"""Bytes a record costs beside its own."""
_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_HEAD = re.compile(rb'\{[ \t\r\n]*+"[^"\\]*+"')
_DEPTHS = re.compile(_TEXT + rb"|[{}\[\]]", re.DOTALL)
_OBJECT, _OPEN, _CLOSE, _COMMA = b"{"[0], b"["[0], b"]"[0], b","[0]
_SPACE = frozenset(b" \t\r\n")
_BETWEEN = frozenset(b" \t\r\n,")
_ENDS = frozenset(b'"]}')
_NO_VALUE = frozenset(b",]:}")
_VALUE = msgspec.json.Decoder(msgspec.Raw)
_VALUES = msgspec.json.Decoder(list[msgspec.Raw])
_KINDS = {
    b"["[0]: "an array",
    b'"'[0]: "a text",
    b"t"[0]: "true",
    b"f"[0]: "false",
    b"n"[0]: "null",
}


def _nested(depth: int) -> bytes:
    """A pattern of one bracketed value with at most `depth` more levels inside it."""
    inner = rb'[{\[](?:[^"{}\[\]]++|' + _TEXT + rb")*+[}\]]"
    for _ in range(depth):
        inner = rb'[{\[](?:[^"{}\[\]]++|' + _TEXT + b"|" + inner + rb")*+[}\]]"
    return inner


_ELEMENT = re.compile(_nested(_PATTERN_DEPTH) + b"|" + _TEXT, re.DOTALL)
_CHAIN = re.compile(b"(?:" + _nested(_PATTERN_DEPTH) + rb"[ \t\r\n]*+,[ \t\r\n]*+)++", re.DOTALL)
"""Objects and arrays one behind the other, each with its comma: exact, and at a tenth of a native call's speed."""


class Rows:
    """Elements that are records, and where they are; and those that are none. One entry a record in each list."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self.file: list[int] = []
        self.record: list[int] = []
        self.line: list[int] = []
        self.start: list[int] = []
        self.bad: list[tuple[int, BadRecord]] = []
        self.found: dict[int, int] = {}
        """By file: how many elements, good or bad."""
        self.size = 0
        """About the bytes of memory they take."""
        self.one_line = True
        """False when some of them may have several lines."""

    def join(self, more: Rows) -> None:
        """Append other rows."""
        for name in ("raw", "file", "record", "line", "start", "bad"):
            getattr(self, name).extend(getattr(more, name))
        self.size += more.size
        self.one_line &= more.one_line
        for index, count in more.found.items():
            self.found[index] = self.found.get(index, 0) + count


class Elements:
    """Reads one file's elements from its stream, whose next byte is that of the array or of the one object.

    `what` they are in: said in errors.
    """

    def __init__(
        self, index: int, stream: Stream, what: str, *, chunk_size: int, max_record: int
    ) -> None:
        self._index = index
        self._stream = stream
        self._what = what
        self._chunk_size = chunk_size
        self._max_record = max_record
        self._rows = Rows()
        self._record = 1
        self._line = stream.line_here
        """Physical line of the byte `_seen` in the block."""
        self._seen = stream.at
        self._tried = 0
        """Up to here in the file a native call has found nothing."""
        self._misses = 0
        """Stretches one behind the other in which no guess was right."""

    def one(self) -> Rows:
        """The one object that begins here."""
        self._element()
        return self._rows

    def array(self) -> Iterator[Rows]:
        """From the `[` to behind the `]`, about a chunk's elements at a time, and at least once.

        Raises:
            PermanentError: the array is cut off, or malformed between its elements.
        """
        stream = self._stream
        stream.at += 1
        self._space()
        more = stream.block[stream.at] != _CLOSE
        if not more:
            stream.at += 1
        while more:
            if not self._several():
                self._element()
            more = self._separated()
            if self._rows.size >= self._chunk_size:
                rows, self._rows = self._rows, Rows()
                yield rows
        yield self._rows

    # -- between elements -------------------------------------------------------------------------

    def _separated(self) -> bool:
        """After an element: True where the next one begins, False behind the array."""
        stream = self._stream
        self._space()
        mark = stream.block[stream.at]
        if mark == _CLOSE:
            stream.at += 1
            return False
        if mark != _COMMA:
            raise stream.malformed("`,` or `]` is missing between two elements")
        stream.at += 1
        self._space()
        if stream.block[stream.at] in _NO_VALUE:
            raise stream.malformed("an element is missing behind a comma")
        return True

    def _space(self) -> None:
        """Pass over white space."""
        stream = self._stream
        block, at = stream.block, stream.at
        while at < len(block) and block[at] in _SPACE:
            at += 1
        stream.at = at
        if at < len(block):
            return
        there = stream.space()
        self._line, self._seen = stream.line, 0
        if not there:
            raise stream.cut_off(self._what)

    def _fill(self) -> None:
        there = self._stream.fill()
        self._line, self._seen = self._stream.line, 0
        if not there:
            raise self._stream.cut_off(self._what)

    # -- many at once -----------------------------------------------------------------------------

    def _several(self) -> bool:
        """Find all elements up to a cut further on in one native call; False if none is proved."""
        stream = self._stream
        block, at = stream.block, stream.at
        end = min(len(block), at + _STRETCH)
        if block[at] != _OBJECT or end - at < _LEAST or stream.place < self._tried:
            return False
        for number, cut in _cuts(block, at, end, _GUESSES if self._misses < _GUESSES else 0):
            try:
                found = _VALUES.decode(b"".join((b"[", memoryview(block)[at:cut], b"]")))
            except (msgspec.MsgspecError, RecursionError):
                continue
            self._misses = 0 if number < _GUESSES else self._misses + 1
            self._take_all(list(map(bytes, found)), at, cut)
            stream.at = cut
            return True
        self._tried = stream.offset + end
        return False

    def _take_all(self, elements: list[bytes], at: int, cut: int) -> None:
        """Take in valid values that fill a stretch of the block."""
        block = self._stream.block
        sizes = list(map(len, elements))
        starts = _starts(block, at, cut, elements, sizes)
        plain = (
            max(sizes) <= min(self._max_record, 2 * DEEPEST)
            and {element[0] for element in elements} == {_OBJECT}
            and _is_text(block[at:cut])
        )
        if not plain:
            for element, start in zip(elements, starts, strict=True):
                self._take(element, start, proved=True)
            return
        rows, index, count = self._rows, self._index, len(elements)
        rows.raw += elements
        rows.file += [index] * count
        rows.record += range(self._record, self._record + count)
        if block.find(b"\n", self._seen, cut) < 0:
            rows.line += [self._line] * count
        else:
            rows.line += map(self._line_at, starts)
        rows.start += map(self._stream.offset.__add__, starts)
        rows.one_line &= _one_line(block, at, cut)
        rows.size += cut - at + _EACH * count
        rows.found[index] = rows.found.get(index, 0) + count
        self._record += count

    # -- one at a time ----------------------------------------------------------------------------

    def _element(self) -> None:
        """Find the one element that begins here."""
        stream = self._stream
        found = _ELEMENT.match(stream.block, stream.at)
        if found is not None:
            start, stream.at = stream.at, found.end()
            self._take(found.group(), start)
            return
        scan, begun = Scan(), stream.place
        line = self._line_at(stream.at)
        at = stream.at
        while (end := scan.feed(stream.block, at)) < 0:
            if len(stream.block) - stream.at > self._max_record:
                self._pass_over(scan, begun, line)
                return
            at = len(stream.block) - stream.at
            self._fill()
        if end == stream.at:
            raise stream.malformed("an element is missing")
        start, stream.at = stream.at, end
        self._take(stream.block[start:end], start)

    def _pass_over(self, scan: Scan, begun: int, line: int) -> None:
        """Let go of an element that is too long as it is read."""
        stream = self._stream
        end = -1
        while end < 0:
            stream.at = len(stream.block)
            self._fill()
            end = scan.feed(stream.block, 0)
        stream.at = end
        self._bad((line, begun, stream.place), "TooLong", self._too_long())

    def _take(self, element: bytes, start: int, *, proved: bool = False) -> None:
        """Take in one element; what is no record is noted as bad."""
        line = self._line_at(start)
        begin = self._stream.offset + start
        place = (line, begin, begin + len(element))
        if len(element) > self._max_record:
            self._bad(place, "TooLong", self._too_long())
            return
        if why := _no_record(element, proved=proved):
            self._bad(place, "Json", why)
            return
        try:
            element.decode()
        except UnicodeDecodeError as error:
            wrong = f"byte {element[error.start]:#04x} at {begin + error.start} is not UTF-8"
            self._bad(place, "Encoding", f"{wrong}; add `transcode` if the file is not")
            return
        rows = self._rows
        rows.raw.append(element)
        rows.file.append(self._index)
        rows.record.append(self._record)
        rows.line.append(line)
        rows.start.append(begin)
        rows.one_line &= _one_line(element, 0, len(element))
        rows.size += len(element) + _EACH
        self._count()

    def _bad(self, place: tuple[int, int, int], error: str, message: str) -> None:
        bad = BadRecord("", self._record, *place, error, message)
        self._rows.bad.append((self._index, bad))
        self._rows.size += _EACH
        self._count()

    def _count(self) -> None:
        self._record += 1
        self._rows.found[self._index] = self._rows.found.get(self._index, 0) + 1

    def _line_at(self, at: int) -> int:
        self._line += self._stream.block.count(b"\n", self._seen, at)
        self._seen = at
        return self._line

    def _too_long(self) -> str:
        said = f"longer than max_record ({self._max_record} bytes)"
        if self._what == "the array":
            return said
        return f"{said}; if it holds an array of records, name the keys to it with `at:`"


def _cuts(block: bytes, at: int, end: int, guesses: int) -> Iterator[tuple[int, int]]:
    """Where before `end` an element of this array may end: guesses, and as number `_GUESSES` what a pattern finds."""
    first = _ELEMENT.match(block, at, end)
    if first is None:
        return
    following = first.end()
    while following < end and block[following] in _BETWEEN:
        following += 1
    head = _HEAD.match(block, following, end)
    if head is not None and block.count(b",", first.end(), following) == 1:
        # Most elements end as this one does, and begin with its neighbour's key behind the same white space.
        ends = first.end() - (2 if block[first.end() - 2] in _ENDS else 1)
        mark, before = block[ends : head.end()], end
        for number in range(guesses):
            before = block.rfind(mark, at, before)
            if before < 0:
                break
            yield number, before + first.end() - ends
    chain = _CHAIN.match(block, at, end)
    if chain is not None:
        cut = chain.end()
        while block[cut - 1] in _BETWEEN:
            cut -= 1
        yield _GUESSES, cut


def _starts(block: bytes, at: int, cut: int, elements: list[bytes], sizes: list[int]) -> list[int]:
    """Where in the block each of the elements begins that fill it from `at` to `cut`."""
    if len(elements) > 1:
        gap_end = at + sizes[0]
        while block[gap_end] in _BETWEEN:
            gap_end += 1
        gap = block[at + sizes[0] : gap_end]
        if gap.join(elements) == block[at:cut]:
            return list(accumulate(map(len(gap).__add__, sizes[:-1]), initial=at))
    starts = []
    for size in sizes:
        while block[at] in _BETWEEN:
            at += 1
        starts.append(at)
        at += size
    return starts


def _one_line(data: bytes, start: int, end: int) -> bool:
    return data.find(b"\n", start, end) < 0 and data.find(b"\r", start, end) < 0


def _is_text(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _no_record(element: bytes, *, proved: bool) -> str:
    """Why this element is no record; empty if it is one."""
    if len(element) > 2 * DEEPEST and _depth(element) > DEEPEST:
        return f"nested more than {DEEPEST} levels deep"
    if not proved:
        try:
            _VALUE.decode(element)
        except (msgspec.MsgspecError, RecursionError) as error:
            return f"not a JSON object: {error}"
    if element[0] != _OBJECT:
        return f"not a JSON object but {_KINDS.get(element[0], 'a number')}"
    return ""


def _depth(element: bytes) -> int:
    """Levels of nesting; 0 if there are too few brackets for it to matter."""
    if element.count(b"{") + element.count(b"[") <= DEEPEST:
        return 0
    depth = deepest = 0
    for found in _DEPTHS.finditer(element):
        mark = found.group()[0]
        if mark in (_OBJECT, _OPEN):
            depth += 1
            deepest = max(deepest, depth)
        elif mark != b'"'[0]:
            depth -= 1
    return deepest
