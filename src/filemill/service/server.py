"""The server: one process tree that watches, queues, runs and publishes, in the order in which things must start.

Start: data directory and lock -> ledger -> revision -> sinks proven -> first worker, while what a former server
left is taken over -> sources -> ready. Stop is the reverse: sources, then intake, then runs with workers
(drained), then the publisher, then the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable

import msgspec

from filemill.encryption.hiding import hide_memory
from filemill.encryption.texts import in_general_words
from filemill.engine.announcing import announced_before
from filemill.engine.garbage import collect_seldom
from filemill.engine.policy import MAX_INTERRUPTIONS
from filemill.engine.supervisor import make_folder
from filemill.ledgers.sqlite.lock import InstanceLock
from filemill.ledgers.sqlite.reserve import Reserve, reserve_size
from filemill.model.errors import SystemFault
from filemill.model.events import Emit, Event, ServerDraining, ServerStarted, ServerStopped
from filemill.model.plan import Plan
from filemill.ports.ledger import Recovered
from filemill.ports.registry import Registry
from filemill.service import replies
from filemill.service.answering import Answering
from filemill.service.arrivals import Arrivals
from filemill.service.calming import Calm
from filemill.service.encrypting import must_be_plain, note, prepare
from filemill.service.facing import Door, Face, opening_of
from filemill.service.failed_folder import FailedFolders
from filemill.service.handing_out import HandingOut
from filemill.service.machine import Machine
from filemill.service.parts import Parts
from filemill.service.serving import with_modules
from filemill.service.taking_over import take_over
from filemill.telemetry.metering import Meter

_LOOK_EVERY = 0.25


class Revision(msgspec.Struct, frozen=True):
    """The configuration as it is stored in the ledger."""

    digest: str
    text: str


class Server:
    """Everything in one process tree. `start` once, then `drain` or not, then `stop`."""

    def __init__(
        self,
        plan: Plan,
        revision: Revision,
        registry: Registry,
        emit: Emit,
        machine: Machine | None = None,
    ) -> None:
        self.plan = plan
        self.revision = revision
        self._registry = registry
        self._calm = Calm(emit)
        self._meter = Meter()
        self.emit: Emit = self._told
        self._machine = machine or Machine()
        self.clock = self._machine.clock
        self._durable = self._machine.durable(plan.data, sync=plan.durability == "power")
        self._closing = contextlib.AsyncExitStack()
        self._watching = contextlib.AsyncExitStack()
        self._fatal: asyncio.Future[None] | None = None
        self.arrivals = Arrivals()
        self._reload: Callable[[], Awaitable[replies.Reloaded]] | None = None
        self._drain: Callable[[], None] | None = None
        self._failed: FailedFolders | None = None
        self.face: Face | None = None

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
        self.arrivals.counted = not watch
        self._fatal = asyncio.get_running_loop().create_future()
        data = self.plan.data
        self._durable.make_directory(os.fsencode(data), 0o700)
        lock = InstanceLock(data)
        lock.acquire()
        self._closing.callback(lock.release)
        door = self._open_door() if watch else None
        self.ledger = await self._machine.ledger(
            os.path.join(data, "ledger.db"),
            self._durable,
            Reserve(data, reserve_size(data, self.plan.reserve)),
        )
        self._closing.push_async_callback(self.ledger.close)
        if self.plan.encryption is None:
            must_be_plain(data)
        else:
            hide_memory()  # the identity is on its way to the workers
            prepare(self.plan.encryption)
            await asyncio.to_thread(note, data, self.plan.encryption, self._durable)
        number = await self.ledger.add_revision(
            self.revision.digest, self.revision.text, self.clock.wall_ns()
        )
        self.plan = with_modules(self.plan, number, self.revision.text)
        parts = self.parts = self._put_together()
        self._failed = FailedFolders(self.ledger, self._durable, self.clock, self.emit)
        self._closing.push_async_callback(self._failed.stop)
        left = await self._start_pool()
        recovered = await take_over(parts, self.plan, left, self._durable)
        await self.keep_failed()
        await self._start_roles()
        answering = await self._start_answering()
        if watch:
            self._watching.push_async_callback(parts.sources.stop)
            await parts.sources.start()
            parts.tidier.start()
            parts.sync_measuring.start()
        await self.ledger.activate(number, "start", self.clock.wall_ns())
        self.emit(
            ServerStarted(
                at_ns=self.clock.wall_ns(),
                took_ns=int((self.clock.monotonic() - began) * 1e9),
                recovered=recovered,
                revision=number,
                watching=parts.sources.watching() if watch else (),
            )
        )
        if door is not None:
            self._show_face(door, answering)

    def listen(
        self, *, reload: Callable[[], Awaitable[replies.Reloaded]], drain: Callable[[], None]
    ) -> None:
        """Have commands reload and drain it, too. Before `start`."""
        self._reload, self._drain = reload, drain

    async def scan_once(self) -> None:
        """Sight everything that waits in the sources now, and return when all of it is taken."""
        await self.parts.sources.scan_once()
        await self.parts.intake.idle()

    async def rest(self) -> None:
        """Return when every file taken is at an end; retries are waited for."""
        parts = self.parts
        while True:
            await parts.intake.idle()
            await parts.inspected()
            await parts.publisher.idle()
            if not parts.dispatcher.running and await self.ledger.live() == 0:
                break
            await asyncio.sleep(0.02)
        await parts.disposer.idle()

    async def failed(self) -> None:
        """Raise the error that ended a part of the server, when one does; never returns otherwise."""
        assert self._fatal is not None, "start comes first"  # noqa: S101
        parts = self.parts
        while not self._fatal.done():
            for crashed in (
                parts.dispatcher.crashed,
                parts.desk.crashed,
                parts.scans.crashed,
                parts.publisher.crashed(),
                self.face.crashed if self.face else None,
            ):
                if crashed is not None:
                    raise crashed
            await asyncio.wait({self._fatal}, timeout=_LOOK_EVERY)
        self._fatal.result()

    async def drain(self, grace: float) -> bool:
        """Take nothing new, finish what workers hold, publish what is staged; False when `grace` (s) ran out."""
        running = self.parts.dispatcher.running
        await self._watching.aclose()
        await self.parts.intake.stop()
        self.emit(
            ServerDraining(
                at_ns=self.clock.wall_ns(),
                running=running,
                queued=max(0, await self.ledger.live() - running),
            )
        )
        try:
            async with asyncio.timeout(grace):
                await self.parts.dispatcher.drain()
                await self.parts.publisher.idle()
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """Stop every part that runs, in order. Idempotent.

        A part that fails to stop keeps no other from it; its error is raised when all are stopped.
        """
        kept = -1
        with contextlib.suppress(Exception):
            # Only for the last line a person reads; a ledger that failed has said so already.
            kept = await self.ledger.live()
        async with self._closing:
            await self._watching.aclose()
        if kept >= 0:
            self.emit(ServerStopped(at_ns=self.clock.wall_ns(), kept=kept))

    async def keep_failed(self) -> None:
        """Keep the folder of what failed that the configuration in force names, if it names one, and no other."""
        if self._failed is not None:
            await self._failed.keep(self.plan)

    def _told(self, event: Event) -> None:
        """Every event goes out and is counted; the folder of what failed hears of it too."""
        if self.plan.encryption is not None:
            event = in_general_words(event)
        self._calm(event)
        self._meter.hear(event)
        self.arrivals.hear_end(event)
        if self._failed is not None:
            self._failed.hint(event)

    def _put_together(self) -> Parts:
        parts = Parts(
            self.plan,
            ledger=self.ledger,
            registry=self._registry,
            durable=self._durable,
            machine=self._machine,
            emit=self.emit,
            arrivals=self.arrivals,
            in_force=lambda: self.plan,
            on_fatal=self._on_fatal,
        )
        self._closing.push_async_callback(parts.breakers.stop)
        return parts

    async def _start_pool(self) -> Recovered:
        """First worker and the ledger's recovery side by side: a worker takes half a second to warm."""
        parts = self.parts
        self._closing.push_async_callback(parts.revisions.stop)
        pages = parts.workshop.pages
        begun = frozenset(announced_before(pages))
        await asyncio.to_thread(make_folder, pages)
        worker = asyncio.create_task(parts.revisions.current.pool.start(), name="first worker")
        try:
            left = await self.ledger.recover(self.clock.wall_ns(), MAX_INTERRUPTIONS, begun)
        except BaseException:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
            raise
        await worker
        return left

    async def _start_roles(self) -> None:
        parts = self.parts
        await parts.publisher.start()
        self._closing.push_async_callback(parts.disposer.stop)
        self._closing.push_async_callback(parts.inputs.idle)
        self._closing.push_async_callback(parts.publisher.stop)
        self._closing.push_async_callback(parts.desk.stop)
        self._closing.push_async_callback(parts.scans.stop)
        await parts.dispatcher.start()
        self._closing.push_async_callback(parts.dispatcher.stop)
        self._closing.push_async_callback(parts.tidier.stop)
        self._closing.push_async_callback(parts.sync_measuring.stop)
        await parts.gate.start()
        self._closing.push_async_callback(parts.gate.stop)
        await parts.intake.start()
        self._closing.push_async_callback(parts.intake.stop)
        self._closing.push_async_callback(parts.uploads.stop)

    async def _start_answering(self) -> Answering:
        answering = Answering(
            self.parts,
            self.plan,
            clock=self.clock,
            durable=self._durable,
            calm=self._calm,
            meter=self._meter,
            reload=self._reload,
            drain=self._drain,
        )
        await answering.start()
        self._closing.push_async_callback(answering.stop)
        return answering

    def _open_door(self) -> Door | None:
        """The port, taken before anything else; None where HTTP is not served."""
        if not self.plan.web.port:
            return None
        door = Door(self.plan.web)
        self._closing.callback(door.close)
        return door

    def _show_face(self, door: Door, answering: Answering) -> None:
        """Serve HTTP, last of all: it takes a second of a processor to begin."""
        handing = HandingOut(
            self.plan.encryption,
            os.fsencode(self.plan.data),
            self.ledger,
            self.clock,
            secrets_of=lambda: self.plan.secrets,
        )
        self._watching.push_async_callback(handing.stop)
        self.face = Face(
            door,
            lambda: opening_of(self.plan, self.parts.sources.settings),
            answering.perform,
            answering.seen,
            answering.measured,
            hand_out=handing.hand_out,
            secrets=lambda: self.plan.secrets,
            clock=self.clock,
            emit=self.emit,
        )
        self._watching.push_async_callback(self.face.stop)
        self.face.start()

    def _on_fatal(self, error: BaseException) -> None:
        if self._fatal is not None and not self._fatal.done():
            self._fatal.set_exception(error)
