r"""Sealed piece by piece: for bytes that are sent, which come when they come and may end with any of them.

An age file cannot be gone on with after a crash, and its end must be known to whoever writes it in one go. So what is
sent is sealed in pieces, each an age file of its own:

    filemill-pieces/1\n   [its place in the plain bytes, its plain size, its sealed size, age file] ...   [size, 0, 0]

Any number of whole pieces can be gone on with, by whoever has the recipients only. The places and the end tell a file
that was cut, or put together in another order, from a whole one. What is no more than one piece is an age file.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator

MAGIC = b"filemill-pieces/1\n"
FRAME = struct.Struct(">QII")
PIECE = 1 << 20
"""Plain bytes of a piece, at most."""
MOST = 2 * PIECE
"""Sealed bytes of one, at most; each recipient takes some hundred."""


class Pieces:
    """Seals one file piece by piece; `plain` bytes of it stand already, in whole pieces.

    What `add` and `end` answer belongs into the file one behind the other.
    """

    def __init__(self, seal: Callable[[bytes], bytes], plain: int = 0) -> None:
        self._seal = seal
        self.plain = plain

    def add(self, piece: bytes) -> bytes:
        """What stands for the next bytes; nothing for none."""
        made = b"".join(framed(self._seal, piece, self.plain))
        first, self.plain = not self.plain, self.plain + len(piece)
        return MAGIC + made if first and made else made

    def end(self, piece: bytes) -> bytes:
        """What stands for the last bytes."""
        if not self.plain and len(piece) <= PIECE:
            self.plain = len(piece)
            return self._seal(piece)
        return self.add(piece) + ending(self.plain)


def framed(seal: Callable[[bytes], bytes], plain: bytes, place: int = 0) -> Iterator[bytes]:
    """Pieces of these bytes, as they stand one behind the other in a file; `place` is where the bytes are in all."""
    for at in range(0, len(plain), PIECE):
        some = plain[at : at + PIECE]
        sealed = seal(some)
        yield FRAME.pack(place + at, len(some), len(sealed))
        yield sealed


def ending(plain: int) -> bytes:
    """What stands behind the last piece of so many bytes."""
    return FRAME.pack(plain, 0, 0)


def standing(descriptor: int, plain: int) -> int:
    """Where whole pieces of so many plain bytes end in this file; -1: they are not there."""
    if not plain:
        return 0
    for place, end in walked(descriptor):
        if place == plain:
            return end
    return -1


def sealed_length(descriptor: int, plain: int) -> int:
    """How many bytes a file of pieces has whose end says that it is whole and has so many plain bytes; else -1."""
    before = -1
    for place, end in walked(descriptor):
        if before == place:
            return end if place == plain else -1
        before = place
    return -1


def walked(descriptor: int) -> Iterator[tuple[int, int]]:
    """(plain bytes so far, where they end) behind each whole piece; the end mark gives the last one once more."""
    size = os.fstat(descriptor).st_size
    plain, at = 0, len(MAGIC)
    if os.pread(descriptor, at, 0) != MAGIC:
        return
    while True:
        header = os.pread(descriptor, FRAME.size, at)
        if len(header) < FRAME.size:
            return
        place, length, sealed = FRAME.unpack(header)
        at += FRAME.size + sealed
        if place != plain or at > size or bool(length) != bool(sealed):
            return
        plain += length
        yield plain, at
        if not sealed:
            return
