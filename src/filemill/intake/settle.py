"""Readiness: when a sighted file is whole. Pure: fed with sightings and looks, told the time by a clock.

A file is ready when nothing says that somebody still writes it:

| proof           | lease test | ready                                                                |
|-----------------|------------|----------------------------------------------------------------------|
| RENAMED         | not busy   | at once                                                              |
| CLOSED          | free       | when quiet for `settle` since the writer closed it                   |
| CLOSED          | unknown    | the same, and its inode untouched (or two looks equal) for `settle`  |
| NONE            | free       | when its inode was untouched, or two looks were equal, for `settle`  |
| NONE            | unknown    | when two looks `settle_unproven` apart were equal                    |
| any             | busy       | not; looked at again, less and less often, or when it is closed      |

A file that changed between two looks starts over without proof.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import Enum

import msgspec

from filemill.model.files import Identity
from filemill.model.turns import Turns
from filemill.ports.clock import Clock
from filemill.ports.source import Proof, Sighting, SourceSettings

MAX_RECHECK = 5.0
"""Seconds between looks at a file that somebody holds open for writing, at most."""
MAX_RETRY = 60.0
"""Seconds between attempts at a file whose claim keeps failing, at most."""


class Lease(Enum):
    """What the lease test says of writers."""

    FREE = "free"
    BUSY = "busy"
    UNKNOWN = "unknown"
    """A foreign owner, or a file system without leases."""


class Look(msgspec.Struct, frozen=True):
    """What one look at a path found. Without `identity` and `refused` it is gone."""

    identity: Identity | None = None
    lease: Lease = Lease.UNKNOWN
    untouched: float = 0.0
    """Seconds since the inode last changed in any way (ctime), by the wall clock."""
    changed_ns: int = 0
    """When that was: for most files, when they came to their place."""
    links: int = 1
    refused: str = ""
    """Why it is not to be taken: a link, a device, no access."""
    trouble: OSError | None = None
    """The machine could not look (too many open files, an I/O error)."""


class Verdict(Enum):
    """What a look means for a waiting file."""

    READY = "ready"
    WAIT = "wait"
    GONE = "gone"
    REFUSED = "refused"


class Waiting:
    """One settling file."""

    __slots__ = (
        "again",
        "checks",
        "due",
        "failures",
        "identity",
        "proof",
        "settings",
        "sighting",
        "since",
    )

    def __init__(self, sighting: Sighting, settings: SourceSettings, now: float) -> None:
        self.sighting = sighting
        self.settings = settings
        self.proof = sighting.proof
        self.since = now
        self.identity: Identity | None = None
        self.due = now
        self.checks = 0
        self.failures = 0
        self.again: Sighting | None = None


class Settler:
    """All settling files. Not thread-safe; `judge` may run elsewhere for files that `take` handed out."""

    def __init__(self, sources: Mapping[str, SourceSettings], clock: Clock) -> None:
        self._sources = sources
        self._clock = clock
        self._files: dict[bytes, Waiting] = {}
        self._taken: dict[bytes, Waiting] = {}
        self._ready: Turns[Waiting] = Turns()
        self._of: Counter[str] = Counter()
        """By source: its files that are settling or handed out."""
        self._heap: list[tuple[float, int, Waiting]] = []
        self._pushes = 0

    def __len__(self) -> int:
        """Files settling or handed out."""
        return len(self._files) + len(self._taken)

    @property
    def handed_out(self) -> int:
        """How many files are handed out."""
        return len(self._taken)

    def of(self, source: str) -> int:
        """How many files of one source are settling or handed out. Any thread may ask."""
        return self._of[source]

    def sight(self, sightings: Sequence[Sighting]) -> None:
        """Note sightings; repeated ones merge, and one of a file handed out counts when it comes back."""
        now = self._clock.monotonic()
        files, taken = self._files, self._taken
        for sighting in sightings:
            path = sighting.path
            if (waiting := taken.get(path)) is not None:
                if waiting.again is None or sighting.proof is not Proof.NONE:
                    waiting.again = sighting
            elif (waiting := files.get(path)) is None:
                waiting = Waiting(sighting, self._sources[sighting.source], now)
                files[path] = waiting
                self._of[sighting.source] += 1
                self._schedule(waiting, self._first_due(waiting, now))
            elif sighting.proof is Proof.RENAMED or (
                sighting.proof is Proof.CLOSED and waiting.proof is not Proof.RENAMED
            ):
                # A fresh proof is about the file's newest version: what was seen before counts no more.
                waiting.proof = sighting.proof
                waiting.identity = None
                waiting.since = now
                waiting.checks = 0
                self._schedule(waiting, self._first_due(waiting, now))

    def update(self, sources: Mapping[str, SourceSettings]) -> None:
        """Go by other settings: files settle on by those of their source, and are forgotten where it is no more.

        Those handed out are at their claim already; what is to be looked at again goes by the new settings, too.
        """
        self._sources = sources
        for path, waiting in list(self._files.items()):
            if not self._adopt(waiting):
                del self._files[path]
                self._of[waiting.sighting.source] -= 1

    def _adopt(self, waiting: Waiting) -> bool:
        """Give it its source's settings of now; False: its source is no more, or is another folder."""
        settings = self._sources.get(waiting.sighting.source)
        if settings is None or settings.root != waiting.settings.root:
            return False
        waiting.settings = settings
        return True

    def take(self, limit: int) -> list[Waiting]:
        """Hand out up to `limit` files that are to be looked at now: sources in turn, higher priorities first."""
        out: list[Waiting] = []
        ready, heap, files, taken = self._ready, self._heap, self._files, self._taken
        now = self._clock.monotonic()
        while heap and heap[0][0] <= now:
            due, _, waiting = heapq.heappop(heap)
            if waiting.due == due and waiting.sighting.path in files:
                self._schedule(waiting, 0.0)
        while ready and len(out) < limit:
            waiting = ready.pop()
            path = waiting.sighting.path
            if files.get(path) is waiting and waiting.due == 0.0:
                del files[path]
                taken[path] = waiting
                out.append(waiting)
        return out

    def next_due(self) -> float | None:
        """When `take` will have something (monotonic seconds, 0 for now); None when nothing waits."""
        if self._ready:
            return 0.0
        return self._heap[0][0] if self._heap else None

    def judge(self, waiting: Waiting, look: Look) -> Verdict:
        """What this look means; with WAIT, `waiting.due` says when to look again."""
        now = self._clock.monotonic()
        settings = waiting.settings
        if look.trouble is not None:
            return self._retry(waiting, now)
        if look.refused:
            return Verdict.REFUSED
        if look.identity is None:
            return Verdict.GONE
        changed = waiting.identity is not None and waiting.identity != look.identity
        if changed or look.lease is Lease.BUSY:
            waiting.proof = Proof.NONE
        if changed or waiting.identity is None or look.lease is Lease.BUSY:
            waiting.identity = look.identity
            if changed or waiting.proof is Proof.NONE:
                waiting.since = now
        if look.lease is Lease.BUSY:
            waiting.checks += 1
            wait = settings.settle * 1.5 ** min(waiting.checks - 1, 40)
            waiting.due = now + min(max(wait, 0.01), MAX_RECHECK)
            return Verdict.WAIT
        return self._quiet(waiting, look, now)

    def put_off(self, waiting: Waiting) -> None:
        """A claim failed: look again later, the later the more often it failed."""
        waiting.proof = Proof.NONE
        waiting.identity = None
        self._retry(waiting, self._clock.monotonic())

    def give_back(self, waiting: Waiting, *, keep: bool) -> None:
        """Take a handed-out file back: to wait until its `due` (`keep`), or as done with."""
        path = waiting.sighting.path
        self._taken.pop(path, None)
        again, waiting.again = waiting.again, None
        if keep and self._adopt(waiting):
            self._files[path] = waiting
            self._schedule(waiting, waiting.due)
        else:
            self._of[waiting.sighting.source] -= 1
        if again is not None and again.source in self._sources:
            self.sight((again,))

    def _quiet(self, waiting: Waiting, look: Look, now: float) -> Verdict:
        settings, proof = waiting.settings, waiting.proof
        if proof is Proof.RENAMED:
            return Verdict.READY
        # `since` is when the writer closed it (CLOSED) or when it was first seen like this (NONE).
        seen = now - waiting.since
        if look.lease is Lease.FREE:
            wanted = settings.settle
            if proof is Proof.NONE:
                seen = max(seen, look.untouched)
        elif proof is Proof.CLOSED:
            wanted = settings.settle
            if look.untouched < wanted and waiting.checks == 0:
                seen = 0.0  # quiet must be seen: nothing but the clock speaks for it
                waiting.since = now
                waiting.checks = 1
        else:
            wanted = settings.settle_unproven
        if seen >= wanted:
            return Verdict.READY
        waiting.due = max(now + wanted - seen, now + 0.001)
        return Verdict.WAIT

    @staticmethod
    def _retry(waiting: Waiting, now: float) -> Verdict:
        waiting.failures += 1
        waiting.since = now
        wait = max(waiting.settings.settle, 0.05) * 2.0 ** min(waiting.failures - 1, 20)
        waiting.due = now + min(wait, MAX_RETRY)
        return Verdict.WAIT

    @staticmethod
    def _first_due(waiting: Waiting, now: float) -> float:
        # A file found by a scan is looked at once at once: it may have lain there for days.
        return now + waiting.settings.settle if waiting.proof is Proof.CLOSED else 0.0

    def _schedule(self, waiting: Waiting, due: float) -> None:
        if due == 0.0:
            waiting.due = 0.0
            self._ready.put(waiting.settings.name, (waiting,), waiting.settings.priority)
            return
        waiting.due = due
        self._pushes += 1
        heapq.heappush(self._heap, (due, self._pushes, waiting))
