"""The server: one process tree that watches, queues, runs and publishes, in the order in which things must start.

Start: data directory and lock -> ledger -> revision -> sinks proven -> first worker, while what a former server
left is taken over -> sources -> ready. Stop is the reverse: sources, then intake, then runs with workers
(drained), then the publisher, then the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from filemill.contents.local import LocalContent
from filemill.durable import Durable, Failpoints
from filemill.engine.adopting import Adoption, sweep_children
from filemill.engine.announcing import announced_before
from filemill.engine.breaking import Breakers
from filemill.engine.dispatching import Dispatcher
from filemill.engine.garbage import collect_seldom
from filemill.engine.inspecting import InspectionDesk
from filemill.engine.keeping_inputs import Inputs
from filemill.engine.policy import MAX_INTERRUPTIONS
from filemill.engine.publishing import Publisher
from filemill.engine.states import sweep as sweep_states
from filemill.engine.supervisor import make_folder
from filemill.engine.trouble import Trouble
from filemill.engine.work import sweep_inputs
from filemill.intake.gate import Gate, QueueLimits
from filemill.intake.intake import Intake
from filemill.intake.retention import Retention
from filemill.ledgers.sqlite import InstanceLock, SqliteLedger
from filemill.ledgers.sqlite.reading import SqliteReading
from filemill.model.deeds import Deed
from filemill.model.errors import SystemFault
from filemill.model.events import (
    Emit,
    Event,
    FileIngested,
    ServerDraining,
    ServerStarted,
    ServerStopped,
)
from filemill.model.files import FileRef
from filemill.model.plan import Plan
from filemill.ports.clock import RandomIds, SystemClock
from filemill.ports.ledger import Recovered
from filemill.ports.registry import Registry
from filemill.ports.source import SourceSettings
from filemill.service import acts
from filemill.service.acting import Actions, Handler, LiveParts, as_staged
from filemill.service.calming import Calm
from filemill.service.control import ControlSocket
from filemill.service.disposing import Disposer
from filemill.service.failed_folder import FailedFolder
from filemill.service.mending import Mender
from filemill.service.serving import Workshop, with_modules
from filemill.service.sourcing import Sources
from filemill.service.tidying import Tidier

_LOOK_EVERY = 0.25


def _nothing(event: Event) -> None:
    """Take no hint."""
    del event


class Revision(msgspec.Struct, frozen=True):
    """The configuration as it is stored in the ledger."""

    digest: str
    text: str


class Server:
    """Everything in one process tree. `start` once, then `drain` or not, then `stop`."""

    def __init__(self, plan: Plan, revision: Revision, registry: Registry, emit: Emit) -> None:
        self.plan = plan
        self.revision = revision
        self._registry = registry
        self._calm = Calm(emit)
        self._hint: Emit = _nothing
        self.emit: Emit = self._told
        self.clock = SystemClock()
        self._ids = RandomIds()
        self._durable = Durable(
            Failpoints.from_environment("server"), sync=plan.durability == "power"
        )
        self._closing = contextlib.AsyncExitStack()
        self._watching = contextlib.AsyncExitStack()
        self._fatal: asyncio.Future[None] | None = None
        self.ingested: dict[str, None] = {}
        """Files acknowledged since the start, the rejected too; only without watching (a one-shot run counts them)."""
        self.children: dict[str, str] = {}
        """Of these, the ones that were emitted, each with its parent, which stands before it."""
        self._keep_ingested = False
        self._reload: Callable[[], Awaitable[acts.Reloaded]] | None = None
        self._drain: Callable[[], None] | None = None
        self._failed: FailedFolder | None = None

    async def start(self, *, watch: bool = True) -> None:
        """Start everything; returns when all of it answers.

        Raises:
            Busy: another process holds the data directory.
            UsageError: a source or sink cannot be used, with help.
            SystemFault: no worker can be started, or the data directory's disk fails.
        """
        try:
            await self._start(watch=watch)
        except OSError as error:
            raise SystemFault(
                f"the server cannot start: {error}",
                help=f"the data directory {self.plan.data} must be a writable local folder on a healthy disk; "
                "then start again",
            ) from error

    async def _start(self, *, watch: bool) -> None:
        began = self.clock.monotonic()
        collect_seldom()
        self._keep_ingested = not watch
        self._fatal = asyncio.get_running_loop().create_future()
        data = self.plan.data
        self._durable.make_directory(os.fsencode(data), 0o700)
        lock = InstanceLock(data)
        lock.acquire()
        self._closing.callback(lock.release)
        self.ledger = await SqliteLedger.open(
            os.path.join(data, "ledger.db"), durable=self._durable, clock=self.clock
        )
        self._closing.push_async_callback(self.ledger.close)
        number = await self.ledger.add_revision(
            self.revision.digest, self.revision.text, self.clock.wall_ns()
        )
        self.plan = with_modules(self.plan, number, self.revision.text)
        self._build()
        left = await self._start_pool()
        recovered = await self._recover(left)
        await self.keep_failed()
        await self._start_roles()
        await self._start_control()
        if watch:
            self._watching.push_async_callback(self.sources.stop)
            await self.sources.start()
            self.tidier.start()
        await self.ledger.activate(number, "start", self.clock.wall_ns())
        self.emit(
            ServerStarted(
                at_ns=self.clock.wall_ns(),
                took_ns=int((self.clock.monotonic() - began) * 1e9),
                recovered=recovered,
                revision=number,
                watching=self.sources.watching() if watch else (),
            )
        )

    def listen(
        self, *, reload: Callable[[], Awaitable[acts.Reloaded]], drain: Callable[[], None]
    ) -> None:
        """Have commands reload and drain it, too. Before `start`."""
        self._reload, self._drain = reload, drain

    async def scan_once(self) -> None:
        """Sight everything that waits in the sources now, and return when all of it is taken."""
        await self.sources.scan_once()
        await self.intake.idle()

    async def rest(self) -> None:
        """Return when every file taken is at an end; retries are waited for."""
        while True:
            await self.intake.idle()
            await self.desk.idle()
            await self.publisher.idle()
            if not self.dispatcher.running and await self.ledger.live() == 0:
                break
            await asyncio.sleep(0.02)
        await self.disposer.idle()

    async def failed(self) -> None:
        """Raise the error that ended a part of the server, when one does; never returns otherwise."""
        assert self._fatal is not None, "start comes first"  # noqa: S101
        while not self._fatal.done():
            for crashed in (self.dispatcher.crashed, self.desk.crashed, self.publisher.crashed()):
                if crashed is not None:
                    raise crashed
            await asyncio.wait({self._fatal}, timeout=_LOOK_EVERY)
        self._fatal.result()

    async def drain(self, grace: float) -> bool:
        """Take nothing new, finish what workers hold, publish what is staged; False when `grace` (s) ran out."""
        running = self.dispatcher.running
        await self._watching.aclose()
        await self.intake.stop()
        self.emit(
            ServerDraining(
                at_ns=self.clock.wall_ns(),
                running=running,
                queued=max(0, await self.ledger.live() - running),
            )
        )
        try:
            async with asyncio.timeout(grace):
                await self.dispatcher.drain()
                await self.publisher.idle()
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """Stop every part that runs, in order. Idempotent."""
        kept = -1
        with contextlib.suppress(Exception):
            # Only for the last line a person reads; a ledger that failed has said so already.
            kept = await self.ledger.live()
        await self._watching.aclose()
        await self._closing.aclose()
        if kept >= 0:
            self.emit(ServerStopped(at_ns=self.clock.wall_ns(), kept=kept))

    async def keep_failed(self) -> None:
        """Keep the folder of what failed that the configuration in force names, if it names one, and no other."""
        plan = self.plan
        if self._failed is not None and self._failed.folder == plan.failed_folder:
            return
        await self._forget_failed()
        if not plan.failed_folder:
            return
        self._failed = FailedFolder(
            plan.failed_folder,
            plan.data,
            ledger=self.ledger,
            reading=SqliteReading.open(os.path.join(plan.data, "ledger.db")),
            durable=self._durable,
            clock=self.clock,
            emit=self.emit,
        )
        self._hint = self._failed.hint
        await self._failed.start()

    async def _forget_failed(self) -> None:
        failed, self._failed, self._hint = self._failed, None, _nothing
        if failed is not None:
            await failed.stop()

    def _told(self, event: Event) -> None:
        """Every event goes out; the folder of what failed hears of it too."""
        self._calm(event)
        self._hint(event)

    def _build(self) -> None:
        plan, clock, emit = self.plan, self.clock, self.emit
        self.trouble = Trouble(clock, emit)
        self.content = LocalContent(os.path.join(os.fsencode(plan.data), b"content"), self._durable)
        self.content.open()
        self.disposer = Disposer(
            ledger=self.ledger,
            content=self.content,
            clock=clock,
            emit=emit,
            trouble=self.trouble,
            on_fatal=self._on_fatal,
        )
        self.workshop = Workshop(
            plan=plan,
            ledger=self.ledger,
            registry=self._registry,
            durable=self._durable,
            trouble=self.trouble,
            clock=clock,
            emit=emit,
            stopping=lambda: self.dispatcher.draining,
        )
        self.revisions = self.workshop.revisions
        self.revisions.switch(self.workshop.serve(plan, self.workshop.sinks(plan)))
        self.breakers = Breakers(
            self.revisions.current.sinks, plan.pipelines, clock, emit, self._sink_tries
        )
        self._closing.push_async_callback(self.breakers.stop)
        self._closing.push_async_callback(self._forget_failed)
        self.adoption = Adoption(
            ledger=self.ledger,
            content=self.content,
            durable=self._durable,
            clock=clock,
            emit=self._say,
            trouble=self.trouble,
            ingested=self._on_ingested,
        )
        self._inputs = Inputs(self.revisions.pool_of, self.content)
        self.publisher = Publisher(
            ledger=self.ledger,
            sinks_of=self.revisions.sinks_of,
            clock=clock,
            emit=emit,
            trouble=self.trouble,
            adoption=self.adoption,
            breakers=self.breakers,
            finished=self._finished,
            forget=self._inputs.forget,
        )
        self.dispatcher = Dispatcher(
            revisions=self.revisions,
            ledger=self.ledger,
            content=self.content,
            publisher=self.publisher,
            clock=clock,
            emit=emit,
            trouble=self.trouble,
            breakers=self.breakers,
            chance=random.Random(),  # noqa: S311 -- jitter, not secrets
            inputs=self._inputs,
        )
        self.sources = Sources(
            registry=self._registry,
            clock=clock,
            emit=emit,
            sighted=lambda sightings: self.intake.sighted(sightings),  # noqa: PLW0108 -- made below
            backlog=lambda source: self.intake.backlog(source),  # noqa: PLW0108
        )
        self.sources.take(plan)
        settings = self.sources.settings
        self.desk = InspectionDesk(
            revisions=self.revisions,
            ledger=self.ledger,
            clock=clock,
            ids=self._ids,
            emit=emit,
            trouble=self.trouble,
            duplicates=duplicates_of(settings),
            priorities=priorities_of(settings),
            routed=self._routed,
        )
        self.gate = Gate(
            data=os.fsencode(plan.data),
            limits=QueueLimits(plan.queue_files, plan.queue_bytes, plan.reserve),
            count=self._count_queue,
            pending=lambda: self.desk.pending,
            opened=self._room_again,
            clock=clock,
            emit=emit,
        )
        self.intake = Intake(
            ledger=self.ledger,
            content=self.content,
            durable=self._durable,
            clock=clock,
            ids=self._ids,
            emit=self._say,
            sources=settings,
            on_ingested=self._on_ingested,
            room=self.gate.room,
            on_fatal=self._on_fatal,
        )
        self.tidier = Tidier(
            plan=lambda: self.plan,
            ledger=self.ledger,
            retention=Retention(
                ledger=self.ledger, content=self.content, durable=self._durable, clock=clock
            ),
            clock=clock,
            emit=emit,
            trouble=self.trouble,
            busy=lambda: bool(self.dispatcher.running or self.desk.pending),
            on_fatal=self._on_fatal,
        )

    async def _start_pool(self) -> Recovered:
        """First worker and the ledger's recovery side by side: a worker takes half a second to warm."""
        self._closing.push_async_callback(self.revisions.stop)
        pages = self.workshop.pages
        begun = frozenset(announced_before(pages))
        await asyncio.to_thread(make_folder, pages)
        worker = asyncio.create_task(self.revisions.current.pool.start(), name="first worker")
        try:
            left = await self.ledger.recover(self.clock.wall_ns(), MAX_INTERRUPTIONS, begun)
        except BaseException:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
            raise
        await worker
        return left

    async def _start_roles(self) -> None:
        await self.publisher.start()
        self._closing.push_async_callback(self.disposer.stop)
        self._closing.push_async_callback(self._inputs.idle)
        self._closing.push_async_callback(self.publisher.stop)
        self._closing.push_async_callback(self.desk.stop)
        await self.dispatcher.start()
        self._closing.push_async_callback(self.dispatcher.stop)
        self._closing.push_async_callback(self.tidier.stop)
        await self.gate.start()
        self._closing.push_async_callback(self.gate.stop)
        await self.intake.start()
        self._closing.push_async_callback(self.intake.stop)

    async def _take_paths(self, act: acts.TakePaths, deed: Deed) -> list[bool]:
        """Copy old files in; False for each that is known already."""
        del deed
        taken = await self.intake.take(act.paths, backfill=True)
        return [file is not None for file in taken]

    async def _start_control(self) -> None:
        live = LiveParts(self.dispatcher, self.publisher, self.desk, self.revisions, self._placed)
        live.reload, live.drain = self._reload, self._drain
        mender = Mender(self.ledger, self.content, self.plan.data, self.adoption)
        more: dict[Any, Handler] = {acts.MendFile: mender.mend, acts.TakePaths: self._take_paths}
        actions = Actions(self.ledger, self.clock, live, more)

        async def perform(
            act: acts.Request, principal: str
        ) -> acts.Done | acts.Collected | acts.Reloaded:
            if isinstance(act, acts.ApplyRetention):
                return await self.tidier.apply(act, principal)
            return await actions.perform(act, principal)

        control = ControlSocket(self.plan.data, perform, self._seen)
        await control.start()
        self._closing.push_async_callback(control.stop)

    def _seen(self) -> acts.Seen:
        troubles = tuple(
            acts.TroubleNow(each.what, each.at_ns, each.message, each.help)
            for each in self._calm.troubles
        )
        troubles += tuple(
            acts.TroubleNow(
                f"sink {each.sink}",
                each.since_ns,
                each.message,
                each.help,
                self.breakers.pipelines_of(each.sink),
                each.next_ns,
            )
            for each in self.breakers.broken
        )
        if self.gate.waits:
            troubles += (
                acts.TroubleNow("intake", self.gate.since_ns, self.gate.why, self.gate.help),
            )
        return acts.Seen(os.getpid(), self.dispatcher.running, troubles)

    async def _recover(self, left: Recovered) -> int:
        """Take over what a former server left: claims, files to route, runs to publish, contents to dispose of."""
        staged = as_staged(left.publishing_runs, left.publishing)
        unclaimed = {claim.path for claim in left.claiming if claim.parent is not None}
        await asyncio.to_thread(sweep_children, self.plan.data, unclaimed, self._durable)
        known = frozenset((*(p.staged for p in left.publishing), *left.kept_staged))
        before = {order.revision for order in left.publishing_runs} | set(left.revisions)
        for number in before:
            await self.revisions.know_sinks(number)
        sinks = [self.revisions.sinks_of(number) for number in before | {self.plan.revision}]
        for sink in {id(sink): sink for each in sinks for sink in each.values()}.values():
            await asyncio.to_thread(sink.sweep, known)
        await asyncio.to_thread(sweep_states, self.plan.data, known)
        await asyncio.to_thread(sweep_inputs, self.plan.data)
        self.publisher.put(staged)
        placed = [self._placed(file) for file in left.uninspected]
        refs = await self.intake.recover(msgspec.structs.replace(left, uninspected=tuple(placed)))
        self._on_ingested(refs)
        self.disposer.put(list(left.undisposed))
        return len(left.claiming) + len(left.uninspected) + len(staged) + left.interrupted

    def _placed(self, file: FileRef) -> FileRef:
        """A file from the ledger, whose path is still a content reference."""
        path = self.content.path(file.path.decode("ascii"))
        return msgspec.structs.replace(file, path=path)

    def _on_ingested(self, files: list[FileRef]) -> None:
        if self._keep_ingested:
            self.ingested |= dict.fromkeys(file.file for file in files)
        self.gate.took(len(files), sum(file.size for file in files))
        self.desk.put(files)

    def _say(self, event: Event) -> None:
        """Intake's events; a rejected file is acknowledged as well, and only they tell of it."""
        if self._keep_ingested and isinstance(event, FileIngested):
            self.ingested[event.file] = None
            if event.parent:
                self.children[event.file] = event.parent
        self.emit(event)

    def _count_queue(self, size: bool) -> tuple[int, int]:
        reading = SqliteReading.open(os.path.join(self.plan.data, "ledger.db"))
        try:
            return reading.queue(size=size)
        finally:
            reading.close()

    def _room_again(self) -> None:
        self.intake.poke()

    def _routed(self) -> None:
        self.dispatcher.wake()
        self.intake.poke()

    def _sink_tries(self, sink: str) -> None:
        self.publisher.retry(sink)
        self.dispatcher.wake()

    def _on_fatal(self, error: BaseException) -> None:
        if self._fatal is not None and not self._fatal.done():
            self._fatal.set_exception(error)

    def _finished(self, files: list[str]) -> None:
        self.dispatcher.wake()
        self.disposer.put(files)


def duplicates_of(settings: Mapping[str, SourceSettings]) -> dict[str, str]:
    """What the inspection desk does with content that came before, by source."""
    return {name: each.duplicates for name, each in settings.items()}


def priorities_of(settings: Mapping[str, SourceSettings]) -> dict[str, int]:
    """The priority of each source's files."""
    return {name: each.priority for name, each in settings.items()}
