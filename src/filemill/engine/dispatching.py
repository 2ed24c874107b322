"""The dispatcher: leases runs from the ledger in groups, gives them to workers, and decides what their ends mean.

Many small files of one pipeline travel in one job; a group grows by itself while workers are busy, and a lone file
goes at once. One job per worker is leased ahead, so that no worker waits for a commit.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from filemill.engine import frames
from filemill.engine.announcing import Announced
from filemill.engine.policy import Decision, decide, with_fingerprint
from filemill.engine.publishing import Publisher
from filemill.engine.revealing import Staged
from filemill.engine.supervisor import WorkerDied, WorkerPool
from filemill.engine.trouble import Trouble
from filemill.model.errors import FailureKind, SystemFault
from filemill.model.events import Emit, RunFailed, RunHeld
from filemill.model.plan import PipelinePlan, Plan, StepPlan
from filemill.model.runs import Failure, Publication, RunOrder, RunResult, StagedOutput
from filemill.ports.clock import Clock
from filemill.ports.content import Content
from filemill.ports.ledger import Fail, Ledger

GROUP = 256
GROUP_BYTES = 32 << 20
"""A job's files together: what a worker may hold in memory at once when it computes them as one batch."""
MAX_UNPUBLISHED = 4_096
"""Staged runs that may wait for their sinks before leasing waits: bounds memory when a sink's disk is slow."""
SLOWEST_POLL = 5.0
"""Seconds after which the ledger is asked even when nobody said that something is due."""


class Dispatcher:
    """Runs what is queued. `wake` says that something may be; `drain` stops leasing and waits."""

    def __init__(
        self,
        *,
        plan: Plan,
        ledger: Ledger,
        content: Content,
        pool: WorkerPool,
        publisher: Publisher,
        clock: Clock,
        emit: Emit,
        trouble: Trouble,
        chance: random.Random,
    ) -> None:
        self._plan = plan
        self._pipelines = {pipeline.name: pipeline for pipeline in plan.pipelines}
        self._ledger = ledger
        self._content = content
        self._pool = pool
        self._publisher = publisher
        self._clock = clock
        self._emit = emit
        self._trouble = trouble
        self._chance = chance
        self._jobs: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._draining = False
        self._pausing = 0
        self.crashed: BaseException | None = None

    def wake(self) -> None:
        """Something may have been queued or a worker may be free."""
        self._wake.set()

    async def start(self) -> None:
        """Begin leasing."""
        self._loop = asyncio.create_task(self._lease_all(), name="dispatcher")
        self._loop.add_done_callback(self._note_crash)
        self.wake()

    async def drain(self) -> None:
        """Lease no more; return when every run already with a worker has come back."""
        self._draining = True
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
        while (
            len(self._jobs) < 2 * self._pool.limits.workers
            and not self._pausing
            and self._publisher.waiting < MAX_UNPUBLISHED
        ):
            leased = await self._trouble.insist(
                "ledger",
                lambda: self._ledger.lease(GROUP, self._clock.wall_ns(), self._plan.revision),
            )
            if not leased:
                due = await self._trouble.insist("ledger", self._ledger.next_due)
                if due is None:
                    return SLOWEST_POLL
                return min(SLOWEST_POLL, max(0.0, (due - self._clock.wall_ns()) / 1e9))
            for batch in batches([self._with_path(order) for order in leased]):
                job = asyncio.create_task(self._execute(batch), name="execute")
                self._jobs.add(job)
                job.add_done_callback(self._job_done)
        return SLOWEST_POLL

    def _with_path(self, order: RunOrder) -> RunOrder:
        path = self._content.path(order.file.path.decode("ascii"))
        return msgspec.structs.replace(order, file=msgspec.structs.replace(order.file, path=path))

    def _job_done(self, job: asyncio.Task[None]) -> None:
        self._jobs.discard(job)
        self._note_crash(job)
        self.wake()

    async def _execute(self, batch: tuple[RunOrder, ...]) -> None:
        pipeline = self._pipelines.get(batch[0].pipeline)
        if pipeline is None:
            await self._fail_all(batch, _no_pipeline(batch[0]))
            return
        try:
            reply, output = await self._pool.run(
                lambda job: frames.Execute(job, batch), longest_step(pipeline)
            )
        except WorkerDied as died:
            await self._after_death(batch, died, pipeline)
            return
        except SystemFault as fault:
            await self._fail_all(batch, _failure_of(fault))
            await self._pause("workers", fault)
            return
        self._trouble.over("workers")
        assert isinstance(reply, frames.Executed), "an Execute is answered by Executed"  # noqa: S101
        await self._settle(batch, reply.results, output, pipeline)

    async def _settle(
        self,
        batch: Sequence[RunOrder],
        results: Sequence[RunResult],
        output: str,
        pipeline: PipelinePlan,
    ) -> None:
        """Hand what is staged to the publisher and what failed to the ledger."""
        staged = []
        failed: list[tuple[RunOrder, RunResult, Failure, Decision]] = []
        held: list[tuple[RunOrder, RunResult]] = []
        fault: Failure | None = None
        for order, result in zip(batch, results, strict=True):
            if result.failure is not None:
                failure = msgspec.structs.replace(
                    result.failure, output=result.failure.output or output
                )
                failed.append(self._judge(order, result, failure, pipeline))
                if failure.kind is FailureKind.SYSTEM:
                    fault = failure
            elif result.hold:
                held.append((order, result))
            else:
                staged.append(as_staged(order, result))
        self._publisher.put(staged)
        await self._record_failures(failed)
        await self._record_held(held)
        if fault is not None:
            await self._pause("stage", SystemFault(fault.message, help=fault.help))
        elif staged:
            self._trouble.over("stage")

    def _judge(
        self, order: RunOrder, result: RunResult, failure: Failure, pipeline: PipelinePlan
    ) -> tuple[RunOrder, RunResult, Failure, Decision]:
        retry = next(
            (s.retry for s in all_steps(pipeline.steps) if s.id == failure.step and s.retry),
            pipeline.retry,
        )
        failure = with_fingerprint(failure, pipeline.name)
        return order, result, failure, decide(failure, order, retry, self._chance)

    async def _after_death(
        self, batch: Sequence[RunOrder], died: WorkerDied, pipeline: PipelinePlan
    ) -> None:
        """Charge the run that was announced alone; queue the others again at no cost."""
        announced = died.announced
        group = announced.kind is Announced.GROUP
        decided = []
        for order in batch:
            guilty = announced.runs == (order.run,)
            if guilty or (group and len(batch) == 1):
                failure = Failure(
                    FailureKind.CRASH,
                    "worker",
                    "WorkerDied",
                    f"the worker was lost while it ran this file: {died.reason}",
                    "look at what the step printed; native code, memory, or an endless loop?",
                    output=died.output,
                )
                result = RunResult(order.run, order.fence, failure=failure)
                decided.append(self._judge(order, result, failure, pipeline))
            else:
                failure = _failure_of_neighbour(died.reason)
                result = RunResult(order.run, order.fence, failure=failure)
                solo = order.solo or group
                decided.append((order, result, failure, Decision("queued", solo=solo)))
        await self._record_failures(decided)

    async def _fail_all(self, batch: Sequence[RunOrder], failure: Failure) -> None:
        pipeline = self._pipelines.get(batch[0].pipeline)
        decided = []
        for order in batch:
            own = with_fingerprint(failure, order.pipeline)
            result = RunResult(order.run, order.fence, failure=own)
            state = "dead" if pipeline is None else "queued"
            decided.append((order, result, own, Decision(state, solo=order.solo)))
        await self._record_failures(decided)

    async def _record_failures(
        self, decided: Sequence[tuple[RunOrder, RunResult, Failure, Decision]]
    ) -> None:
        if not decided:
            return
        at = self._clock.wall_ns()
        fails = [
            Fail(
                order.run,
                order.fence,
                at,
                decision.state,
                result,
                failure,
                retry_at_ns=at + int(decision.delay * 1e9) if decision.state == "retrying" else 0,
                solo=decision.solo,
            )
            for order, result, failure, decision in decided
        ]
        kept = await self._trouble.insist("ledger", lambda: self._ledger.fail(fails))
        for (order, _, failure, _), fail, ok in zip(decided, fails, kept, strict=True):
            if ok and fail.state != "queued":
                self._emit(
                    RunFailed(
                        at_ns=at,
                        run=order.run,
                        file=order.file.file,
                        relative=order.file.relative,
                        pipeline=order.pipeline,
                        state=fail.state,
                        kind=str(failure.kind),
                        step=failure.step,
                        error=failure.error,
                        message=failure.message,
                        help=failure.help,
                        attempt=order.attempt,
                        retry_at_ns=fail.retry_at_ns,
                        fingerprint=failure.fingerprint,
                    )
                )

    async def _record_held(self, held: Sequence[tuple[RunOrder, RunResult]]) -> None:
        if not held:
            return
        at = self._clock.wall_ns()
        fails = [Fail(order.run, order.fence, at, "held", result, None) for order, result in held]
        kept = await self._trouble.insist("ledger", lambda: self._ledger.fail(fails))
        for (order, result), ok in zip(held, kept, strict=True):
            if ok:
                self._emit(
                    RunHeld(
                        at_ns=at,
                        run=order.run,
                        file=order.file.file,
                        relative=order.file.relative,
                        pipeline=order.pipeline,
                        step=result.steps[-1].step if result.steps else "",
                        message=result.hold,
                    )
                )

    async def _pause(self, what: str, fault: SystemFault) -> None:
        """Lease nothing for a while; what failed is queued again and spent no attempt."""
        self._pausing += 1
        try:
            await self._trouble.wait(what, fault)
        finally:
            self._pausing -= 1
            self.wake()


def batches(orders: Iterable[RunOrder]) -> Iterator[tuple[RunOrder, ...]]:
    """Cut leased runs into jobs: one pipeline and revision each, at most 32 MiB, a solo run by itself."""
    group: list[RunOrder] = []
    size = 0
    for order in orders:
        fits = (
            group
            and not order.solo
            and not group[0].solo
            and group[0].pipeline == order.pipeline
            and group[0].revision == order.revision
            and size + order.file.size <= GROUP_BYTES
        )
        if group and not fits:
            yield tuple(group)
            group, size = [], 0
        group.append(order)
        size += order.file.size
    if group:
        yield tuple(group)


def all_steps(steps: Iterable[StepPlan]) -> Iterator[StepPlan]:
    """Every step of a pipeline, those of its branches included."""
    for step in steps:
        yield step
        for branch in step.routes:
            yield from all_steps(branch.steps)


def longest_step(pipeline: PipelinePlan) -> float:
    """Seconds a worker may go without a sign of progress: the pipeline's own timeout or its slowest step's."""
    return pipeline.timeout or max((s.timeout for s in all_steps(pipeline.steps)), default=600.0)


def as_staged(order: RunOrder, result: RunResult) -> Staged:
    """A worker's result as the publisher takes it."""
    return Staged(
        order.run,
        order.fence,
        order.pipeline,
        order.file,
        [_as_publication(order, output) for output in result.outputs],
        result,
    )


def _as_publication(order: RunOrder, output: StagedOutput) -> Publication:
    return Publication(
        output.publication,
        order.run,
        order.fence,
        output.sink,
        output.name,
        output.staged,
        output.device,
        output.inode,
        output.size,
        output.digest,
        output.records,
        output.mode,
        "staged",
    )


def _no_pipeline(order: RunOrder) -> Failure:
    return Failure(
        FailureKind.PERMANENT,
        "pipeline",
        "PipelineMissing",
        f"the configuration has no pipeline `{order.pipeline}` any more (queued at revision {order.revision})",
        "put the pipeline back, then redrive; or drop the file in again for today's pipelines",
    )


def _failure_of(fault: SystemFault) -> Failure:
    return Failure(FailureKind.SYSTEM, "worker", type(fault).__name__, fault.message, fault.help)


def _failure_of_neighbour(reason: str) -> Failure:
    return Failure(
        FailureKind.INTERRUPTED,
        "worker",
        "Interrupted",
        f"its worker was lost over another file: {reason}",
    )
