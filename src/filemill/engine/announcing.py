"""The announcement page: who pays for a worker's crash.

A worker writes into one small shared page which run it is about to start. The page is a file, so it
outlives worker and server. A run announced alone is charged for a crash; a batch announced as a whole is
not, since nobody can say which of its files did it: all of them run again, one by one, and then the guilty
one is announced alone.

Layout: sequence u64, job u64, allowed milliseconds u32, kind u8, run id length u8, run id. The sequence
grows with every announcement and every step that begins, so the server can tell a slow run from a hung one;
`allowed` is how long the step that began last may take.
"""

from __future__ import annotations

import mmap
import os
import struct
from enum import IntEnum

import msgspec

_HEAD = struct.Struct("<QQIBB")
_PROGRESS = struct.Struct("<I")
_FOREVER = (1 << 32) - 1
SIZE = 4096


class Announced(IntEnum):
    """What a worker said last."""

    NOTHING = 0
    GROUP = 1
    RUN = 2


class Announcement(msgspec.Struct, frozen=True):
    """One reading of a page."""

    sequence: int = 0
    job: int = 0
    allowed: float = 0.0
    """Seconds the step that began last may take; 0: nothing was said yet."""
    kind: Announced = Announced.NOTHING
    run: str = ""


class Page:
    """One worker's page; the worker writes, the server reads."""

    def __init__(self, path: bytes) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, SIZE)
            self._map = mmap.mmap(descriptor, SIZE)
        finally:
            os.close(descriptor)
        self._sequence = self.read().sequence

    def announce(self, job: int, runs: list[str]) -> None:
        """Say what starts now: one run, a group of several, or nothing."""
        run = runs[0].encode() if len(runs) == 1 else b""
        kind = (Announced.NOTHING, Announced.RUN)[len(runs)] if len(runs) < 2 else Announced.GROUP
        self._sequence += 1
        self._map[_HEAD.size : _HEAD.size + len(run)] = run
        self._map[: _HEAD.size] = _HEAD.pack(self._sequence, job, 0, kind, len(run))

    def progress(self, allowed: float) -> None:
        """Say that a step begins, and how many seconds it may take."""
        self._sequence += 1
        self._map[16:20] = _PROGRESS.pack(min(_FOREVER, int(allowed * 1000)))
        self._map[:8] = self._sequence.to_bytes(8, "little")

    def read(self) -> Announcement:
        """What was announced last."""
        sequence, job, allowed, kind, length = _HEAD.unpack_from(self._map)
        run = bytes(self._map[_HEAD.size : _HEAD.size + length]).decode("ascii", "replace")
        return Announcement(sequence, job, allowed / 1000, Announced(kind), run)

    def close(self) -> None:
        """Unmap; the file stays."""
        self._map.close()
