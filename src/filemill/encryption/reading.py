"""The plain bytes of content that was sealed in pieces, from any place: only the pieces that are asked for are opened.

So a big file is read in bounded memory, by several workers at once, and nothing of it lies anywhere plain. The first
piece is kept, because whoever reads a chunk looks at the head of its file, and so is the latest, because readers ask
again for the record that a block ended in.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable

import msgspec

from filemill.encryption.pieces import FRAME, MAGIC, walked


class Index(msgspec.Struct, frozen=True):
    """Where the pieces of one content are; both have one number more than there are pieces."""

    places: tuple[int, ...]
    """Where each begins in the plain bytes, and their end."""
    ends: tuple[int, ...]
    """Where the frame of each begins in the file, and where the last one ends."""

    @property
    def size(self) -> int:
        """How many plain bytes there are."""
        return self.places[-1]


class Cut(Exception):
    """It begins as pieces do, and does not end as they do."""


def index_of(descriptor: int) -> Index | None:
    """The pieces of an open file; None: it was not sealed in pieces.

    Raises:
        Cut: their end is missing, or something stands behind it.
    """
    if os.pread(descriptor, len(MAGIC), 0) != MAGIC:
        return None
    *pieces, (size, end) = list(walked(descriptor)) or [(-1, -1)]
    if not pieces or pieces[-1][0] != size or end != os.fstat(descriptor).st_size:
        raise Cut
    return Index(
        places=(0, *(plain for plain, _ in pieces)),
        ends=(len(MAGIC), *(at for _, at in pieces)),
    )


class SealedBytes:
    """One content's plain bytes, by place. `unseal` opens one piece: its sealed bytes, and how long it is plain.

    Used by one thread at a time. What `unseal` raises, reading raises.
    """

    def __init__(
        self, descriptor: int, index: Index, unseal: Callable[[bytes, int], bytes]
    ) -> None:
        """The descriptor is closed with it."""
        self._descriptor = descriptor
        self.index = index
        self._unseal = unseal
        self._first = b""
        self._latest = (-1, b"")

    def pread(self, size: int, at: int) -> bytes:
        """At most `size` bytes from place `at`; fewer only where the file ends."""
        end = min(at + size, self.index.size)
        parts: list[memoryview] = []
        number = bisect_right(self.index.places, at) - 1
        while at < end:
            start = self.index.places[number]
            part = memoryview(self._piece(number))[at - start : end - start]
            parts.append(part)
            at += len(part)
            number += 1
        return b"".join(parts)

    def close(self) -> None:
        """Let go of it. Idempotent."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)
        self._first, self._latest = b"", (-1, b"")

    def _piece(self, number: int) -> bytes:
        if number == 0 and self._first:
            return self._first
        if number == self._latest[0]:
            return self._latest[1]
        index = self.index
        begins = index.ends[number] + FRAME.size
        sealed = os.pread(self._descriptor, index.ends[number + 1] - begins, begins)
        plain = self._unseal(sealed, index.places[number + 1] - index.places[number])
        if number == 0:
            self._first = plain
        else:
            self._latest = (number, plain)
        return plain
