"""The sources of the server, and how a change of the configuration reaches them without a lost sighting.

Each source speaks through a gate. A source that a new configuration adds or changes is started first, behind a closed
gate that keeps what it sees; then all at once the gates of the old ones are shut and those of the new ones opened. One
that the change does not touch goes on as it is: nothing is scanned anew. What the old ones had seen of a source that is
changed, the new one's first scan sees again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import msgspec

from filemill.model.events import Emit
from filemill.model.plan import Plan, SourcePlan
from filemill.ports.clock import Clock
from filemill.ports.registry import Registry
from filemill.ports.source import Sighting, Source, SourceSettings
from filemill.service.building import build_source, settings_of


class Gate:
    """Passes sightings on, keeps them until it is opened, or, once it is shut, drops them."""

    def __init__(self, sighted: Callable[[list[Sighting]], None]) -> None:
        self._sighted = sighted
        self._kept: list[Sighting] | None = []
        self._shut = False

    def __call__(self, sightings: list[Sighting]) -> None:
        """Take what a source saw."""
        if self._shut:
            return
        if self._kept is not None:
            self._kept += sightings
            return
        self._sighted(sightings)

    def open(self) -> None:
        """Pass on from now on, and what was kept first."""
        kept, self._kept = self._kept, None
        if kept and not self._shut:
            self._sighted(kept)

    def shut(self) -> None:
        """Pass on nothing more."""
        self._shut = True
        self._kept = None

    @property
    def kept(self) -> int:
        """Sightings that wait for it to be opened."""
        return len(self._kept or ())


class Watched(msgspec.Struct):
    """One source at work."""

    plan: SourcePlan
    source: Source
    gate: Gate


class Change(msgspec.Struct):
    """A set of sources to come: all of them, and those of them that are new and wait behind their gates."""

    sources: dict[str, Watched]
    fresh: list[Watched]


class Sources:
    """All sources of the current configuration. In one event loop."""

    def __init__(
        self,
        *,
        registry: Registry,
        clock: Clock,
        emit: Emit,
        sighted: Callable[[list[Sighting]], None],
        backlog: Callable[[str], int],
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._emit = emit
        self._sighted = sighted
        self._backlog = backlog
        self._watched: dict[str, Watched] = {}
        self._old: list[Watched] = []

    @property
    def settings(self) -> dict[str, SourceSettings]:
        """What intake needs to know of each source, and of the command line."""
        return settings_of({name: each.source for name, each in self._watched.items()})

    def watching(self) -> tuple[tuple[str, str], ...]:
        """(place, how it is watched) of each source."""
        return tuple(each.source.watching() for each in self._watched.values())

    def take(self, plan: Plan) -> None:
        """Have the sources of the first configuration; none is started."""
        self._watched = {each.name: self._built(each) for each in plan.sources}

    async def start(self) -> None:
        """Start all.

        Raises:
            UsageError: a place cannot be watched, with help.
        """
        for each in self._watched.values():
            each.gate.open()
            await each.source.start()

    async def scan_once(self) -> None:
        """Have every source sight what is there now, and stop again."""
        for each in self._watched.values():
            each.gate.open()
            await each.source.start()
            await each.source.scanned()
            await each.source.stop()

    async def stop(self) -> None:
        """Stop all, also when one raises; sightings already given stand. Idempotent."""
        async with contextlib.AsyncExitStack() as stopping:
            stopping.push_async_callback(self.stop_old)
            for each in reversed(self._watched.values()):
                stopping.push_async_callback(each.source.stop)

    async def prepare(self, plan: Plan) -> Change:
        """The sources of another configuration, those that are new started behind their gates.

        Raises:
            UsageError: a place cannot be watched; nothing is changed.
        """
        change = Change({}, [])
        for source in plan.sources:
            known = self._watched.get(source.name)
            if known is not None and known.plan == source:
                change.sources[source.name] = known
                continue
            fresh = self._built(source)
            change.sources[source.name] = fresh
            change.fresh.append(fresh)
        try:
            for each in change.fresh:
                await each.source.start()
        except BaseException:
            await self.abandon(change)
            raise
        return change

    async def abandon(self, change: Change) -> None:
        """Forget a change that is not made."""
        for each in change.fresh:
            each.gate.shut()
        await asyncio.gather(*(each.source.stop() for each in change.fresh))

    def commit(self, change: Change, known: Callable[[dict[str, SourceSettings]], None]) -> None:
        """Make the change, all at once; `known` tells others of the settings before the new sources speak."""
        for name, each in self._watched.items():
            if change.sources.get(name) is not each:
                each.gate.shut()
                self._old.append(each)
        self._watched = change.sources
        known(self.settings)
        for each in change.fresh:
            each.gate.open()

    async def stop_old(self) -> None:
        """Stop the sources that a change has put out of use."""
        while self._old:
            await self._old[-1].source.stop()
            self._old.pop()

    def _built(self, plan: SourcePlan) -> Watched:
        gate = Gate(self._sighted)
        source = build_source(
            plan,
            self._registry,
            sighted=gate,
            # What waits behind the gate waits for intake as well: a scan of a full folder is to pause.
            backlog=lambda: self._backlog(plan.name) + gate.kept,
            emit=self._emit,
            clock=self._clock,
        )
        return Watched(plan, source, gate)
