"""What a running server does and says for the commands that ask it over its control socket."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

from filemill.durable import Durable
from filemill.intake.uploaded import Upload
from filemill.model.deeds import Deed
from filemill.model.errors import NoRoom, QueueFull
from filemill.model.plan import Plan
from filemill.ports.clock import Clock
from filemill.service import acts, replies
from filemill.service.acting import Actions, Handler, LiveParts
from filemill.service.calming import Calm
from filemill.service.control import ControlSocket
from filemill.service.keeping_keys import Keys
from filemill.service.keeping_sessions import Sessions
from filemill.service.measured import measured
from filemill.service.mending import Mender
from filemill.service.parts import Parts
from filemill.service.rotating import Rotation
from filemill.telemetry.metering import Meter


class Answering:
    """The control socket with all that stands behind it. `reload` and `drain` are None in a one-shot run."""

    def __init__(
        self,
        parts: Parts,
        plan: Plan,
        *,
        clock: Clock,
        durable: Durable,
        calm: Calm,
        meter: Meter,
        reload: Callable[[], Awaitable[replies.Reloaded]] | None,
        drain: Callable[[], None] | None,
    ) -> None:
        self._parts = parts
        self._calm = calm
        self._rotation = Rotation(parts.ledger, parts.content, clock)
        self._meter = meter
        self._durable = durable
        self._web = plan.web.url
        live = LiveParts(
            parts.dispatcher, parts.publisher, parts.desk, parts.revisions, parts.placed
        )
        live.reload, live.drain = reload, drain
        mender = Mender(parts.ledger, parts.content, plan.data, parts.adoption)
        more: dict[Any, Handler] = {
            acts.MendFile: mender.mend,
            acts.TakePaths: self._take_paths,
            **Keys(parts.ledger, plan.data, durable).handlers,
            **Sessions(parts.ledger, plan.web).handlers,
            acts.TakeUpload: self._take_upload,
            acts.OpenUpload: parts.part_uploads.open,
            acts.NoteOffset: parts.part_uploads.note,
            acts.EndUpload: parts.part_uploads.end,
            **self._rotation.handlers,
        }
        self._actions = Actions(
            parts.ledger,
            clock,
            live,
            more,
            clear=parts.retention.clear,
            two_people=lambda: parts.revisions.current.plan.two_people,
        )
        self._socket = ControlSocket(plan.data, self.perform, self.seen)

    async def start(self) -> None:
        """Answer from now on."""
        await self._socket.start()

    async def stop(self) -> None:
        """Answer nobody any more. Idempotent."""
        await self._socket.stop()

    async def perform(
        self, act: acts.Request, principal: str, address: str = ""
    ) -> replies.Done | replies.Collected | replies.Reloaded | replies.Made:
        """Have it done for that principal, who asks from `address`, if it is not on this machine.

        Raises:
            FilemillError: nothing was done.
        """
        if isinstance(act, acts.ApplyRetention):
            return await self._parts.tidier.apply(act, principal)
        return await self._actions.perform(act, principal, address)

    async def _take_paths(self, act: acts.TakePaths, deed: Deed) -> list[bool]:
        """Copy old files in; False for each that is known already."""
        del deed
        taken = await self._parts.intake.take(act.paths, backfill=True)
        return [file is not None for file in taken]

    async def _take_upload(self, act: acts.TakeUpload, deed: Deed) -> list[bool]:
        """Take in what was sent; False if its id is known already."""
        parts = self._parts
        if parts.gate.room(0) <= 0:
            if parts.gate.waits == "disk":
                raise NoRoom(parts.gate.why, help=parts.gate.help)
            raise QueueFull(parts.gate.why or "too many files wait to be looked at")
        upload = Upload(
            act.file, act.source, act.relative, act.size, act.stored, act.tags, deed.principal
        )
        return [await parts.uploads.take(upload)]

    def measured(self) -> replies.Measured:
        """What was counted, and how all parts stand."""
        return measured(self._parts, self._meter, self._durable, self.seen())

    def seen(self) -> replies.Seen:
        """What goes on."""
        parts = self._parts
        troubles = tuple(
            replies.TroubleNow(each.what, each.at_ns, each.message, each.help)
            for each in self._calm.troubles
        )
        troubles += tuple(
            replies.TroubleNow(
                f"sink {each.sink}",
                each.since_ns,
                each.message,
                each.help,
                parts.breakers.pipelines_of(each.sink),
                each.next_ns,
            )
            for each in parts.breakers.broken
        )
        if parts.gate.waits:
            troubles += (
                replies.TroubleNow("intake", parts.gate.since_ns, parts.gate.why, parts.gate.help),
            )
        workers = tuple(
            replies.WorkerNow(slot.number, slot.pid, served.number, busy, slot.jobs, runs)
            for served in parts.revisions.alive
            for slot, busy, runs in served.pool.at_work()
        )
        running = parts.dispatcher.running
        rotation = self._rotation.now
        return replies.Seen(os.getpid(), running, troubles, workers, rotation, self._web)
