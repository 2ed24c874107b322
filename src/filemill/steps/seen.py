"""A set of 16-byte hashes that takes little more than their 16 bytes."""

from __future__ import annotations

import struct
from array import array

WIDTH = 16
_PAIR = struct.Struct("<QQ")
_FIRST = 1 << 10
"""Slots of an empty table."""


class Seen:
    """An open-addressing table of hashes, two 64-bit words each, at most two thirds full: 24 to 48 bytes a hash.

    A set of Python's own would take about a hundred. The hashes are even, so the next free slot is always near.
    """

    def __init__(self) -> None:
        self._count = 0
        self._zero = False
        """The hash of two zero words, which marks a free slot, is in it."""
        self._mask = _FIRST - 1
        self._lows, self._highs = _words(_FIRST), _words(_FIRST)

    def __len__(self) -> int:
        return self._count + self._zero

    def add(self, digest: bytes) -> bool:
        """Add a hash; True if it was not in it."""
        low, high = _PAIR.unpack(digest)
        if not (low or high):
            new, self._zero = not self._zero, True
            return new
        at = low & self._mask
        lows, highs = self._lows, self._highs
        while lows[at] or highs[at]:
            if lows[at] == low and highs[at] == high:
                return False
            at = (at + 1) & self._mask
        lows[at], highs[at] = low, high
        self._count += 1
        if self._count * 3 > (self._mask + 1) * 2:
            self._grow()
        return True

    def dump(self) -> bytes:
        """All hashes, one behind the other."""
        pairs = zip(self._lows, self._highs, strict=True)
        made = b"".join([_PAIR.pack(low, high) for low, high in pairs if low or high])
        return made + bytes(WIDTH) if self._zero else made

    @classmethod
    def load(cls, dumped: bytes) -> Seen:
        """The set that was dumped.

        Raises:
            ValueError: these bytes are no dump.
        """
        if len(dumped) % WIDTH:
            raise ValueError(f"{len(dumped)} bytes are no hashes of {WIDTH}")
        seen = cls()
        for start in range(0, len(dumped), WIDTH):
            seen.add(dumped[start : start + WIDTH])
        return seen

    def _grow(self) -> None:
        """Twice the slots, every hash in its new place."""
        old = zip(self._lows, self._highs, strict=True)
        slots = (self._mask + 1) * 2
        mask, lows, highs = slots - 1, _words(slots), _words(slots)
        for low, high in old:
            if low or high:
                at = low & mask
                while lows[at] or highs[at]:
                    at = (at + 1) & mask
                lows[at], highs[at] = low, high
        self._mask, self._lows, self._highs = mask, lows, highs


def _words(count: int) -> array[int]:
    return array("Q", bytes(8 * count))
