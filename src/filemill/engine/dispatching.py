"""The dispatcher: leases runs from the ledger in groups, gives them to workers, and decides what their ends mean.

Many small files of one pipeline travel in one job; a group grows by itself while workers are busy, and a lone file
goes at once. One job per worker is leased ahead, so that no worker waits for a commit.
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Sequence

import msgspec

from filemill.engine import frames
from filemill.engine.batching import batches
from filemill.engine.breaking import Breakers
from filemill.engine.chunk_run import Chunked
from filemill.engine.keeping_inputs import Inputs
from filemill.engine.publishing import Publisher
from filemill.engine.revealing import as_staged
from filemill.engine.serving import Revisions, Served
from filemill.engine.supervisor import PATIENCE, WorkerDied
from filemill.engine.trouble import Trouble
from filemill.engine.verdicts import Verdict, Verdicts, longest_step
from filemill.model.errors import FailureKind, FilemillError, SystemFault, plainly
from filemill.model.events import Emit
from filemill.model.plan import PipelinePlan
from filemill.model.runs import Failure, RunOrder, RunResult, StagedOutput
from filemill.model.states import RunState
from filemill.ports.clock import Clock, Steady
from filemill.ports.content import Content
from filemill.ports.ledger import Ledger

GROUP = 256
MAX_UNPUBLISHED = 4_096
"""Staged runs that may wait for their sinks before leasing waits: bounds memory when a sink's disk is slow."""
LEASE_PATIENCE = 5.0
"""Seconds that a drain waits for a lease under way."""
SLOWEST_POLL = 5.0
"""Seconds after which the ledger is asked even when nobody said that something is due."""


class Dispatcher:
    """Runs what is queued. `wake` says that something may be; `drain` stops leasing and waits."""

    def __init__(
        self,
        *,
        revisions: Revisions,
        ledger: Ledger,
        content: Content,
        publisher: Publisher,
        clock: Clock,
        emit: Emit,
        trouble: Trouble,
        breakers: Breakers,
        chance: random.Random,
        inputs: Inputs,
    ) -> None:
        self._revisions = revisions
        self._ledger = ledger
        self._content = content
        self._publisher = publisher
        self._clock = clock
        self._emit = emit
        self._trouble = trouble
        self._breakers = breakers
        self._steady = Steady(clock)
        self._verdicts = Verdicts(
            inputs=inputs,
            ledger=ledger,
            clock=clock,
            steady=self._steady,
            emit=emit,
            trouble=trouble,
            chance=chance,
        )
        self._jobs: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._draining = False
        self._leasing = asyncio.Lock()
        self._pausing = 0
        self._more = True
        """The last lease may have left some in the queue."""
        self.crashed: BaseException | None = None

    def wake(self) -> None:
        """Something may have been queued or a worker may be free."""
        self._wake.set()

    def go_on(self) -> None:
        """There is room again: lease what was left in the queue, if anything was, or what waited for its turn."""
        if self._more or any(each.order_by for each in self._revisions.current.plan.pipelines):
            self.wake()

    async def start(self) -> None:
        """Begin leasing."""
        self._loop = asyncio.create_task(self._lease_all(), name="dispatcher")
        self._loop.add_done_callback(self._note_crash)
        self.wake()

    async def drain(self) -> None:
        """Lease no more; return when every run already with a worker has come back."""
        self._draining = True
        # A lease that is being committed must come to its jobs: its runs would stay RUNNING, in nobody's hands.
        try:
            async with asyncio.timeout(LEASE_PATIENCE), self._leasing:
                pass
        except TimeoutError:
            pass  # the ledger is in trouble, and nothing is leased; the next start would find it
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        while self._jobs:
            await asyncio.wait(set(self._jobs))

    async def stop(self) -> None:
        """Stop now: runs with workers are queued again as interrupted at the next start."""
        self._draining = True
        tasks = [*self._jobs, *([self._loop] if self._loop else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def draining(self) -> bool:
        """Nothing new may begin."""
        return self._draining

    @property
    def running(self) -> int:
        """Jobs with workers now."""
        return len(self._jobs)

    def _note_crash(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.crashed = task.exception()

    async def _lease_all(self) -> None:
        while True:
            self._wake.clear()
            wait = await self._lease_while_room()
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _lease_while_room(self) -> float:
        """Lease until nothing is queued or every worker has one job ahead; answers how long to wait then."""
        self._more = True
        while (
            len(self._jobs) < 2 * self._revisions.current.pool.limits.workers
            and not self._pausing
            and self._publisher.waiting < MAX_UNPUBLISHED
        ):
            parked = self._breakers.parked()
            if await self._lease(parked) < GROUP:
                self._more = False
                due = await self._trouble.insist(
                    "ledger", functools.partial(self._ledger.next_due, parked)
                )
                if due is None:
                    return SLOWEST_POLL
                return min(SLOWEST_POLL, max(0.0, (due - self._steady.ns()) / 1e9))
        return SLOWEST_POLL

    async def _lease(self, parked: frozenset[str]) -> int:
        """Lease a group and begin its jobs; answers how many runs: fewer than a group when no more are queued.

        The current revision is held until they have begun, so that one whose time ends meanwhile is still there.
        """
        async with self._leasing:
            return 0 if self._draining else await self._lease_now(parked)

    async def _lease_now(self, parked: frozenset[str]) -> int:
        served = self._revisions.hold(self._revisions.current)
        try:
            leased = await self._trouble.insist(
                "ledger",
                lambda: self._ledger.lease(
                    GROUP, self._clock.wall_ns(), served.number, self._steady.ns(), parked
                ),
            )
            placed = [self._with_path(order) for order in leased]
            for batch in batches(placed, served.plan.chunk_size, served.number):
                own = batch[0].revision == served.number
                held = self._revisions.hold(served) if own else None
                job = asyncio.create_task(self._execute(batch, held), name="execute")
                self._jobs.add(job)
                job.add_done_callback(self._job_done)
        finally:
            self._revisions.release(served)
        return len(leased)

    def _with_path(self, order: RunOrder) -> RunOrder:
        path = self._content.path(order.file.path.decode("ascii"))
        begins = order.kept and order.from_step
        return msgspec.structs.replace(
            order,
            file=msgspec.structs.replace(order.file, path=path),
            input=self._content.path(order.kept) if begins else b"",
        )

    def _job_done(self, job: asyncio.Task[None]) -> None:
        self._jobs.discard(job)
        self._note_crash(job)
        self.go_on()

    async def _execute(self, batch: tuple[RunOrder, ...], held: Served | None) -> None:
        """Run a job at its revision: `held` where it is at work already, else one that is opened for it."""
        if held is None:
            try:
                held = await self._revisions.acquire(batch[0].revision)
            except SystemFault as fault:
                await self._give_back(batch, fault)
                return
            except FilemillError as error:
                lost = [self._verdicts.unservable(order, error) for order in batch]
                await self._record(lost)
                return
        try:
            await self._execute_with(held, batch)
        finally:
            self._revisions.release(held)

    async def _execute_with(self, served: Served, batch: tuple[RunOrder, ...]) -> None:
        pipeline = served.pipelines.get(batch[0].pipeline)
        if pipeline is None:
            await self._record([self._verdicts.homeless(order) for order in batch])
            return
        if served.chunked.wants(batch):
            chunked = await served.chunked.run(batch[0], pipeline, longest_step(pipeline))
            if chunked is not None:
                await self._settle_chunked(batch[0], chunked, pipeline)
                return
        try:
            reply, output = await served.pool.run(
                lambda job: frames.Execute(job, batch), longest_step(pipeline), PATIENCE
            )
        except WorkerDied as died:
            await self._record(self._verdicts.after_death(batch, died, pipeline))
            return
        except SystemFault as fault:
            await self._give_back(batch, fault)
            return
        self._trouble.over("workers")
        assert isinstance(reply, frames.Executed), "an Execute is answered by Executed"  # noqa: S101
        await self._settle(batch, reply.results, output, pipeline)

    async def _record(self, verdicts: Sequence[Verdict]) -> None:
        """Commit what becomes of these runs; some may be due again."""
        if verdicts:
            await self._verdicts.record(verdicts)
            self.wake()

    async def _give_back(self, batch: Sequence[RunOrder], fault: SystemFault) -> None:
        await self._linger(self._breaker(fault.sink, batch), fault)
        await self._record([self._verdicts.unstarted(order, fault) for order in batch])
        if key := self._breaker(fault.sink, batch):
            self._breakers.trip(key, fault, {order.pipeline for order in batch})
        else:
            await self._pause("workers", fault)

    async def _settle_chunked(
        self, order: RunOrder, chunked: Chunked, pipeline: PipelinePlan
    ) -> None:
        """As for any job; what is joined of a run that ends here goes, unless it is on its way out."""
        verdicts: list[Verdict] = []
        if chunked.died is not None:
            verdicts = self._verdicts.after_death([order], chunked.died, pipeline)
        elif chunked.stopped:
            verdicts = [self._verdicts.unfinished(order)]
        elif chunked.result is not None:
            self._trouble.over("workers")
            verdicts = await self._settle([order], [chunked.result], chunked.output, pipeline)
            if not verdicts and not chunked.result.hold:
                return
            if chunked.result.hold or verdicts[0].decision.state == RunState.DEAD:
                await asyncio.to_thread(chunked.joint.abort)
            return
        elif chunked.fault is not None:
            await self._give_back([order], chunked.fault)
            return
        await self._record(verdicts)
        if verdicts[0].decision.state == RunState.DEAD:
            await asyncio.to_thread(chunked.joint.abort)

    async def _settle(
        self,
        batch: Sequence[RunOrder],
        results: Sequence[RunResult],
        output: str,
        pipeline: PipelinePlan,
    ) -> list[Verdict]:
        """Hand what is staged to the publisher and what failed to the ledger; answers what became of the latter."""
        staged = []
        failed: list[Verdict] = []
        held: list[tuple[RunOrder, RunResult]] = []
        fault: Failure | None = None
        broken: dict[str, Failure] = {}
        for order, result in zip(batch, results, strict=True):
            failure = result.failure or self._misplaced(order, result)
            if failure is not None:
                failure = msgspec.structs.replace(failure, output=failure.output or output)
                failed.append(self._verdicts.judge(order, result, failure, pipeline))
                if failure.kind is not FailureKind.SYSTEM:
                    continue
                if key := self._breaker(failure.sink, batch):
                    broken[key] = failure
                else:
                    fault = failure
            elif result.hold:
                held.append((order, result))
            else:
                staged.append(as_staged(order, result))
        self._publisher.put(staged)
        failed = await self._verdicts.keep(failed, pipeline)
        for sink, failure in broken.items():
            await self._linger(sink, SystemFault(failure.message, help=failure.help))
            # Before its runs are queued again: nobody may lease them meanwhile.
            self._breakers.trip(
                sink, SystemFault(failure.message, help=failure.help), {pipeline.name}
            )
        await self._record(failed)
        await self._verdicts.hold(held, pipeline)
        if fault is not None:
            await self._pause("stage", SystemFault(fault.message, help=fault.help))
        elif staged:
            self._trouble.over("stage")
        return failed

    async def _linger(self, key: str, fault: SystemFault) -> None:
        """Keep a run back that met trouble at a sink of an older revision: nothing is parked that would do so."""
        if key and self._breakers.is_older(key):
            await self._trouble.wait("stage", fault)

    def _breaker(self, sink: str, batch: Sequence[RunOrder]) -> str:
        """Under which key the breaker of this job's sink goes; empty: it is no sink."""
        revision = batch[0].revision
        return self._breakers.key(sink, self._revisions.sinks_of(revision), revision)

    def _misplaced(self, order: RunOrder, result: RunResult) -> Failure | None:
        """The failure of a run whose outputs lie where its sink's file system was unmounted."""
        by_sink: dict[str, list[StagedOutput]] = {}
        for output in result.outputs:
            by_sink.setdefault(output.sink, []).append(output)
        for name, outputs in by_sink.items():
            sink = self._revisions.sinks_of(order.revision).get(name)
            error = sink.misplaced(outputs) if sink is not None else None
            if error is not None:
                message = f"staging for sink `{name}` failed: {plainly(error)}"
                return Failure(
                    FailureKind.SYSTEM,
                    f"stage:{name}",
                    type(error).__name__,
                    message,
                    "mount it again; work goes on by itself, and no attempt is spent meanwhile",
                    sink=name,
                )
        return None

    async def _pause(self, what: str, fault: SystemFault) -> None:
        """Lease nothing for a while; what failed is queued again and spent no attempt."""
        self._pausing += 1
        try:
            await self._trouble.wait(what, fault)
        finally:
            self._pausing -= 1
            self.wake()
