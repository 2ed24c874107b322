"""A JSON document as a stream of bytes: the way to a value inside it, and where one value ends.

Nothing here holds more than one block, one token, or one element of at most `max_record` bytes, whatever the document's
size. `Walker` reads tokens and judges them as JSON's grammar does, up to the value that a path names and behind it; it
is exact and slow (20 MB/s), which is enough for what stands around an array. `Scan` finds the end of one value whose
beginning is known, by brackets and quotes alone, across as many blocks as it takes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

import msgspec

from filemill.model.errors import PermanentError
from filemill.ports.step import Opened

_SPACE = re.compile(rb"[ \t\r\n]*+")
_TOKEN = re.compile(
    rb'("(?:[^"\\\x00-\x1f]|\\.)*+")'
    rb"|(-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?|true|false|null)(?=[ \t\r\n,\]}])"
    rb"|([{}\[\]:,])",
    re.DOTALL,
)
_OUTSIDE = re.compile(rb'["{}\[\]]')
_INSIDE = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_BARE = re.compile(rb'[^ \t\r\n,\[\]{}":]++')
_OPENS, _CLOSES = frozenset(b"{["), frozenset(b"}]")
_QUOTE = ord('"')
_ASK = "ask the sender for the whole file; drop it again when it is there"


class Stream:
    """A file's bytes, a block at a time. `at` is the place in `block` where reading goes on."""

    def __init__(self, opened: Opened, start: int, chunk_size: int) -> None:
        self._opened = opened
        self._chunk = chunk_size
        self.block = b""
        self.at = 0
        self.offset = start
        """Where in the file the block begins."""
        self.line = 1
        """Physical line on which the block begins."""

    def fill(self) -> bool:
        """Let go of what lies before `at` and read on; False at the end of the file."""
        self.line += self.block.count(b"\n", 0, self.at)
        more = self._opened.pread(self._chunk, self.offset + len(self.block))
        self.block = self.block[self.at :] + more
        self.offset += self.at
        self.at = 0
        return more != b""

    @property
    def place(self) -> int:
        """Where in the file reading goes on."""
        return self.offset + self.at

    @property
    def line_here(self) -> int:
        """The physical line there."""
        return self.line + self.block.count(b"\n", 0, self.at)

    def space(self) -> bool:
        """Pass over white space; False if the file ends there."""
        while True:
            found = _SPACE.match(self.block, self.at)
            self.at = found.end() if found else self.at
            if self.at < len(self.block):
                return True
            if not self.fill():
                return False

    def malformed(self, what: str) -> PermanentError:
        """The error of a file that is no JSON."""
        return PermanentError(
            f"the file is no JSON at byte {self.place} (line {self.line_here}): {what}",
            help="mend the file, or ask its sender to; if each line is an object, read it with `read_jsonl`",
        )

    def cut_off(self, what: str) -> PermanentError:
        """The error of a file that ends too early."""
        end = self.offset + len(self.block)
        return PermanentError(f"{what} is cut off at byte {end}: the file ends there", help=_ASK)


class Walker:
    """Reads a document's tokens up to the value at `path`, and those behind it."""

    def __init__(self, stream: Stream, path: Sequence[str], limit: int) -> None:
        self.stream = stream
        self.path = tuple(path)
        self._limit = limit
        """Bytes that one token may have."""

    def go(self) -> int:
        """Go to the value at the path; answers with its first byte, which is not read yet.

        Raises:
            PermanentError: there is none, or the document is malformed before it.
        """
        stream = self.stream
        if not stream.space():
            raise stream.cut_off("the document")
        for depth, key in enumerate(self.path):
            if stream.block[stream.at] != ord("{"):
                raise self._no_object(depth)
            stream.at += 1
            self._to_key(key, depth)
        return stream.block[stream.at]

    def end(self) -> None:
        """From behind the value at the path to the end of the document.

        Raises:
            PermanentError: it is malformed, cut off, or names the path twice.
        """
        stream = self.stream
        for depth in reversed(range(len(self.path))):
            while self._separated(b"}"):
                if self._key() == self.path[depth]:
                    raise stream.malformed(
                        f"`{'.'.join(self.path[: depth + 1])}` is there twice, and either could be meant"
                    )
                self._value()
        if stream.space():
            raise stream.malformed("more stands behind its end")

    def _to_key(self, wanted: str, depth: int) -> None:
        """Within an object: behind the colon of this key."""
        stream = self.stream
        seen: list[str] = []
        more = self._peek() != b"}"
        while more:
            key = self._key()
            if key == wanted:
                if not stream.space():
                    raise stream.cut_off("the document")
                return
            if len(seen) < 100:
                seen.append(key)
            self._value()
            more = self._separated(b"}")
        name = ".".join(self.path[: depth + 1])
        near = difflib.get_close_matches(wanted, seen, n=1)
        there = f"`{near[0]}`" if near else ", ".join(f"`{key}`" for key in seen[:20]) or "no key"
        raise PermanentError(
            f"there is no `{name}` in the file; where it should be stands {there}",
            help=f"did you mean `{near[0]}`?" if near else "let `at:` name keys that the file has",
        )

    def _no_object(self, depth: int) -> PermanentError:
        where = f"`{'.'.join(self.path[:depth])}`" if depth else "the file"
        return PermanentError(
            f"{where} is no object, so it has no `{self.path[depth]}`",
            help="let `at:` be the keys that lead to the array; leave it out where the file is the array itself",
        )

    def _peek(self) -> bytes:
        stream = self.stream
        if not stream.space():
            raise stream.cut_off("the document")
        return stream.block[stream.at : stream.at + 1]

    def _separated(self, close: bytes) -> bool:
        """After a member or element: True behind a comma, False behind the bracket that closes."""
        token = self._token()
        if token == close:
            return False
        if token != b",":
            self.stream.at -= len(token)
            raise self.stream.malformed(f"`,` or `{close.decode()}` is missing")
        return True

    def _key(self) -> str:
        token = self._token()
        if token[:1] != b'"':
            self.stream.at -= len(token)
            raise self.stream.malformed("a key in double quotes is missing")
        try:
            key = msgspec.json.decode(token, type=str)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self.stream.malformed("a key that is no text") from error
        if self._token() != b":":
            raise self.stream.malformed("`:` is missing behind a key")
        return key

    def _value(self) -> None:
        """Pass over one value, however deep, without recursion."""
        closing: list[bytes] = []
        while True:
            token = self._token()
            if token in (b"{", b"["):
                close = b"}" if token == b"{" else b"]"
                if self._peek() != close:
                    closing.append(close)
                    if close == b"}":
                        self._key()
                    continue
                self._token()
            elif token in (b"}", b"]", b":", b","):
                self.stream.at -= 1
                raise self.stream.malformed("a value is missing")
            while closing and not self._separated(closing[-1]):
                closing.pop()
            if not closing:
                return
            if closing[-1] == b"}":
                self._key()

    def _token(self) -> bytes:
        stream = self.stream
        while stream.space():
            found = _TOKEN.match(stream.block, stream.at)
            waiting = (len(stream.block) if found is None else found.end()) - stream.at
            if waiting > self._limit:
                raise stream.malformed(
                    f"a text or number of more than max_record ({self._limit} bytes), or none at all"
                )
            if found is not None:
                stream.at = found.end()
                return found.group()
            if not stream.fill():
                if waiting and not _unfinished(stream.block[stream.at :]):
                    raise stream.malformed("a value is missing")
                break
        raise stream.cut_off("the document")


def _unfinished(rest: bytes) -> bool:
    """Say whether the last token of a file could be the beginning of one."""
    if rest[:1] == b'"':
        return True
    return re.fullmatch(rb"-?[0-9.eE+-]*|t(ru?)?e?|f(al?)?s?e?|n(ul?)?l?", rest) is not None


class Scan:
    """Finds the end of one value, across blocks. Its brackets are counted, not told apart."""

    __slots__ = ("_bare", "_depth", "_escaped", "_opened", "_text")

    def __init__(self) -> None:
        self._depth = 0
        self._text = False
        self._escaped = False
        self._bare = False
        self._opened = False

    def feed(self, block: bytes, at: int) -> int:
        """Where the value ends in this block; -1 if it goes on behind it. `at` is where it begins or goes on.

        A number or word ends only where something else stands behind it.
        """
        if not self._opened:
            self._opened = True
            first = block[at]
            self._text, self._depth = first == _QUOTE, int(first in _OPENS)
            self._bare = not self._text and not self._depth
            at += not self._bare
        if self._bare:
            found = _BARE.match(block, at)
            end = found.end() if found else at
            return end if end < len(block) else -1
        return self._behind(block, at)

    def _behind(self, block: bytes, at: int) -> int:
        """Where the text or bracket closes that is open at `at`; -1 if not in this block."""
        while at < len(block):
            if self._text:
                at, ended = self._in_text(block, at)
                if not ended:
                    return -1
                if not self._depth:
                    return at
                continue
            found = _OUTSIDE.search(block, at)
            if found is None:
                return -1
            at = found.end()
            kind = block[at - 1]
            if kind == _QUOTE:
                self._text = True
            elif kind in _CLOSES:
                self._depth -= 1
                if not self._depth:
                    return at
            else:
                self._depth += 1
        return -1

    def _in_text(self, block: bytes, at: int) -> tuple[int, bool]:
        """Behind the text's closing quote, or at the block's end; and which of them."""
        if self._escaped:
            self._escaped = False
            at += 1
        found = _INSIDE.match(block, at)
        at = found.end() if found else at
        if at >= len(block):
            return at, False
        if block[at] == _QUOTE:
            self._text = False
            return at + 1, True
        self._escaped = True  # a backslash is the block's last byte
        return len(block), False


__all__ = ["Scan", "Stream", "Walker"]
