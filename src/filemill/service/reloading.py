"""Another configuration while files flow: judged first, made ready beside the old one, then in force all at once.

1. Load: read, judge and compile, in a thread; what only a worker may find out, a worker child is asked. What was read
   is compared with the disk afterwards, so that a folder in the middle of being written is never taken for a version.
2. Ready: sinks are proven, new and changed sources are watched behind closed gates, workers are warm. All of this may
   fail, and then it goes away again: the old configuration has not noticed.
3. Switch: without a pause in the event loop new runs, new sightings and new inspections go by the new one.
4. Afterwards: old sources are stopped, the old workers end with their last run, held files are looked at again.

A crash at any point is a restart with what lies on the disk: every run says in the ledger at which revision it runs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from filemill.config import ConfigProblems
from filemill.config.differences import changes
from filemill.config.stored import changes_on_disk, read_stored
from filemill.config.surroundings import beside
from filemill.intake.gate import QueueLimits
from filemill.model.errors import (
    FilemillError,
    LedgerSyncError,
    PermanentError,
    SystemFault,
    UsageError,
)
from filemill.model.events import ConfigRefused, ConfigReloaded, ConfigUnchanged, HeldRoutable
from filemill.model.plan import Plan
from filemill.ports.source import SourceSettings
from filemill.routing.rerouting import Noted, would_route
from filemill.service import replies
from filemill.service.parts import duplicates_of, priorities_of
from filemill.service.reading import open_queries
from filemill.service.server import Revision, Server
from filemill.service.serving import with_modules

SETTLE = 0.3
"""Seconds between two looks that must find the same before a change is taken for complete."""
TRIES = 20
"""Times the files may change while they are read."""
MOST_HELD = 5_000
"""Held files that are looked at after a reload."""
FIXED = ("data", "durability", "root", "web", "encryption")
"""What a running server cannot change."""


class Candidate(msgspec.Struct, frozen=True):
    """A configuration without errors, as it lies on the disk."""

    plan: Plan
    revision: Revision


Load = Callable[[], Candidate]
"""Reads it anew; in a thread. Raises FilemillError."""


class Reloader:
    """Reloads one server's configuration, one time after the other."""

    def __init__(self, server: Server, load: Load) -> None:
        self._server = server
        self._load = load
        self._one = asyncio.Lock()
        self._looking: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[replies.Reloaded]] = set()
        self._ended = False
        self.refused: dict[str, str] | None = None
        """Digests of the files that were refused last, by name; None: what runs was taken last."""

    async def reload(self, when: Callable[[], Awaitable[bool]] | None = None) -> replies.Reloaded:
        """Take what lies on the disk, or say why not. Never raises for a bad configuration.

        `when` is asked once no other reload is under way, which may have judged the same; false does nothing.

        Raises:
            UsageError: the server is ending.
        """
        if self._ended:
            raise _ending()
        task = asyncio.create_task(self._reload(when), name="reload")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Whoever asked may go away meanwhile; only `stop` ends it, and whoever still waits is told.
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise _ending() from None
            raise

    async def _reload(self, when: Callable[[], Awaitable[bool]] | None) -> replies.Reloaded:
        async with self._one:
            server, clock = self._server, self._server.clock
            began = clock.monotonic()
            former = server.plan.revision
            if when is not None and not await when():
                return replies.Reloaded(revision=former, former=former)
            refused, self.refused = await asyncio.to_thread(self._beside), None
            try:
                candidate = await self._settled()
                same = candidate.revision.digest == server.revision.digest
                if same and not has_new_secrets(server.plan, candidate.plan):
                    await server.ledger.refuse_revision("", clock.wall_ns())
                    server.emit(ConfigUnchanged(at_ns=clock.wall_ns(), revision=former))
                    return replies.Reloaded(revision=former, former=former)
                words = (
                    ("secrets changed",) if same else _changes(server.revision, candidate.revision)
                )
                await adopt(server, candidate)
            except LedgerSyncError:
                raise
            except (FilemillError, OSError) as error:
                self.refused = refused
                return await self._refuse(former, error)
            took = int((clock.monotonic() - began) * 1e9)
            number = server.plan.revision
            server.emit(
                ConfigReloaded(
                    at_ns=clock.wall_ns(),
                    revision=number,
                    former=former,
                    changes=words,
                    took_ns=took,
                )
            )
            self._look_at_held()
            return replies.Reloaded(revision=number, former=former, changes=words)

    async def stop(self) -> None:
        """End what is under way, and begin nothing more."""
        self._ended = True
        tasks = [*self._tasks, *([self._looking] if self._looking is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _beside(self) -> dict[str, str]:
        return beside(self._server.plan, read_stored(self._server.revision.text))

    async def _settled(self) -> Candidate:
        """A configuration that is on the disk after it was read just as it was read."""
        for _ in range(TRIES):
            candidate = await asyncio.to_thread(self._load)
            stored = read_stored(candidate.revision.text)
            if not await asyncio.to_thread(changes_on_disk, stored, candidate.plan.root):
                return candidate
            await asyncio.sleep(SETTLE)
        raise unsettled("reload")

    async def _refuse(self, kept: int, error: FilemillError | OSError) -> replies.Reloaded:
        server = self._server
        at = server.clock.wall_ns()
        if isinstance(error, ConfigProblems):
            why = error.render(ending=f"Nothing was changed: rev {kept} runs on.")
        elif isinstance(error, FilemillError):
            why = f"error: {error.message}" + (f"\nhelp: {error.help}" if error.help else "")
        else:
            why = f"error: {error}"
        with contextlib.suppress(
            SystemFault
        ):  # what it is about is said; that it cannot be kept is the ledger's trouble
            await server.ledger.refuse_revision(why, at)
        server.emit(ConfigRefused(at_ns=at, revision=kept, problems=why))
        return replies.Reloaded(revision=kept, former=kept, problems=why)

    def _look_at_held(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        self._looking = asyncio.create_task(self._say_routable(), name="held files")

    async def _say_routable(self) -> None:
        server = self._server
        plan = server.plan
        count, capped = await asyncio.to_thread(count_routable, plan)
        if count:
            server.emit(HeldRoutable(at_ns=server.clock.wall_ns(), count=count, capped=capped))


async def adopt(server: Server, candidate: Candidate) -> None:
    """Put a judged configuration in force.

    Raises:
        UsageError: something in it cannot be changed, or not be used; nothing was changed.
        SystemFault: the ledger or a worker; nothing was changed.
    """
    plan, revision = candidate.plan, candidate.revision
    for name in FIXED:
        if getattr(plan, name) != getattr(server.plan, name):
            raise UsageError(
                f"`{name}` cannot change while the server runs",
                help="stop it and start it again, or put the old value back",
            )
    parts = server.parts
    shop, revisions = parts.workshop, parts.revisions
    sinks = await asyncio.to_thread(shop.sinks, plan)
    change = await parts.sources.prepare(plan)
    served = None
    try:
        number = await server.ledger.add_revision(
            revision.digest, revision.text, server.clock.wall_ns()
        )
        plan = with_modules(plan, number, revision.text)
        served = shop.serve(plan, sinks)
        await served.pool.start(warm=revisions.current.pool.busy)
    except BaseException:
        await parts.sources.abandon(change)
        if served is not None:
            await served.pool.stop()
        raise

    def known(settings: Mapping[str, SourceSettings]) -> None:
        server.plan, server.revision = plan, revision
        shop.home = plan
        revisions.switch(served)
        parts.desk.duplicates = duplicates_of(settings)
        parts.desk.priorities = priorities_of(settings)
        parts.gate.update(QueueLimits(plan.queue_files, plan.queue_bytes, plan.reserve))
        parts.intake.update(settings)
        parts.breakers.update(sinks, plan.pipelines)
        if server.face is not None:
            server.face.changed()

    parts.sources.commit(change, known)
    parts.dispatcher.wake()
    await server.ledger.activate(number, "reload", server.clock.wall_ns())
    await parts.sources.stop_old()
    await server.keep_failed()


def has_new_secrets(old: Plan, new: Plan) -> bool:
    """Say whether plans of one and the same text differ, which only values of secrets make them do."""
    there = msgspec.structs.replace(new, revision=old.revision, modules=old.modules)
    return bool(new.secrets) and there != old


def unsettled(what: str) -> UsageError:
    """The configuration was changed whenever it was read; `what` is to be done later."""
    return UsageError(
        "the configuration changes all the time", help=f"{what} when whoever writes it is done"
    )


def count_routable(plan: Plan) -> tuple[int, bool]:
    """How many files that are held because no pipeline wanted them would be routed now; and whether there are more."""
    with open_queries(plan.data) as queries:
        rows = queries.unrouted(MOST_HELD)
    noted = [
        Noted(row.relative, row.source, row.size, row.media, row.header, row.hits) for row in rows
    ]
    return would_route(plan, noted), len(rows) >= MOST_HELD


def _changes(old: Revision, new: Revision) -> tuple[str, ...]:
    try:
        return tuple(changes(read_stored(old.text), read_stored(new.text)))
    except PermanentError:  # the old one was written by another version of filemill
        return ()


def _ending() -> UsageError:
    return UsageError("the server is ending", help="start it again: it reads what is there")
