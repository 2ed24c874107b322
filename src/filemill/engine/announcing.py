"""The announcement page: who pays for a crash.

A worker writes into one small shared page which runs it is about to start. The page is a file, so it
outlives worker and server. A run announced alone is charged for its worker's crash; a batch announced as a
whole is not, since nobody can say which of its files did it: all of them run again, one by one, and then the
guilty one is announced alone. When the *server* dies, the runs on the pages of its workers are the interrupted ones;
everything else it had leased had not begun.

Layout: sequence u64, job u64, allowed milliseconds u32, number of runs u16, then the run ids, 13 bytes each. The
sequence grows with every announcement and every step that begins, so the server can tell a slow run from a hung
one; `allowed` is how long the step that began last may take.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum

import msgspec

_HEAD = struct.Struct("<QQIH")
_ALLOWED = struct.Struct("<I")
_FOREVER = (1 << 32) - 1
_ID = 13
SIZE = 4096
CAPACITY = (SIZE - _HEAD.size) // _ID
"""Runs that one page can name: no batch may be larger."""


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
    runs: tuple[str, ...] = ()

    @property
    def kind(self) -> Announced:
        """Nothing, a group of runs, or one alone."""
        if len(self.runs) == 1:
            return Announced.RUN
        return Announced.GROUP if self.runs else Announced.NOTHING


class Page:
    """One worker's page; the worker writes, the server reads."""

    def __init__(self, path: bytes) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Space is taken now: writing a hole through memory on a full disk would be SIGBUS, the end of us.
            if hasattr(os, "posix_fallocate") and os.fstat(descriptor).st_blocks == 0:
                os.posix_fallocate(descriptor, 0, SIZE)
            os.ftruncate(descriptor, SIZE)
            self._map = mmap.mmap(descriptor, SIZE)
        finally:
            os.close(descriptor)
        self._sequence = self.read().sequence

    def announce(self, job: int, runs: Sequence[str]) -> None:
        """Say what starts now: one run, a group of at most `CAPACITY`, or nothing."""
        ids = "".join(runs).encode("ascii")
        assert len(ids) == _ID * len(runs) <= _ID * CAPACITY, runs  # noqa: S101 -- ids are ours
        self._sequence += 1
        # The ids first, then the head that makes them count.
        self._map[_HEAD.size : _HEAD.size + len(ids)] = ids
        self._map[: _HEAD.size] = _HEAD.pack(self._sequence, job, 0, len(runs))

    def progress(self, allowed: float) -> None:
        """Say that a step begins, and how many seconds it may take."""
        self._sequence += 1
        self._map[16:20] = _ALLOWED.pack(min(_FOREVER, int(allowed * 1000)))
        self._map[:8] = self._sequence.to_bytes(8, "little")

    def glance(self) -> tuple[int, float]:
        """Sequence and allowed seconds only: what the watchdog asks several times a second."""
        sequence, _, allowed, _ = _HEAD.unpack_from(self._map)
        return sequence, allowed / 1000

    def read(self) -> Announcement:
        """What was announced last."""
        sequence, job, allowed, count = _HEAD.unpack_from(self._map)
        ids = bytes(self._map[_HEAD.size : _HEAD.size + _ID * min(count, CAPACITY)])
        text = ids.decode("ascii", "replace")
        runs = tuple(text[start : start + _ID] for start in range(0, len(text), _ID))
        return Announcement(sequence, job, allowed / 1000, runs)

    def close(self) -> None:
        """Unmap; the file stays."""
        self._map.close()


def announced_before(folder: bytes) -> Iterator[str]:
    """The runs that the workers of a former server had announced when it ended; their pages are emptied."""
    try:
        names = [name for name in os.listdir(folder) if name.endswith(b".page")]
    except FileNotFoundError:
        return
    for name in names:
        page = Page(os.path.join(folder, name))
        yield from page.read().runs
        page.announce(0, [])
        page.close()
