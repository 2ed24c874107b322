"""The inspection desk: acknowledged files go to workers in groups, come back with facts, and are routed.

Whatever happens here the file is already safe. A worker that dies over a group costs nobody anything: each file of it
is looked at again alone, and one that brings workers down three times is held for a person.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import msgspec

from filemill.engine import frames
from filemill.engine.serving import Revisions, Served
from filemill.engine.supervisor import WorkerDied
from filemill.engine.trouble import Trouble
from filemill.model.errors import SystemFault
from filemill.model.events import Emit, Event, FileHeld, FileRejected, FileRouted
from filemill.model.files import Facts, FileRef
from filemill.model.plan import Plan
from filemill.model.turns import Turns
from filemill.ports.clock import Clock, Ids
from filemill.ports.ledger import Ledger, NewRun, Routing
from filemill.routing.matching import pipelines_for
from filemill.routing.ordering import order_key

GROUP = 256
AT_ONCE = 2
TRIES = 3
DEADLINE = 120.0


class Waiting(msgspec.Struct):
    """A file waiting for inspection; `tries` counts the workers it has cost."""

    file: FileRef
    tries: int = 0


class InspectionDesk:
    """Takes acknowledged files, gives each its tags and runs. `routed` is called after each group."""

    def __init__(
        self,
        *,
        revisions: Revisions,
        ledger: Ledger,
        clock: Clock,
        ids: Ids,
        emit: Emit,
        trouble: Trouble,
        duplicates: Mapping[str, str],
        priorities: Mapping[str, int],
        routed: Callable[[], None],
    ) -> None:
        self._revisions = revisions
        self._ledger = ledger
        self._clock = clock
        self._ids = ids
        self._emit = emit
        self._trouble = trouble
        self.duplicates = duplicates
        """`process`, `hold` or `skip` by source name; `process` where it says nothing."""
        self.priorities = priorities
        """By source name; 0 where it says nothing."""
        self._routed = routed
        self._waiting: Turns[Waiting] = Turns()
        self._alone: deque[Waiting] = deque()
        self._jobs: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._stopped = False
        self.crashed: BaseException | None = None

    @property
    def pending(self) -> int:
        """Files not yet routed."""
        return len(self._waiting) + len(self._alone) + sum(1 for _ in self._jobs) * GROUP

    def put(self, files: Sequence[FileRef]) -> None:
        """Take over acknowledged files."""
        self._put_back([Waiting(file) for file in files])
        self._start_jobs()

    def _put_back(self, group: Sequence[Waiting]) -> None:
        """Behind the others of its source, whose turn it will be whatever the others have."""
        for waiting in group:
            source = waiting.file.source
            self._waiting.put(source, (waiting,), self.priorities.get(source, 0))

    async def idle(self) -> None:
        """Return when every file taken over is routed."""
        while self._waiting or self._alone or self._jobs:
            self._changed.clear()
            await self._changed.wait()
            if self.crashed is not None:
                raise self.crashed

    async def stop(self) -> None:
        """Stop; files not yet routed are found in the ledger at the next start."""
        self._stopped = True
        for job in list(self._jobs):
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)

    def _start_jobs(self) -> None:
        while not self._stopped and len(self._jobs) < AT_ONCE and (self._waiting or self._alone):
            group = self._waiting.take(GROUP) if self._waiting else [self._alone.popleft()]
            job = asyncio.create_task(self._inspect(group), name="inspect")
            self._jobs.add(job)
            job.add_done_callback(self._job_done)

    def _job_done(self, job: asyncio.Task[None]) -> None:
        self._jobs.discard(job)
        if not job.cancelled() and job.exception() is not None:
            self.crashed = job.exception()
        self._start_jobs()
        self._changed.set()

    async def _inspect(self, group: list[Waiting]) -> None:
        served = self._revisions.hold(self._revisions.current)
        try:
            await self._inspect_with(served, group)
        finally:
            self._revisions.release(served)

    async def _inspect_with(self, served: Served, group: list[Waiting]) -> None:
        files = tuple(waiting.file for waiting in group)
        try:
            reply, _ = await served.pool.run(lambda job: frames.Inspect(job, files), DEADLINE)
        except WorkerDied as died:
            await self._after_death(group, died)
            return
        except SystemFault as fault:
            self._put_back(group)
            await self._trouble.wait("workers", fault)
            return
        self._trouble.over("workers")
        assert isinstance(reply, frames.Inspected), "an Inspect is answered by Inspected"  # noqa: S101
        if not served.current:
            # Tags of one revision and pipelines of another would go together as nobody wrote them.
            self._put_back(group)
            return
        again: list[Waiting] = []
        readable: list[tuple[Waiting, Facts]] = []
        for waiting, facts in zip(group, reply.facts, strict=True):
            waiting.tries += bool(facts.error)
            if facts.error and waiting.tries < TRIES:
                again.append(waiting)
            else:
                readable.append((waiting, facts))
        if readable:
            await self._route(served, readable)
        if again:
            self._put_back(again)
            await self._trouble.wait("content", SystemFault(reply.facts[0].error or "unreadable"))

    async def _after_death(self, group: list[Waiting], died: WorkerDied) -> None:
        if len(group) > 1:
            self._alone.extend(group)
            return
        (waiting,) = group
        waiting.tries += 1
        if waiting.tries < TRIES:
            self._alone.append(waiting)
            return
        reason = f"inspection failed: {died.reason}"
        facts = Facts(waiting.file.file, error=reason)
        await self._route(self._revisions.current, [(waiting, facts)])

    async def _route(self, served: Served, inspected: list[tuple[Waiting, Facts]]) -> None:
        digests = [facts.digest for _, facts in inspected if facts.digest]
        known = await self._trouble.insist("ledger", lambda: self._ledger.find_digests(digests))
        if not served.current:
            self._put_back([waiting for waiting, _ in inspected])
            return
        at = self._clock.wall_ns()
        routings = []
        events: list[Event] = []
        for waiting, facts in inspected:
            file, original = waiting.file, known.get(facts.digest)
            routing, event = self._decide(
                file, facts, at, original if original != file.file else None, served.plan
            )
            routings.append(routing)
            events.append(event)
        kept = await self._trouble.insist("ledger", lambda: self._ledger.route(routings))
        for event, ok in zip(events, kept, strict=True):
            if ok:
                self._emit(event)
        self._routed()

    def _decide(
        self, file: FileRef, facts: Facts, at: int, original: str | None, plan: Plan
    ) -> tuple[Routing, Event]:
        tags = tuple(sorted({hit.tag for hit in facts.tags}))
        if facts.refused:
            event: Event = FileRejected(
                at_ns=at,
                file=file.file,
                relative=file.relative,
                reason=facts.refused,
                unsafe=facts.unsafe,
            )
            return Routing(facts, at, duplicate_of=original), event
        held = facts.error
        facts = msgspec.structs.replace(
            facts, error=""
        )  # from here on a person's, not ours to retry
        duplicates = self.duplicates.get(file.source, "process")
        if original is not None and duplicates == "skip" and not held:
            reason = f"duplicate of {original}"
            event = FileHeld(
                at_ns=at, file=file.file, relative=file.relative, reason=reason, tags=tags
            )
            return Routing(facts, at, discarded=reason, duplicate_of=original), event
        if original is not None and duplicates == "hold":
            held = held or f"duplicate of {original}"
        if not held:
            matched = pipelines_for(tags, plan)
            held = matched.held
            runs = tuple(
                NewRun(self._ids.new(), p.name, plan.revision, p.priority, order_key(p, file, tags))
                for p in matched.pipelines
            )
        if held:
            event = FileHeld(
                at_ns=at, file=file.file, relative=file.relative, reason=held, tags=tags
            )
            return Routing(facts, at, held=held, duplicate_of=original), event
        event = FileRouted(
            at_ns=at,
            file=file.file,
            relative=file.relative,
            tags=tags,
            pipelines=tuple(run.pipeline for run in runs),
        )
        return Routing(facts, at, runs, duplicate_of=original), event
