"""The consumer behind the sinks: it takes every output away, and knows what it must be and how often."""

from __future__ import annotations

import hashlib
import os
import re
import time
from pathlib import Path

from soaking import world

REST = 1.0
"""Seconds that an output lies before it is taken."""
STAMP = re.compile(r" config=(\d+) module=(\d+)$", re.MULTILINE)


class Consumer:
    """Takes outputs away; what is wrong with them is in `wrong`. One thread calls `take`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.wrong: list[str] = []
        self.dropped: dict[int, float] = {}
        """Moments at which small files were dropped, by number; of the wall clock."""
        self.bigs: dict[int, dict[str, str]] = {}
        """By number of big file and sink, the digest of what is to come."""
        self._taken: dict[int, set[str]] = {}
        """Sinks that a small file has come out of, and is still to come out of others."""
        self._made: dict[int, set[str]] = {}
        self._complete: set[int] = set()
        self._complete_bigs: set[int] = set()
        self._ended: dict[int, float] = {}
        self._latencies: list[float] = []

    @property
    def done(self) -> int:
        """Files that came out whole, big ones included."""
        return len(self._complete) + len(self._complete_bigs)

    def missing(self) -> list[str]:
        """Files that came out of not all their sinks, or of none, by name."""
        small = [n for n in self.dropped if n not in self._complete and world.wanted(n)]
        bigs = [f"big-{n:04}" for n, digests in self.bigs.items() if digests]
        return [*map(world.name_of, small), *bigs]

    def latencies(self) -> list[float]:
        """Seconds from drop to last output of the small files that came out since the last call."""
        found, self._latencies = self._latencies, []
        return found

    def take(self, *, at_once: bool = False) -> None:
        """Take away what has lain for `REST` seconds, or all there is."""
        for sink in world.SINKS:
            folder = self._root / "out" / sink
            if not folder.is_dir():
                continue
            for entry in list(os.scandir(folder)):
                if entry.name.startswith("."):
                    continue
                appeared = entry.stat().st_ctime
                if not at_once and time.time() - appeared < REST:
                    continue
                self._look(sink, Path(entry.path).read_bytes(), appeared, entry.name)
                os.unlink(entry.path)

    def _look(self, sink: str, data: bytes, appeared: float, name: str) -> None:
        if sink in ("slow", "fast"):
            self._look_at_big(sink, data, name)
            return
        text = data.decode()
        first = text.splitlines()[1 if sink == "tables" else 0]
        number = int(first.split(",")[0] if sink == "tables" else first.split()[1])
        if sink != "tables":
            self._made.setdefault(number, set()).update(*STAMP.findall(text))
            text = STAMP.sub("", text)
        wanted = world.wanted(number)
        taken = self._taken.setdefault(number, set())
        if number in self._complete or sink in taken:
            self.wrong.append(f"{sink}/{name}: of file {number}, once more")
            return
        if text != wanted.get(sink):
            self.wrong.append(f"{sink}/{name}: is not what file {number} makes")
        taken.add(sink)
        self._ended[number] = max(self._ended.get(number, 0.0), appeared)
        if taken == set(wanted):
            self._end(number)

    def _end(self, number: int) -> None:
        self._complete.add(number)
        del self._taken[number]
        if len(made := self._made.pop(number, {""})) != 1:
            self.wrong.append(f"file {number} was made by versions {sorted(made)}")
        ended = self._ended.pop(number)
        if not world.dies(number):
            self._latencies.append(ended - self.dropped[number])

    def _look_at_big(self, sink: str, data: bytes, name: str) -> None:
        number = int(data.split(b",", 1)[0].rpartition(b" ")[2])
        digest = self.bigs[number].pop(sink, None)
        if digest is None:
            self.wrong.append(f"{sink}/{name}: of big file {number}, once more")
        elif hashlib.sha256(data).hexdigest() != digest:
            self.wrong.append(f"{sink}/{name}: is not what big file {number} makes")
        if not self.bigs[number]:
            self._complete_bigs.add(number)
