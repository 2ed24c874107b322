"""Which way makes a group of files and folders durable: one after the other, abreast, or the whole file system at once.

An fsync costs for each file; one syncfs costs the same for a hundred, but waits for whatever else is dirty on that file
system, strangers' files too. From how many on it is the better way differs by a hundred times between disks. So it is
measured once for each file system (`durable/measuring.py`), and remembered. What was measured at rest is not what
holds beside a program that writes, so each sync that is done corrects it for some seconds: a way that proves slower
than it was measured is taken to be so much slower, until that fades and it is tried again.

Whichever way is chosen, a group is durable when the call returns, or none of it is.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from enum import StrEnum

from filemill.durable.costs import NAME, WORK_NS, Costs, recall
from filemill.durable.failpoints import Failpoints
from filemill.durable.syncing import HAS_SYNCFS

GROUP = 4
"""From so many on by syncfs, as long as nothing is measured: it costs little on any disk and saves a lot on most."""
_QUICK_NS = 200_000
"""Where a lone file is durable as fast as that, threads cost more than they save."""
_WEIGHT = 0.4
_FADES = 10.0
"""Seconds after which a third is left of what a sync taught."""
_SLOWEST = 50.0
"""No sync teaches more than that: it would not fade for minutes."""
_LOOK_EVERY = 5.0
"""Seconds between two looks at what is remembered: it may have been measured since."""


class Way(StrEnum):
    """How a group is made durable."""

    EACH = "each"
    """One fsync after the other."""
    ABREAST = "abreast"
    """Fsyncs, several at once."""
    WHOLE = "whole"
    """One syncfs."""


class Barrier:
    """The fixed choice: the same for every file system, at any time."""

    def way(self, device: int, count: int) -> Way:  # noqa: ARG002 -- a measured one goes by it
        """How to make so many files and folders of one device durable."""
        return Way.WHOLE if HAS_SYNCFS and count >= GROUP else Way.EACH

    def took(self, device: int, way: Way, count: int, seconds: float) -> None:
        """Hear what it took."""


class Measured(Barrier):
    """Goes by what was measured and is remembered at `path`, corrected by what syncs take now. Thread-safe.

    A device of which nothing is known goes by the fixed choice.
    """

    def __init__(self, path: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._monotonic = monotonic
        self._looked = -math.inf
        self._stamp: tuple[int, int] | None = None
        self._costs: dict[int, Costs] = {}
        self._paces: dict[tuple[int, Way], _Pace] = {}

    def way(self, device: int, count: int) -> Way:
        """How to make so many files and folders of one device durable."""
        now = self._monotonic()
        costs = self._look(now).get(device)
        if costs is None:
            return super().way(device, count)
        if count < 2:
            return Way.EACH
        apart = costs.apart(count) * self._pace(device, Way.ABREAST).at(now)
        whole = costs.whole_beside() * self._pace(device, Way.WHOLE).at(now)
        if whole <= apart + WORK_NS * (count - 2):
            return Way.WHOLE
        return Way.EACH if count < GROUP or costs.one < _QUICK_NS else Way.ABREAST

    def took(self, device: int, way: Way, count: int, seconds: float) -> None:
        """Hear what it took."""
        costs = self._costs.get(device)
        if costs is None or way is Way.EACH:
            return
        expected = costs.whole_beside() if way is Way.WHOLE else costs.apart(count)
        self._pace(device, way).note(self._monotonic(), seconds * 1e9 / max(expected, 1))

    def _look(self, now: float) -> dict[int, Costs]:
        """What is known of each device; looked up anew when another process may have measured."""
        if now - self._looked >= _LOOK_EVERY:
            self._looked = now
            stamp = _stamp(self.path)
            if stamp != self._stamp:
                self._stamp = stamp
                self._costs, self._paces = (
                    {device: each.costs for device, each in recall(self.path).items()},
                    {},
                )
        return self._costs

    def _pace(self, device: int, way: Way) -> _Pace:
        return self._paces.setdefault((device, way), _Pace())


def barrier_of(data: str, failpoints: Failpoints) -> Barrier:
    """The barrier of a process that works on a data directory: a fixed one where failpoints count what is done."""
    return Barrier() if failpoints.armed else Measured(os.path.join(data, NAME))


class _Pace:
    """How many times slower one way is now than it was measured."""

    def __init__(self) -> None:
        self._ratio = 1.0
        self._noted = 0.0

    def at(self, now: float) -> float:
        return 1.0 + (self._ratio - 1.0) * math.exp((self._noted - now) / _FADES)

    def note(self, now: float, ratio: float) -> None:
        self._ratio = self.at(now) + (min(ratio, _SLOWEST) - self.at(now)) * _WEIGHT
        self._noted = now


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
