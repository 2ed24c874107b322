"""The parts of a server, put together and not yet started: each is made of the ones before it.

What one part must hear of another stands here, too: who wakes whom when files are acknowledged, routed, finished.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import msgspec

from filemill.contents.local import LocalContent
from filemill.durable import Durable
from filemill.encryption.age import Sealer
from filemill.engine.adopting import Adoption
from filemill.engine.breaking import Breakers
from filemill.engine.dispatching import Dispatcher
from filemill.engine.inspecting import InspectionDesk
from filemill.engine.keeping_inputs import Inputs
from filemill.engine.publishing import Publisher
from filemill.engine.scanning import ScanDesk
from filemill.engine.trouble import Trouble
from filemill.intake.gate import Gate, QueueLimits
from filemill.intake.intake import Intake
from filemill.intake.retention import Retention
from filemill.intake.uploaded import Uploads
from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.ledgers.sqlite.reading import SqliteReading
from filemill.model.events import Emit, Event
from filemill.model.files import FileRef
from filemill.model.plan import Plan
from filemill.ports.registry import Registry
from filemill.ports.source import SourceSettings
from filemill.service.arrivals import Arrivals
from filemill.service.disposing import Disposer
from filemill.service.machine import Machine
from filemill.service.part_uploads import PartUploads
from filemill.service.serving import Workshop
from filemill.service.sourcing import Sources
from filemill.service.syncing import SyncMeasuring, places_of
from filemill.service.tidying import Tidier


class Parts:
    """Everything that works in a server. `in_force` says which plan is; `on_fatal` is told what ends the server."""

    def __init__(
        self,
        plan: Plan,
        *,
        ledger: SqliteLedger,
        registry: Registry,
        durable: Durable,
        machine: Machine,
        emit: Emit,
        arrivals: Arrivals,
        in_force: Callable[[], Plan],
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self.ledger = ledger
        self._data = plan.data
        self._emit = emit
        self._arrivals = arrivals
        clock, ids = machine.clock, machine.ids
        self.trouble = Trouble(clock, emit)
        sealer = Sealer(plan.encryption.recipients) if plan.encryption is not None else None
        self.content = LocalContent(
            os.path.join(os.fsencode(plan.data), b"content"), durable, sealer
        )
        self.content.open()
        self.disposer = Disposer(
            ledger=ledger,
            content=self.content,
            clock=clock,
            emit=emit,
            trouble=self.trouble,
            on_fatal=on_fatal,
        )
        self.workshop = Workshop(
            plan=plan,
            ledger=ledger,
            registry=registry,
            durable=durable,
            trouble=self.trouble,
            machine=machine,
            emit=emit,
            stopping=lambda: self.dispatcher.draining,
        )
        self.revisions = self.workshop.revisions
        self.revisions.switch(self.workshop.serve(plan, self.workshop.sinks(plan)))
        self.breakers = Breakers(
            self.revisions.current.sinks, plan.pipelines, clock, emit, self._sink_tries
        )
        self.adoption = Adoption(
            ledger=ledger,
            content=self.content,
            durable=durable,
            clock=clock,
            emit=self._say,
            trouble=self.trouble,
            ingested=self.acknowledged,
        )
        self.inputs = Inputs(self.revisions.pool_of, self.content)
        self.publisher = Publisher(
            ledger=ledger,
            sinks_of=self.revisions.sinks_of,
            clock=clock,
            emit=emit,
            trouble=self.trouble,
            adoption=self.adoption,
            breakers=self.breakers,
            finished=self._finished,
            forget=self.inputs.forget,
        )
        self.dispatcher = Dispatcher(
            revisions=self.revisions,
            ledger=ledger,
            content=self.content,
            publisher=self.publisher,
            clock=clock,
            emit=emit,
            trouble=self.trouble,
            breakers=self.breakers,
            chance=machine.chance,
            inputs=self.inputs,
        )
        self.sources = Sources(
            registry=registry,
            clock=clock,
            emit=emit,
            sighted=lambda sightings: self.intake.sighted(sightings),  # noqa: PLW0108 -- made below
            backlog=lambda source: self.intake.backlog(source),  # noqa: PLW0108
        )
        self.sources.take(plan)
        settings = self.sources.settings
        self.desk = InspectionDesk(
            revisions=self.revisions,
            ledger=ledger,
            clock=clock,
            ids=ids,
            emit=emit,
            trouble=self.trouble,
            duplicates=duplicates_of(settings),
            priorities=priorities_of(settings),
            routing=self.dispatcher.wake,
            routed=self._room_again,
            scan=lambda files: self.scans.put(files),  # noqa: PLW0108 -- made below
        )
        self.scans = ScanDesk(
            plan=lambda: self.revisions.current.plan,
            pool=self.workshop.scan_pool,
            trouble=self.trouble,
            passed=self.desk.put,
            judged=self.desk.refuse,
            priorities=lambda: self.desk.priorities,
        )
        self.gate = Gate(
            data=os.fsencode(plan.data),
            limits=QueueLimits(plan.queue_files, plan.queue_bytes, plan.reserve),
            count=self._count_queue,
            pending=lambda: self.desk.pending + self.scans.pending,
            opened=self._room_again,
            clock=clock,
            emit=emit,
        )
        self.intake = Intake(
            ledger=ledger,
            content=self.content,
            durable=durable,
            clock=clock,
            ids=ids,
            emit=self._say,
            sources=settings,
            on_ingested=self.acknowledged,
            on_moved=self.desk.look_ahead,
            on_acknowledging=self.desk.go_ahead,
            room=self.gate.room,
            on_fatal=on_fatal,
        )
        self.uploads = Uploads(
            os.fsencode(plan.data),
            claimer=self.intake.claimer,
            ledger=ledger,
            content=self.content,
            durable=durable,
            clock=clock,
            emit=self._say,
            sources=lambda: self.sources.settings,
            ingested=self.acknowledged,
            unfinished=self.intake.unfinished.put,
        )
        self.part_uploads = PartUploads(
            ledger, ledger, self.uploads.folder, durable, clock, key=self.content.key
        )
        self.retention = Retention(
            ledger=ledger, content=self.content, durable=durable, clock=clock
        )
        self.tidier = Tidier(
            plan=in_force,
            ledger=ledger,
            retention=self.retention,
            expire=self.part_uploads.expire,
            clock=clock,
            emit=emit,
            trouble=self.trouble,
            busy=self._is_busy,
            on_fatal=on_fatal,
        )
        self.sync_measuring = SyncMeasuring(
            durable,
            places=lambda: places_of(
                plan.data, self.revisions.current.sinks, self.sources.settings
            ),
            clock=clock,
            busy=self._is_busy,
        )

    def placed(self, file: FileRef) -> FileRef:
        """A file from the ledger, whose path is still a content reference, with its real path."""
        path = self.content.path(file.path.decode("ascii"))
        return msgspec.structs.replace(file, path=path)

    def acknowledged(self, files: list[FileRef]) -> None:
        """These files are in the ledger: they count against the limits of the queue, and wait to be inspected."""
        self._arrivals.note(files)
        self.gate.took(len(files), sum(file.size for file in files))
        self.desk.put(files)

    async def inspected(self) -> None:
        """Return when every acknowledged file is scanned, inspected and routed."""
        while True:
            await self.desk.idle()
            await self.scans.idle()
            if not self.desk.pending:
                return

    def _is_busy(self) -> bool:
        return bool(self.dispatcher.running or self.desk.pending or self.scans.pending)

    def _say(self, event: Event) -> None:
        """Intake's events; a rejected file is acknowledged as well, and only they tell of it."""
        self._arrivals.hear(event)
        self._emit(event)

    def _count_queue(self, size: bool) -> tuple[int, int]:
        reading = SqliteReading.open(os.path.join(self._data, "ledger.db"))
        try:
            return reading.queue(size=size)
        finally:
            reading.close()

    def _room_again(self) -> None:
        self.intake.poke()

    def _sink_tries(self, sink: str) -> None:
        self.publisher.retry(sink)
        self.dispatcher.wake()

    def _finished(self, files: list[str]) -> None:
        self.dispatcher.go_on()
        self.disposer.put(files)


def duplicates_of(settings: Mapping[str, SourceSettings]) -> dict[str, str]:
    """What the inspection desk does with content that came before, by source."""
    return {name: each.duplicates for name, each in settings.items()}


def priorities_of(settings: Mapping[str, SourceSettings]) -> dict[str, int]:
    """The priority of each source's files."""
    return {name: each.priority for name, each in settings.items()}
