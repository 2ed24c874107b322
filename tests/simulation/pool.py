"""Workers in this process: the real frames and the real executor behind a pool that decides who lives."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Sequence
from typing import Any

from filemill.engine import frames
from filemill.engine.announcing import Announcement, Page
from filemill.engine.execution import Executor
from filemill.engine.slots import WorkerDied
from filemill.engine.supervisor import WorkerPool
from filemill.model.errors import SystemFault
from filemill.model.events import WorkerLost
from filemill.model.runs import RunOrder
from filemill.ports.registry import Registry
from filemill.routing.inspection import Inspector
from simulation.actions import SimulatedDurable, WorkerEnd

REGISTRY = Registry()


class SimulatedWorker:
    """What a worker's process holds."""

    def __init__(self, number: int, page: Page) -> None:
        self.number = number
        self.page = page
        self.executor: Executor | None = None
        self.inspector: Inspector | None = None

    def answer(self, message: Any) -> Any:
        assert self.executor is not None
        self.executor.chunks.release()
        match message:
            case frames.Inspect(job, files):
                assert self.inspector is not None
                self.page.announce(job, [])
                return frames.Inspected(job, tuple(self.inspector.inspect(files)))
            case frames.Execute(job, orders):
                results = self.executor.execute(
                    orders, lambda some: self._begin(job, some), self.page.progress
                )
                return frames.Executed(job, tuple(results))
            case frames.CutUp(job, order, state):
                self._begin(job, [order])
                return frames.CutDone(job, self.executor.chunks.cut(order, state))
            case frames.ExecuteChunk(job, order, hints, state):
                self._begin(job, [order])
                done = self.executor.chunks.execute(order, hints, self.page.progress, state)
                return frames.ChunkExecuted(job, done)
            case frames.Keep(job, orders, steps):
                captured = []
                for order, step in zip(orders, steps, strict=True):
                    self._begin(job, [order])
                    captured.append(self.executor.inputs.capture(order, step, self.page.progress))
                return frames.Kept(job, tuple(captured))
        raise AssertionError(message)

    def _begin(self, job: int, orders: Sequence[RunOrder]) -> None:
        self.page.announce(job, [order.run for order in orders])


class SimulatedPool(WorkerPool):
    """Does each job in one piece, at a moment that chance decides; its worker may die or hang."""

    def __init__(self, *given: Any, machine: Any) -> None:
        super().__init__(*given)
        self._machine = machine
        self._chance: random.Random = machine.chance
        self._here: list[SimulatedWorker] = []
        self._all: list[SimulatedWorker] = []
        self._room = asyncio.Semaphore(self.limits.workers)
        self._working = 0

    @property
    def busy(self) -> int:
        return self._working

    @property
    def size(self) -> int:
        return len(self._all)

    async def start(self, warm: int = 1) -> None:
        await asyncio.sleep(0.3)
        self._here.append(self._started())

    def _started(self) -> SimulatedWorker:
        number = self._numbers.take()
        page = Page(os.path.join(self._folder, b"%d.page" % number))
        page.announce(0, [])
        worker = SimulatedWorker(number, page)
        durable = SimulatedDurable(
            "worker", self._machine.disk, self._machine, sync=self.plan.durability == "power"
        )
        worker.executor = Executor(self.plan, REGISTRY, durable)
        worker.inspector = Inspector(self.plan)
        self._all.append(worker)
        return worker

    @property
    def idle(self) -> int:
        return len(self._here)

    def expect(self) -> None:
        """They start when they are wanted."""

    async def run(
        self, build: Callable[[int], Any], deadline: float, patience: float = 0.0
    ) -> tuple[Any, str]:
        async with self._room:
            self._working += 1
            try:
                return await self._run(build, deadline)
            finally:
                self._working -= 1

    async def _run(self, build: Callable[[int], Any], deadline: float) -> tuple[Any, str]:
        if not self._here:
            await asyncio.sleep(self._chance.uniform(0.1, 0.4))
            if self._machine.strikes_start():
                raise SystemFault("a worker cannot be started: played")
            self._here.append(self._started())
        worker = self._here.pop()
        self._jobs += 1
        job = self._jobs
        message = frames.unpack_to_worker(frames.pack(build(job))[4:])
        try:
            await asyncio.sleep(self._chance.choice((0.0, 0.001, 0.05)))
            fate = self._machine.strikes_job(message)
            try:
                reply = worker.answer(message)
            except WorkerEnd:
                fate = "dies"
                reply = None
            self._machine.tell("worker", f"{worker.number} {type(message).__name__} {fate}")
            if fate == "hangs":
                await asyncio.sleep(deadline + 1.0)
                raise self._lost(worker, job, f"timed out after {deadline:g}s")
            if fate == "late" and reply is not None:
                self._machine.answers_late(message, reply)
                raise self._lost(worker, job, "given up, and not yet dead")
            if fate == "dies":
                await asyncio.sleep(self._chance.choice((0.0, 0.01)))
                raise self._lost(worker, job, "killed by signal 9")
            if isinstance(message, frames.Execute):
                self._machine.runs_again(message)
            await asyncio.sleep(self._chance.choice((0.0, 0.001, 0.05, 1.0)))
            reply = frames.unpack_from_worker(frames.pack(reply)[4:])
        except asyncio.CancelledError:
            self._end(worker)
            raise
        if isinstance(message, frames.Execute | frames.CutUp | frames.ExecuteChunk):
            worker.page.announce(job, [])
        self._here.append(worker)
        return reply, ""

    def _lost(self, worker: SimulatedWorker, job: int, reason: str) -> WorkerDied:
        announced = worker.page.read()
        if announced.job != job:
            announced = Announcement(job=job)
        self._end(worker)
        self._emit(
            WorkerLost(
                at_ns=self._clock.wall_ns(),
                worker=worker.number,
                pid=worker.number,
                reason=reason,
                held=len(announced.runs),
            )
        )
        return WorkerDied(reason, announced, "")

    def _end(self, worker: SimulatedWorker) -> None:
        if worker in self._all:
            self._all.remove(worker)
            self._numbers.give(worker.number)
            worker.page.close()
            if worker.executor is not None:
                worker.executor.chunks.release()

    async def stop(self) -> None:
        self._stopping = True
        for worker in list(self._all):
            self._end(worker)
        self._here.clear()
