"""One running worker as the server sees it: its process, its socket, its page, what it printed."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque

import msgspec

from filemill.engine import frames
from filemill.engine.announcing import Announcement, Page
from filemill.engine.spawning import STOP_GRACE, Spawned, end_now
from filemill.ports.clock import Clock

KEPT_OUTPUT = 64 << 10
"""Bytes of a job's output that are kept: its end, where the trouble usually is."""
_READ = 64 << 10
_READS = 32
"""Reads in one go: a worker that prints without an end must not have the event loop to itself."""


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


class Numbers:
    """The numbers of workers, the lowest that is free first: each has its page and its work folder by it."""

    def __init__(self) -> None:
        self._taken: set[int] = set()

    def take(self) -> int:
        """A number that nobody has."""
        number = next(n for n in range(1, len(self._taken) + 2) if n not in self._taken)
        self._taken.add(number)
        return number

    def give(self, number: int) -> None:
        """Let it be taken again."""
        self._taken.discard(number)


class Slot:
    """One running worker and what we know of it."""

    def __init__(self, number: int, spawned: Spawned, page: Page, clock: Clock) -> None:
        self.number = number
        self.keeper = spawned.keeper
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


async def receive(reader: asyncio.StreamReader) -> frames.FromWorker:
    """The next frame a worker sends."""
    length = frames.body_length(await reader.readexactly(4))
    return frames.unpack_from_worker(await reader.readexactly(length))


def reap(slot: Slot) -> None:
    """Wait a grace time for the end of a worker that was let go, then end it."""
    with contextlib.suppress(Exception):
        slot.keeper.wait(STOP_GRACE)
    end_now(slot.keeper)
