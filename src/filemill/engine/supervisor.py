"""The worker pool: starts, feeds, watches, recycles and ends worker processes.

Why our own: pools from the shelf lose everything that is queued when one process is killed, or break for
ever when an idle one dies. Here every worker has its own socket pair, so a killed worker costs only the one
job it held, and the announcement page says which run of that job to charge.

Life of a slot: starting -> idle -> busy -> idle ... -> gone. One worker stays warm; others start when work
waits (see `PATIENCE`) and leave after `IDLE_LEAVES` seconds without any. A worker that outgrows `max_resident`, has
served `max_jobs` or says that it is spent is replaced after its job. One that misses its deadline, or holds, with all
that its step started, more memory or disk than it may, is ended in the middle of it. Everything here runs in the
server's event loop, but for the measuring of work folders.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterator

from filemill.encryption.age import Sealer
from filemill.encryption.texts import seal_text
from filemill.engine import frames
from filemill.engine.allowances import check_allowances
from filemill.engine.announcing import Announced, Announcement, Page
from filemill.engine.slots import Limits, Numbers, Slot, WorkerDied, reap, receive
from filemill.engine.spawning import describe_exit, end_now, environment_for, spawn
from filemill.engine.trouble import advice
from filemill.engine.work import remove, remove_all, set_aside, work_folder
from filemill.model.errors import SystemFault
from filemill.model.events import Emit, WorkerLost, WorkerStarted
from filemill.model.plan import Plan
from filemill.ports.clock import Clock

__all__ = ["Limits", "Numbers", "WorkerDied", "WorkerPool", "make_folder"]

IDLE_LEAVES = 30.0
WATCH_EVERY = 0.25
START_LIMIT = 60.0
GROW_AFTER = 0.02
"""Seconds that work waits for a busy worker before another one is started: that takes half a second of a processor, and
most work is done sooner."""
PATIENCE = 0.5
"""The same for jobs of small files, which come in masses and are short: in a burst of 10,000 one worker and the server
fill two cores, and another worker would only take time from both."""
_OUT_OF_MEMORY = ("memory allocation of ", "std::bad_alloc", "MemoryError", "out of memory")
"""What native code and the interpreter say when an allocation is refused."""


def make_folder(folder: bytes) -> None:
    """Make the folder of pages, and remove the scratch files that the workers of a former server left."""
    os.makedirs(folder, 0o700, exist_ok=True)
    remove_all(folder)


class WorkerPool:
    """Runs jobs of one plan on worker processes. `start` once, `run` any number of times at once, `stop` once.

    Pools beside one another share their `folder` and the `numbers` of their workers.
    """

    def __init__(  # noqa: PLR0917 -- what a pool stands on
        self,
        plan: Plan,
        folder: bytes,
        limits: Limits,
        clock: Clock,
        emit: Emit,
        numbers: Numbers | None = None,
    ) -> None:
        self.plan = plan
        self.limits = limits
        self.identity = ""
        """What opens encrypted content, for workers alone."""
        self._sealer = Sealer(plan.encryption.recipients) if plan.encryption is not None else None
        self._numbers = numbers or Numbers()
        self._folder = folder
        self._clock = clock
        self._emit = emit
        self._slots: dict[int, Slot] = {}
        self._idle: deque[Slot] = deque()
        self._waiting: deque[asyncio.Future[Slot]] = deque()
        self._patient: set[asyncio.Future[Slot]] = set()
        """Of those that wait: for whom no worker is started yet, unless there is none at all."""
        self._starting: set[asyncio.Task[None]] = set()
        self._jobs = 0
        self._watch: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def _resident_limit(self) -> int:
        """Bytes a worker may still hold after its job."""
        most = self.limits.max_resident
        return min(most, self.plan.worker_memory * 3 // 4) if self.plan.worker_memory else most

    @property
    def busy(self) -> int:
        """Workers holding a job now."""
        return len(self._slots) - len(self._idle)

    @property
    def idle(self) -> int:
        """Workers that wait for a job now."""
        return len(self._idle)

    @property
    def size(self) -> int:
        """Workers there are now."""
        return len(self._slots)

    def at_work(self) -> Iterator[tuple[Slot, bool, tuple[str, ...]]]:
        """Each worker, whether it holds a job, and the runs it says it is at."""
        for slot in list(self._slots.values()):
            busy = slot not in self._idle
            yield slot, busy, slot.page.read().runs if busy else ()

    async def start(self, warm: int = 1) -> None:
        """Start the first `warm` workers, in the folder of pages, and return when they answer.

        Raises:
            SystemFault: no worker can be started, with the worker's own words as help.
        """
        self._watch = asyncio.create_task(self._watchdog(), name="worker watchdog")
        many = max(1, min(warm, self.limits.workers))
        for slot in await asyncio.gather(*(self._start_slot() for _ in range(many))):
            self._release(slot)

    async def run(
        self, build: Callable[[int], frames.ToWorker], deadline: float, patience: float = GROW_AFTER
    ) -> tuple[frames.FromWorker, str]:
        """Do one job: waits for a worker, sends `build(job number)`, answers the reply and what was printed.

        `deadline` is the longest the worker may go, in seconds, without announcing a run or a step; a step's own
        timeout, said when it begins, takes its place. Where all workers are busy, another is started after `patience`
        seconds, if there may be more.

        Raises:
            WorkerDied: the worker died, was killed for its deadline, or sent garbage.
            SystemFault: no worker can be started.
        """
        slot = await self._acquire(patience)
        self._jobs += 1
        slot.job = self._jobs
        slot.jobs += 1
        slot.deadline = deadline
        slot.moved_at = self._clock.monotonic()
        slot.take_output()
        healthy = False
        try:
            slot.writer.write(frames.pack(build(slot.job)))
            await slot.writer.drain()
            reply = await receive(slot.reader)
            healthy = not isinstance(reply, frames.Broken)
        except (asyncio.IncompleteReadError, ConnectionError, frames.FrameError) as error:
            raise self._bury(slot, error) from None
        except asyncio.CancelledError:
            self._bury(slot, None, ours=True)
            raise
        if isinstance(reply, frames.Broken):
            slot.killed_for = reply.error
            raise self._bury(slot, None)
        output = self._printed(slot)
        slot.job = 0
        spent = getattr(reply, "resident", 0) > self._resident_limit or getattr(
            reply, "spent", False
        )
        if healthy and not spent and slot.jobs < self.limits.max_jobs:
            self._release(slot)
        else:
            self._retire(slot)
        return reply, output

    async def stop(self) -> None:
        """End all workers: their sockets close, and what is left after a grace time is killed."""
        self._stopping = True
        if self._watch is not None:
            self._watch.cancel()
        for task in list(self._starting):
            task.cancel()
        slots = list(self._slots.values())
        for slot in slots:
            slot.writer.close()
        await asyncio.gather(*(asyncio.to_thread(reap, slot) for slot in slots))
        for slot in slots:
            self._forget(slot)
        for waiting in self._waiting:
            waiting.cancel()

    async def _acquire(self, patience: float) -> Slot:
        while self._idle:
            # The most recently used: its caches are warm, and the others grow old enough to leave.
            slot = self._idle.pop()
            if slot.keeper.poll() is None:
                return slot
            self._bury(slot, None)
        loop = asyncio.get_running_loop()
        promised: asyncio.Future[Slot] = loop.create_future()
        self._waiting.append(promised)
        self._patient.add(promised)
        promised.add_done_callback(self._patient.discard)
        loop.call_later(patience, self._lose_patience, promised)
        self._grow()
        return await promised

    def expect(self) -> None:
        """Much work is coming: start all workers now, beside what is done before it."""
        if not self._stopping:
            self._start(self.limits.workers - len(self._slots) - len(self._starting))

    def _lose_patience(self, promised: asyncio.Future[Slot]) -> None:
        if not promised.done():
            self._patient.discard(promised)
            self._grow()

    def _grow(self) -> None:
        urgent = sum(not each.done() for each in self._waiting) - len(self._patient)
        if not self._slots:
            urgent = max(urgent, min(1, len(self._waiting)))
        wanted = min(urgent - len(self._starting), self.limits.workers)
        room = self.limits.workers - len(self._slots) - len(self._starting)
        self._start(min(wanted, room))

    def _start(self, many: int) -> None:
        for _ in range(many):
            task = asyncio.create_task(self._start_and_release(), name="start worker")
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)

    async def _start_and_release(self) -> None:
        try:
            slot = await self._start_slot()
        except SystemFault as fault:
            while self._waiting:
                waiting = self._waiting.popleft()
                if not waiting.done():
                    waiting.set_exception(fault)
            return
        self._release(slot)

    async def _start_slot(self) -> Slot:
        number = self._numbers.take()
        path = os.path.join(self._folder, b"%d.page" % number)
        try:
            page = Page(path)
            page.announce(0, [])
            plan = self.plan
            environment = environment_for(os.environ, plan.worker_environment, plan.secrets)
            slot = Slot(number, spawn(path, plan.root, environment), page, self._clock)
            slot.work = work_folder(path)
        except OSError as error:  # no space for the page, no file descriptor or process left
            self._numbers.give(number)
            raise SystemFault(f"a worker cannot be started: {error}", help=advice(error)) from error
        self._slots[number] = slot
        try:
            slot.reader, slot.writer = await asyncio.open_connection(
                sock=slot.connection, limit=1 << 20
            )
            asyncio.get_running_loop().add_reader(slot.output_pipe, slot.drain_output)
            setup = frames.Setup(self.plan.for_workers(), self.identity)
            slot.writer.write(frames.pack(setup))
            async with asyncio.timeout(START_LIMIT):
                reply = await receive(slot.reader)
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, frames.FrameError):
            died = self._bury(slot, None)
            raise SystemFault(
                f"a worker did not start: {died.reason}", help=died.output.strip()[-2_000:]
            ) from None
        except asyncio.CancelledError:
            self._bury(slot, None, ours=True)
            raise
        if isinstance(reply, frames.Broken):
            self._bury(slot, None)
            raise SystemFault(f"a worker did not start: {reply.error}", help=reply.help)
        slot.pid = getattr(reply, "pid", 0)
        self._emit(WorkerStarted(at_ns=self._clock.wall_ns(), worker=number, pid=slot.pid))
        return slot

    def _release(self, slot: Slot) -> None:
        slot.job = 0
        slot.idle_since = self._clock.monotonic()
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(slot)
                return
        self._idle.append(slot)

    def _retire(self, slot: Slot) -> None:
        """Let a worker go in peace: it ends when its socket closes."""
        slot.writer.close()
        self._forget(slot)
        asyncio.get_running_loop().run_in_executor(None, reap, slot)
        self._grow()

    def _bury(self, slot: Slot, error: Exception | None, *, ours: bool = False) -> WorkerDied:
        """End a worker that failed, or that we end (`ours`, no news); answers why, and whom to charge."""
        code = slot.keeper.poll()
        if code is None and error is not None:
            # Its socket closed a moment before the process ended: its own exit code is the better reason.
            with contextlib.suppress(Exception):
                code = slot.keeper.wait(0.2)
        killed = end_now(slot.keeper)
        announced = slot.page.read()
        output = slot.take_output()
        reason = slot.killed_for or describe_exit(code if code is not None else killed)
        if not slot.killed_for and any(said in output[-4_000:] for said in _OUT_OF_MEMORY):
            reason = f"out of memory ({reason})"
        if announced.job != slot.job:
            announced = Announcement(job=slot.job)
        self._forget(slot)
        if not (self._stopping or ours):
            self._emit(
                WorkerLost(
                    at_ns=self._clock.wall_ns(),
                    worker=slot.number,
                    pid=slot.pid or slot.keeper.pid,
                    reason=reason,
                    held=0 if announced.kind is Announced.NOTHING else 1,
                )
            )
        if not self._stopping:
            self._grow()
        if slot.job and self._sealer is not None:
            output = seal_text(output, self._sealer)
        return WorkerDied(reason, announced, output)

    def _printed(self, slot: Slot) -> str:
        """What the job's steps printed: it may quote content, so it is sealed where content is."""
        output = slot.take_output()
        return output if self._sealer is None else seal_text(output, self._sealer)

    def _forget(self, slot: Slot) -> None:
        if self._slots.pop(slot.number, None) is not None:
            self._numbers.give(slot.number)
        if slot.measuring is not None:
            slot.measuring.cancel()
        with contextlib.suppress(ValueError):
            self._idle.remove(slot)
        if slot.output_pipe >= 0:
            asyncio.get_running_loop().remove_reader(slot.output_pipe)
            os.close(slot.output_pipe)
            slot.output_pipe = -1
        slot.page.close()
        aside = set_aside(slot.work)
        if aside is not None:
            asyncio.get_running_loop().run_in_executor(None, remove, aside)
        writer = getattr(slot, "writer", None)
        if writer is None:
            slot.connection.close()
        else:
            writer.close()

    async def _watchdog(self) -> None:
        """Kill what missed its deadline, notice what died in idleness, let the superfluous go."""
        while True:
            await asyncio.sleep(WATCH_EVERY)
            now = self._clock.monotonic()
            for slot in list(self._slots.values()):
                if slot.job:
                    check_allowances(slot, self.plan, now)
            for slot in list(self._idle):
                if slot.keeper.poll() is not None:
                    self._bury(slot, None)
                elif now - slot.idle_since > IDLE_LEAVES and len(self._slots) > 1:
                    self._retire(slot)
