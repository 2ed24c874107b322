"""The inspection desk: acknowledged files go to workers in groups, come back with facts, and are routed.

Whatever happens here the file is already safe. A worker that dies over a group costs nobody anything: each file of it
is looked at again alone, and one that brings workers down three times is held for a person.

A lone file goes ahead: it is looked at while its bytes are synced, and its routing is asked for in the loop's turn
behind its acknowledgement, its lease in the next, so that the three are one commit. If the first comes to nothing, so
do the others, since the ledger routes no file that is not acknowledged.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from filemill.encryption.texts import shown
from filemill.engine import frames
from filemill.engine.scanning import must_scan
from filemill.engine.serving import Revisions, Served
from filemill.engine.supervisor import PATIENCE, WorkerDied
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


class _Ahead(msgspec.Struct):
    """A look at a file before it is acknowledged."""

    file: FileRef
    served: Served
    look: asyncio.Task[frames.Inspected | WorkerDied | SystemFault]


class InspectionDesk:
    """Takes acknowledged files, gives each its tags and runs.

    `scan` takes the files that must pass scanners first; they come again by `put`. `routing` is called when a group's
    runs are about to be in the ledger's queue, `routed` when they are committed.
    """

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
        routing: Callable[[], None],
        routed: Callable[[], None],
        scan: Callable[[Sequence[FileRef]], None],
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
        self._routing = routing
        self._routed = routed
        self._scan = scan
        self._waiting: Turns[Waiting] = Turns()
        self._alone: deque[Waiting] = deque()
        self._jobs: set[asyncio.Task[None]] = set()
        self._ahead: _Ahead | None = None
        self._begun: set[str] = set()
        """Files that went ahead of their acknowledgement."""
        self._changed = asyncio.Event()
        self._stopped = False
        self.crashed: BaseException | None = None

    def look_ahead(self, file: FileRef) -> None:
        """This file is about to be acknowledged: look at it meanwhile, if that keeps nobody waiting."""
        ahead, served = self._ahead, self._revisions.current
        looking = ahead is not None and not ahead.look.done()
        if looking or self._stopped or self._waiting or self._jobs or not served.pool.idle:
            return
        if must_scan(served.plan, file):
            return
        look = asyncio.create_task(self._look_at(served, (file,)), name="look ahead")
        self._ahead = _Ahead(file, served, look)

    def go_ahead(self, file: FileRef) -> None:
        """The acknowledgement of this file is in the ledger's queue: what comes behind it may be asked for.

        `put` follows in any case, unless nothing comes of it.
        """
        if self._ahead is not None and self._ahead.file is file:
            self._begun.add(file.file)
            self._put_back([Waiting(file)])
            self._start_jobs()

    @property
    def pending(self) -> int:
        """Files not yet routed."""
        return len(self._waiting) + len(self._alone) + sum(1 for _ in self._jobs) * GROUP

    def put(self, files: Sequence[FileRef]) -> None:
        """Take over acknowledged files."""
        self._put_back([Waiting(file) for file in files if file.file not in self._begun])
        self._begun.difference_update(file.file for file in files)
        self._start_jobs()

    async def refuse(self, judged: Sequence[tuple[FileRef, Facts]]) -> None:
        """Route files of which it is known, before anybody looked into them, that no pipeline gets them."""
        if judged:
            waiting = [(Waiting(file), facts) for file, facts in judged]
            await self._route(self._revisions.current, waiting)

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
        if self._ahead is not None:
            self._ahead.look.cancel()
            await asyncio.gather(self._ahead.look, return_exceptions=True)
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

    async def _look_at(
        self, served: Served, files: tuple[FileRef, ...]
    ) -> frames.Inspected | WorkerDied | SystemFault:
        """What a worker finds out, or why none could."""
        if any(file.size > served.plan.chunk_size for file in files):
            served.pool.expect()  # all of them will have its chunks, and it takes a while to read
        self._revisions.hold(served)
        try:
            reply, _ = await served.pool.run(
                lambda job: frames.Inspect(job, files), DEADLINE, PATIENCE
            )
        except (WorkerDied, SystemFault) as failed:
            return failed
        finally:
            self._revisions.release(served)
        assert isinstance(reply, frames.Inspected), "an Inspect is answered by Inspected"  # noqa: S101
        return reply

    async def _inspect_with(self, served: Served, group: list[Waiting]) -> None:
        group = self._only_scanned(served.plan, group)
        if not group:
            return
        files = tuple(waiting.file for waiting in group)
        ahead = self._ahead
        if ahead is not None and files == (ahead.file,) and ahead.served is served:
            self._ahead = None
            reply = await ahead.look
        else:
            reply = await self._look_at(served, files)
        if isinstance(reply, WorkerDied):
            await self._after_death(group, reply)
            return
        if isinstance(reply, SystemFault):
            self._put_back(group)
            await self._trouble.wait("workers", reply)
            return
        self._trouble.over("workers")
        if not served.current:
            # Tags of one revision and pipelines of another would go together as nobody wrote them.
            self._put_back(group)
            return
        again: list[Waiting] = []
        readable: list[tuple[Waiting, Facts]] = []
        for waiting, facts in zip(group, reply.facts, strict=True):
            waiting.tries += bool(facts.error) and not facts.fault
            if facts.fault or (facts.error and waiting.tries < TRIES):
                again.append(waiting)
            else:
                readable.append((waiting, facts))
        if readable:
            await self._route(served, readable)
        if again:
            self._put_back(again)
            what = "encryption" if any(facts.fault for facts in reply.facts) else "content"
            await self._trouble.wait(what, _fault(reply.facts))
        else:
            self._trouble.over("encryption")

    def _only_scanned(self, plan: Plan, group: list[Waiting]) -> list[Waiting]:
        """Those that need no scan, or passed it: asked here, where the plan they are inspected under is known."""
        unscanned = [each.file for each in group if must_scan(plan, each.file)]
        if unscanned:
            self._scan(unscanned)
            group = [each for each in group if not must_scan(plan, each.file)]
        return group

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
        at = self._clock.wall_ns()
        events: list[Event] = []

        def decide(known: Mapping[str, str]) -> list[Routing]:
            decided = [
                self._decide(waiting.file, facts, at, known.get(facts.digest), served.plan)
                for waiting, facts in inspected
            ]
            events[:] = [event for _, event in decided]
            return [routing for routing, _ in decided]

        def route() -> Awaitable[list[bool]]:
            # The lease that this wakes waits in the ledger's queue behind the commit, not for news of it.
            self._routing()
            return self._ledger.route_by(digests, decide, more=len(inspected) == 1)

        kept = await self._trouble.insist("ledger", route)
        for (waiting, _), event, ok in zip(inspected, events, kept, strict=True):
            if ok:
                self._emit(event)
            else:
                # It went ahead and was not acknowledged; should it be yet, it comes again.
                self._begun.discard(waiting.file.file)
        self._routed()

    def _decide(
        self, file: FileRef, facts: Facts, at: int, first: str | None, plan: Plan
    ) -> tuple[Routing, Event]:
        """Where a file goes; `first` is the first one of its bytes. Called in the ledger's thread."""
        original = first if first != file.file else None
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


def _fault(found: Sequence[Facts]) -> SystemFault:
    """Why files cannot be read, the machine's reasons before those of single files."""
    said = max(found, key=lambda facts: (facts.fault, bool(facts.error)))
    return SystemFault(shown(said.error, None) or "unreadable", help=said.help)
