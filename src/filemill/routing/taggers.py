"""Taggers: users' own functions that give tags, named by dotted path and imported in a worker only."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

from filemill.model.errors import UsageError
from filemill.model.files import FileRef
from filemill.model.tags import RESERVED, quote_tag_part

Tagger = Callable[[Any], Any]


class TaggerError(Exception):
    """A tagger raised, or answered with something that is no tag."""


class TaggedFile:
    """What a tagger sees of a file: what a step's `File` has, to be read with `open`.

    `name`, `id`, `size`, `tags` (its source's), `attributes`, `media`, `arrived_ns`, and `relative` (the path below
    the source's folder), `source`, `header`, `head` (the first 64 KiB). It has no `path`: its bytes may be
    the only copy, and a path can be written to.
    """

    def __init__(
        self, file: FileRef, media: str, header: tuple[str, ...], head: bytes, descriptor: int
    ) -> None:
        self.name = os.fsdecode(file.name)
        self.relative = os.fsdecode(file.relative)
        self.id = file.file
        self.size = file.size
        self.source = file.source
        self.tags = frozenset(file.tags)
        self.attributes = dict(file.attributes)
        self.arrived_ns = file.arrived_ns
        self.media = media
        self.header = header
        self.head = head
        self._descriptor = descriptor

    @property
    def path(self) -> str:
        """Not for taggers: AttributeError says what is."""
        raise AttributeError("a tagger's file has no path: read `file.open()` or `file.head`")

    def open(self) -> BinaryIO:
        """All of its bytes, from the start, for reading only. Close it before the tagger returns."""
        return io.BufferedReader(_Span(self._descriptor))


class _Span(io.RawIOBase):
    """Reads a descriptor by position, so that two readers of one file do not disturb each other."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = os.preadv(self._descriptor, [buffer], self._at)
        self._at += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {
            os.SEEK_SET: 0,
            os.SEEK_CUR: self._at,
            os.SEEK_END: os.fstat(self._descriptor).st_size,
        }[whence]
        if base + offset < 0:
            raise ValueError("a seek before the start")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at


def load_tagger(path: str) -> Tagger:
    """Import the function at a dotted path. In a worker only: this runs the user's code.

    Raises:
        UsageError: there is no such module or function, or importing it fails.
    """
    from filemill.records.finding import FunctionError, find  # noqa: PLC0415 -- workers only

    try:
        return find(path)
    except FunctionError as error:
        raise UsageError(f"tagger `{path}`: {error.message}", help=error.help) from error


def call_tagger(path: str, tagger: Tagger, file: TaggedFile) -> tuple[bool, list[str]]:
    """(whether the rule matches, further tags). True alone matches; a tag or tags match and are given too.

    What may not stand in a tag is quoted as everywhere else.

    Raises:
        TaggerError: it raised, or answered with something else.
    """
    try:
        answer = tagger(file)
        if answer is None or isinstance(answer, bool):
            return bool(answer), []
        if isinstance(answer, str):
            return True, [_as_tag(answer)]
        if isinstance(answer, Iterable):
            tags = [_as_tag(tag) for tag in answer]
            return bool(tags), tags
    except TaggerError as error:
        raise TaggerError(f"tagger {path}: {error}") from None
    except Exception as error:
        raise TaggerError(f"tagger {path}: {type(error).__name__}: {error}") from error
    raise TaggerError(
        f"tagger {path}: answered with {type(answer).__name__}; it may be a list of tags, a tag or a bool"
    )


def _as_tag(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TaggerError(f"{value!r} is no tag")
    tag = ":".join(quote_percent(part) for part in value.split(":") if part)
    if not tag or tag in RESERVED:
        raise TaggerError(f"`{value}` cannot be a tag")
    return tag


def quote_percent(part: str) -> str:
    """Quote one part, keeping `%` as it is: a tagger may pass on a tag that was quoted already."""
    return "%".join(quote_tag_part(piece) for piece in part.split("%"))
