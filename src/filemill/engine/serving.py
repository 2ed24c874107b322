"""The revisions at work: the current one, those that still have runs in hand, and older ones that runs are pinned to.

A run's revision is decided when it is leased, and everything that is done for its attempt is done by that revision:
its plan, its workers (which import the modules of users as they were then), its sinks. So a reload changes nothing
under a run's feet, however long it takes; it only decides what the next lease gets.

Whoever works for a revision holds it. One that is no longer current ends when nobody holds it any more: at once if it
was current, after `LINGER` seconds if it was opened for a pinned run, since the next one may be on its way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from filemill.engine.chunking import ChunkedRuns
from filemill.engine.supervisor import WorkerPool
from filemill.model.errors import FilemillError
from filemill.model.plan import Plan
from filemill.ports.sink import Sink

LINGER = 10.0
"""Seconds that an older revision's workers stay when their last run is over."""


class Served:
    """One revision at work. `current` says whether new runs get it."""

    def __init__(
        self, plan: Plan, pool: WorkerPool, sinks: Mapping[str, Sink], chunked: ChunkedRuns
    ) -> None:
        self.plan = plan
        self.pool = pool
        self.sinks = sinks
        self.chunked = chunked
        self.pipelines = {pipeline.name: pipeline for pipeline in plan.pipelines}
        self.current = False
        self.holders = 0
        self.linger = LINGER
        self.timer: asyncio.TimerHandle | None = None

    @property
    def number(self) -> int:
        """Its number in the ledger."""
        return self.plan.revision


Open = Callable[[int], Awaitable[Served]]
"""Makes an older revision work again, from what the ledger keeps of it; raises FilemillError when it cannot."""
OpenSinks = Callable[[int], Awaitable[Mapping[str, Sink]]]
"""The same for its sinks alone."""


class Revisions:
    """All revisions at work. Lives in one event loop; `switch` makes one current, `stop` ends all."""

    def __init__(self, open_: Open, open_sinks: OpenSinks) -> None:
        self._open = open_
        self._open_sinks = open_sinks
        self._served: dict[int, Served] = {}
        self._opening: dict[int, asyncio.Task[Served]] = {}
        self._sinks: dict[int, Mapping[str, Sink]] = {}
        self._current: Served | None = None
        self._alive: set[Served] = set()
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def current(self) -> Served:
        """The revision that new runs get."""
        assert self._current is not None, "switch comes first"  # noqa: S101
        return self._current

    @property
    def alive(self) -> list[Served]:
        """All that have workers now, the oldest first."""
        return sorted(self._alive, key=lambda served: served.number)

    def find(self, number: int) -> Served | None:
        """The revision of this number, if it is at work now."""
        return self._served.get(number)

    def pool_of(self, number: int) -> WorkerPool:
        """The workers of a revision that is at work, else those of the current one."""
        return (self._served.get(number) or self.current).pool

    def switch(self, served: Served) -> None:
        """Make it current: one assignment, so that nobody ever sees half of a change."""
        former, self._current = self._current, served
        served.current = True
        self._add(served)
        if former is not None and former is not served:
            former.current = False
            former.linger = 0.0
            self._end_if_free(former)

    def hold(self, served: Served) -> Served:
        """Begin to work for a revision; `release` it afterwards."""
        served.holders += 1
        _keep(served)
        return served

    def release(self, served: Served) -> None:
        """Work for it no more."""
        served.holders -= 1
        self._end_if_free(served)

    async def acquire(self, number: int) -> Served:
        """Hold the revision of this number; an older one is opened first.

        Raises:
            FilemillError: it cannot work any more, with help.
        """
        if (served := self._served.get(number)) is not None:
            return self.hold(served)
        opening = self._opening.get(number)
        if opening is None:
            opening = asyncio.create_task(self._open_one(number), name=f"open revision {number}")
            self._opening[number] = opening
        # Others may wait for the same one: that this one gives up must not end it for them.
        return self.hold(await asyncio.shield(opening))

    async def _open_one(self, number: int) -> Served:
        try:
            served = await self._open(number)
        finally:
            del self._opening[number]
        self._add(served)
        # Who asked holds it in the next turn of the loop; if nobody is left to, it ends by itself.
        self._end_if_free(served)
        return served

    def sinks_of(self, number: int) -> Mapping[str, Sink]:
        """The sinks of a revision, so far as they are known; else those of the current one."""
        return self._sinks.get(number) or self.current.sinks

    async def know_sinks(self, number: int) -> None:
        """Have `sinks_of` know them. A revision that cannot be read any more publishes through the current sinks."""
        if number in self._sinks:
            return
        try:
            self._sinks[number] = await self._open_sinks(number)
        except FilemillError:
            self._sinks[number] = self.current.sinks

    async def stop(self) -> None:
        """End all."""
        for served in self._alive:
            _keep(served)
        for opening in self._opening.values():
            opening.cancel()
        await asyncio.gather(*self._opening.values(), return_exceptions=True)
        pools = [served.pool.stop() for served in self._alive]
        await asyncio.gather(*pools, *self._ending)
        self._alive.clear()

    def _add(self, served: Served) -> None:
        """It is at work from now on; another one of its number gets no new work."""
        former = self._served.get(served.number)
        self._served[served.number] = served
        self._sinks[served.number] = served.sinks
        self._alive.add(served)
        _keep(served)
        if former is not None and former is not served:
            former.linger = 0.0
            self._end_if_free(former)

    def _end_if_free(self, served: Served) -> None:
        if served.current or served.holders or served not in self._alive:
            return
        _keep(served)
        served.timer = asyncio.get_running_loop().call_later(served.linger, self._end, served)

    def _end(self, served: Served) -> None:
        if served.current or served.holders:
            return
        self._alive.discard(served)
        if self._served.get(served.number) is served:
            del self._served[served.number]
        task = asyncio.create_task(served.pool.stop(), name=f"end revision {served.number}")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


def _keep(served: Served) -> None:
    """Put off its end."""
    if served.timer is not None:
        served.timer.cancel()
        served.timer = None
