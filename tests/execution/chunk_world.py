"""Big files worked on in chunks by real executors and a real ledger, with threads in the place of worker processes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

from milling import Mill

from filemill.durable import Durable, Failpoints
from filemill.engine import frames
from filemill.engine.announcing import Announcement
from filemill.engine.chunk_run import Chunked
from filemill.engine.chunking import ChunkedRuns
from filemill.engine.execution import Executor
from filemill.engine.supervisor import Limits, WorkerDied
from filemill.engine.trouble import Trouble
from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.model.events import Event
from filemill.model.plan import StepPlan
from filemill.model.runs import RunOrder, RunResult
from filemill.ports.registry import Registry
from filemill.ports.sink import SinkContext
from filemill.testing.clock import FakeClock
from filemill.testing.ids import SequentialIds
from filemill.testing.journey import Journey


class ThreadPool:
    """`WorkerPool.run` with a thread and an executor for each worker; every message goes through its frame.

    `shuffle` lets jobs end in any order. The job of number `dies` is never answered.
    """

    def __init__(
        self,
        executors: Sequence[Executor],
        seed: int,
        dies: int,
        before: Callable[[int], None] | None,
    ) -> None:
        self._before = before
        self.limits = Limits(len(executors))
        self.jobs: list[frames.ToWorker] = []
        self._idle = list(executors)
        self._free = asyncio.Semaphore(len(executors))
        self._chance = random.Random(seed)
        self._dies = dies

    async def run(
        self,
        build: Callable[[int], frames.ToWorker],
        deadline: float,
    ) -> tuple[frames.FromWorker, str]:
        async with self._free:
            message = frames.unpack_to_worker(frames.pack(build(1))[4:])
            self.jobs.append(message)
            if self._before is not None and isinstance(message, frames.ExecuteChunk):
                self._before(self.chunks[-1])
            number = len(self.jobs)
            for _ in range(self._chance.randrange(4)):
                await asyncio.sleep(0)
            if number == self._dies:
                raise WorkerDied("killed", Announcement(), "")
            executor = self._idle.pop()
            try:
                reply = await asyncio.to_thread(self._answer, executor, message)
                return frames.unpack_from_worker(frames.pack(reply)[4:]), ""
            finally:
                self._idle.append(executor)

    def _answer(self, executor: Executor, message: frames.ToWorker) -> frames.FromWorker:
        work = executor.chunks
        work.release()
        if isinstance(message, frames.CutUp):
            return frames.CutDone(1, work.cut(message.order, message.state))
        assert isinstance(message, frames.ExecuteChunk)
        done = work.execute(message.order, message.hints, lambda _: None, message.state)
        return frames.ChunkExecuted(1, done)

    @property
    def chunks(self) -> list[int]:
        """Numbers of the chunks that were worked on, as they began."""
        return [
            job.order.chunk.number
            for job in self.jobs
            if isinstance(job, frames.ExecuteChunk) and job.order.chunk is not None
        ]


class ChunkWorld:
    """One file, one pipeline, one ledger; attempts follow one another."""

    def __init__(self, mill: Mill, steps: Sequence[StepPlan], data: bytes, **plan: Any) -> None:
        self.mill = mill
        self.executor = mill.executor(steps, **plan)
        self.plan = self.executor._plan
        self.data = data
        self.durable = Durable(mill.failpoints, sync=False)
        self.order = mill.order("f", data)
        self.pool: ThreadPool
        self.said: list[Event] = []
        self.runner = asyncio.Runner()
        self.ledger: SqliteLedger = self.runner.run(
            SqliteLedger.open(":memory:", durable=Durable(Failpoints("server"), sync=False))
        )
        self.journey = Journey(self.ledger, SequentialIds(), FakeClock())
        self._lease()

    def close(self) -> None:
        self.runner.run(self.ledger.close())
        self.runner.close()

    def _lease(self) -> None:
        """A run of this file in the ledger, under a fence."""

        (leased,) = self.runner.run(self.journey.running())
        self.order = self._as_leased(leased.run, leased.fence)

    def _as_leased(self, run: str, fence: int) -> RunOrder:
        order = self.order
        return RunOrder(run, order.file, order.pipeline, order.revision, 1, fence)

    def again(self) -> None:
        """The run is tried again, as after a retry: a new lease, a new fence."""

        async def retry() -> RunOrder:
            assert await self.ledger.fail([self.journey.fail(self.order, "queued")]) == [True]
            (order,) = await self.journey.lease()
            return order

        leased = self.runner.run(retry())
        self.order = self._as_leased(leased.run, leased.fence)

    def chunked(
        self,
        workers: int = 2,
        seed: int = 0,
        dies: int = 0,
        stop_after: int | None = None,
        before: Callable[[int], None] | None = None,
    ) -> Chunked | None:
        """One attempt in chunks. With `stop_after`, the server drains once so many chunks have begun.

        `before` is called with each chunk's number when a worker gets it.
        """

        async def work() -> Chunked | None:
            executors = [Executor(self.plan, Registry(), self.durable) for _ in range(workers)]
            self.pool = ThreadPool(executors, seed, dies, before)
            runs = ChunkedRuns(
                plan=self.plan,
                ledger=self.ledger,
                pool=self.pool,  # type: ignore[arg-type] -- threads for processes
                sinks=self.sinks(),
                trouble=Trouble(FakeClock(), lambda _: None),
                clock=FakeClock(),
                emit=self.said.append,
                stopping=lambda: stop_after is not None and len(self.pool.chunks) >= stop_after,
            )
            return await runs.run(self.order, self.plan.pipelines[0], 60)

        return self.runner.run(work())

    def sinks(self) -> dict[str, Any]:
        """The server's half of every sink."""
        registry = Registry()
        made = {}
        for sink in self.plan.sinks:
            component = registry.get("sinks", "folder")
            options = component.Options.model_validate(sink.options)
            made[sink.name] = component(
                SinkContext(sink.name, options, "UTC", self.durable, sync=False)
            )
        return made

    def whole(self) -> RunResult:
        """The same run, worked on as a whole."""
        (result,) = self.executor.execute([self.order], lambda _: None)
        return result


def story(mill: Mill, result: RunResult) -> dict[str, Any]:
    """All that must not depend on how a file was worked on."""
    outputs = next(iter(mill.outputs([result]).values()))
    return {
        "outputs": outputs,
        "names": {output.sink: output.name for output in result.outputs},
        "digests": {output.sink: output.digest for output in result.outputs},
        "in outputs": {output.sink: output.records for output in result.outputs},
        "steps": [(s.step, s.taken, s.given, s.added, s.filtered, s.bad) for s in result.steps],
        "bad": result.bad,
        "counts": (result.records, result.blank, result.bad_total),
        "failure": result.failure and (result.failure.step, result.failure.message),
    }
