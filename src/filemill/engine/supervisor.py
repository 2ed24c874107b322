"""The worker pool: starts, feeds, watches, recycles and ends worker processes.

Why our own: pools from the shelf lose everything that is queued when one process is killed, or break for
ever when an idle one dies. Here every worker has its own socket pair, so a killed worker costs only the one
job it held, and the announcement page says which run of that job to charge.

Life of a slot: starting -> idle -> busy -> idle ... -> gone. One worker stays warm; others start when work
waits and leave after `IDLE_LEAVES` seconds without any. A worker that outgrows `max_resident`, has served `max_jobs`
or says that it is spent is replaced after its job. One that misses its deadline, or holds, with all that its step
started, more memory or disk than it may, is ended in the middle of it. Everything here runs in the server's event loop,
but for the measuring of work folders.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Callable

import msgspec

from filemill.engine import frames
from filemill.engine.announcing import Announced, Announcement, Page
from filemill.engine.processes import descendants_of, memory_of
from filemill.engine.spawning import (
    STOP_GRACE,
    Spawned,
    ask_to_end,
    describe_exit,
    end_now,
    environment_for,
    spawn,
)
from filemill.engine.trouble import advice
from filemill.engine.work import measure, remove, remove_all, set_aside, work_folder
from filemill.model.errors import SystemFault
from filemill.model.events import Emit, WorkerLost, WorkerStarted
from filemill.model.plan import Plan
from filemill.ports.clock import Clock
from filemill.ports.units import format_size

IDLE_LEAVES = 30.0
WATCH_EVERY = 0.25
START_LIMIT = 60.0
KEPT_OUTPUT = 64 << 10
"""Bytes of a job's output that are kept: its end, where the trouble usually is."""
_READ = 64 << 10
_READS = 32
"""Reads in one go: a worker that prints without an end must not have the event loop to itself."""
_OUT_OF_MEMORY = ("memory allocation of ", "std::bad_alloc", "MemoryError", "out of memory")
"""What native code and the interpreter say when an allocation is refused."""


class WorkerDied(Exception):
    """The worker ended before it answered; `announced` says whom to charge."""

    def __init__(self, reason: str, announced: Announcement, output: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.announced = announced
        self.output = output


class Limits(msgspec.Struct, frozen=True):
    """How many workers, and when one is replaced. Bytes and counts."""

    workers: int
    max_jobs: int = 5_000
    max_resident: int = 1 << 30


class _Slot:
    """One running worker and what we know of it."""

    def __init__(self, number: int, spawned: Spawned, page: Page, clock: Clock) -> None:
        self.number = number
        self.process = spawned.process
        self.connection = spawned.connection
        self.output_pipe = spawned.output
        self.page = page
        self.output: deque[bytes] = deque()
        self.output_size = 0
        self.jobs = 0
        self.job = 0
        self.deadline = 0.0
        self.sequence = 0
        self.moved_at = clock.monotonic()
        self.idle_since = self.moved_at
        self.killed_for = ""
        self.asked_at = 0.0
        """When it was asked to end; 0: it was not."""
        self.pid = 0
        """Of the worker itself, below its keeper."""
        self.work = b""
        self.measuring: asyncio.Future[None] | None = None
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    def drain_output(self) -> None:
        """Read what the worker printed; keep the end of it."""
        for _ in range(_READS):
            try:
                data = os.read(self.output_pipe, _READ)
            except BlockingIOError:
                return
            if not data:
                asyncio.get_running_loop().remove_reader(self.output_pipe)
                return
            self.output.append(data)
            self.output_size += len(data)
            while self.output_size - len(self.output[0]) >= KEPT_OUTPUT:
                self.output_size -= len(self.output.popleft())

    def take_output(self) -> str:
        """What was printed since the last call, its last 64 KiB."""
        self.drain_output()
        text = b"".join(self.output)[-KEPT_OUTPUT:].decode("utf-8", "backslashreplace")
        self.output.clear()
        self.output_size = 0
        return text


class WorkerPool:
    """Runs jobs on worker processes. `start` once, `run` any number of times at once, `stop` once."""

    def __init__(self, plan: Plan, folder: bytes, limits: Limits, clock: Clock, emit: Emit) -> None:
        self.plan = plan
        self.limits = limits
        self._folder = folder
        self._clock = clock
        self._emit = emit
        self._slots: dict[int, _Slot] = {}
        self._idle: deque[_Slot] = deque()
        self._waiting: deque[asyncio.Future[_Slot]] = deque()
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
    def capacity(self) -> int:
        """How many more jobs could begin soon: idle or not yet started workers, less those promised."""
        busy = len(self._slots) - len(self._idle)
        return self.limits.workers - busy - len(self._waiting)

    @property
    def busy(self) -> int:
        """Workers holding a job now."""
        return len(self._slots) - len(self._idle)

    async def start(self) -> None:
        """Start the first worker and return when it answers.

        Raises:
            SystemFault: no worker can be started, with the worker's own words as help.
        """
        os.makedirs(self._folder, 0o700, exist_ok=True)
        await asyncio.to_thread(remove_all, self._folder)
        self._watch = asyncio.create_task(self._watchdog(), name="worker watchdog")
        self._release(await self._start_slot())

    async def run(
        self, build: Callable[[int], frames.ToWorker], deadline: float
    ) -> tuple[frames.FromWorker, str]:
        """Do one job: waits for a worker, sends `build(job number)`, answers the reply and what was printed.

        `deadline` is the longest the worker may go, in seconds, without announcing a run or a step; a step's own
        timeout, said when it begins, takes its place.

        Raises:
            WorkerDied: the worker died, was killed for its deadline, or sent garbage.
            SystemFault: no worker can be started.
        """
        slot = await self._acquire()
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
            reply = await _receive(slot.reader)
            healthy = not isinstance(reply, frames.Broken)
        except (asyncio.IncompleteReadError, ConnectionError, frames.FrameError) as error:
            raise self._bury(slot, error) from None
        except asyncio.CancelledError:
            self._bury(slot, None, ours=True)
            raise
        if isinstance(reply, frames.Broken):
            slot.killed_for = reply.error
            raise self._bury(slot, None)
        output = slot.take_output()
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
        await asyncio.gather(*(asyncio.to_thread(_reap, slot) for slot in slots))
        for slot in slots:
            self._forget(slot)
        for waiting in self._waiting:
            waiting.cancel()

    async def _acquire(self) -> _Slot:
        while self._idle:
            # The most recently used: its caches are warm, and the others grow old enough to leave.
            slot = self._idle.pop()
            if slot.process.poll() is None:
                return slot
            self._bury(slot, None)
        promised: asyncio.Future[_Slot] = asyncio.get_running_loop().create_future()
        self._waiting.append(promised)
        self._grow()
        return await promised

    def _grow(self) -> None:
        wanted = min(len(self._waiting) - len(self._starting), self.limits.workers)
        room = self.limits.workers - len(self._slots) - len(self._starting)
        for _ in range(min(wanted, room)):
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

    async def _start_slot(self) -> _Slot:
        used = set(self._slots)
        number = next(n for n in range(1, self.limits.workers + 2) if n not in used)
        path = os.path.join(self._folder, b"%d.page" % number)
        try:
            page = Page(path)
            page.announce(0, [])
            plan = self.plan
            environment = environment_for(os.environ, plan.worker_environment, plan.secrets)
            slot = _Slot(number, spawn(path, plan.root, environment), page, self._clock)
            slot.work = work_folder(path)
        except OSError as error:  # no space for the page, no file descriptor or process left
            raise SystemFault(f"a worker cannot be started: {error}", help=advice(error)) from error
        self._slots[number] = slot
        try:
            slot.reader, slot.writer = await asyncio.open_connection(
                sock=slot.connection, limit=1 << 20
            )
            asyncio.get_running_loop().add_reader(slot.output_pipe, slot.drain_output)
            slot.writer.write(frames.pack(frames.Setup(self.plan)))
            async with asyncio.timeout(START_LIMIT):
                reply = await _receive(slot.reader)
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

    def _release(self, slot: _Slot) -> None:
        slot.job = 0
        slot.idle_since = self._clock.monotonic()
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(slot)
                return
        self._idle.append(slot)

    def _retire(self, slot: _Slot) -> None:
        """Let a worker go in peace: it ends when its socket closes."""
        slot.writer.close()
        self._forget(slot)
        asyncio.get_running_loop().run_in_executor(None, _reap, slot)
        self._grow()

    def _bury(self, slot: _Slot, error: Exception | None, *, ours: bool = False) -> WorkerDied:
        """End a worker that failed, or that we end (`ours`, no news); answers why, and whom to charge."""
        code = slot.process.poll()
        if code is None and error is not None:
            # Its socket closed a moment before the process ended: its own exit code is the better reason.
            with contextlib.suppress(Exception):
                code = slot.process.wait(timeout=0.2)
        killed = end_now(slot.process)
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
                    pid=slot.pid or slot.process.pid,
                    reason=reason,
                    held=0 if announced.kind is Announced.NOTHING else 1,
                )
            )
        if not self._stopping:
            self._grow()
        return WorkerDied(reason, announced, output)

    def _forget(self, slot: _Slot) -> None:
        self._slots.pop(slot.number, None)
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
                    self._check_deadline(slot, now)
                    self._check_memory(slot)
                    self._check_work(slot)
                    if slot.asked_at and now - slot.asked_at > STOP_GRACE:
                        # Its socket closes with it, and whoever waits for its answer buries it.
                        slot.process.terminate()
            for slot in list(self._idle):
                if slot.process.poll() is not None:
                    self._bury(slot, None)
                elif now - slot.idle_since > IDLE_LEAVES and len(self._slots) > 1:
                    self._retire(slot)

    def _check_deadline(self, slot: _Slot, now: float) -> None:
        sequence, allowed = slot.page.glance()
        if sequence != slot.sequence:
            slot.sequence = sequence
            slot.moved_at = now
        deadline = allowed or slot.deadline
        if now - slot.moved_at > deadline and not slot.killed_for:
            slot.killed_for = f"timed out after {deadline:g}s"
            slot.asked_at = now
            ask_to_end(slot.process)

    def _check_memory(self, slot: _Slot) -> None:
        """The kernel holds the worker itself to its limit; what its step started is seen only here."""
        limit = self.plan.worker_memory
        if not limit or not slot.pid or slot.killed_for:
            return
        held = sum(memory_of(each) for each in descendants_of(slot.process.pid))
        if held > limit:
            slot.killed_for = f"out of memory: it held {format_size(held)}, `worker_memory` allows {format_size(limit)}"
            slot.process.terminate()

    def _check_work(self, slot: _Slot) -> None:
        """Have its work folder measured, in a thread: a step may put any number of files there."""
        if slot.killed_for or (slot.measuring is not None and not slot.measuring.done()):
            return
        slot.measuring = asyncio.ensure_future(self._measure(slot, slot.job))

    async def _measure(self, slot: _Slot, job: int) -> None:
        used, free = await asyncio.to_thread(measure, slot.work, self.plan.max_work)
        if slot.job != job or slot.killed_for or used <= min(self.plan.max_work, free):
            return
        allowed = (
            f"`max_work` allows {format_size(self.plan.max_work)}"
            if used > self.plan.max_work
            else f"only {format_size(free)} are left on its disk"
        )
        slot.killed_for = f"its work folder grew to {format_size(used)}, {allowed}"
        slot.process.terminate()


async def _receive(reader: asyncio.StreamReader) -> frames.FromWorker:
    length = frames.body_length(await reader.readexactly(4))
    return frames.unpack_from_worker(await reader.readexactly(length))


def _reap(slot: _Slot) -> None:
    with contextlib.suppress(Exception):
        slot.process.wait(timeout=STOP_GRACE)
    end_now(slot.process)
