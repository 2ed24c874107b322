"""The chunks of one big file that workers have in hand, and those that came back and are not joined yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from filemill.engine.chunks import ChunkDone
from filemill.records.layout import Hints


class Came(msgspec.Struct):
    """A chunk that came back from its worker."""

    done: ChunkDone
    given: Hints
    """What it was given to know."""
    output: str

    @property
    def failed(self) -> bool:
        """It ends the run."""
        return self.done.result.failure is not None


class InHand:
    """Chunks by number. Everything here happens in the event loop."""

    def __init__(self) -> None:
        self.came: dict[int, Came] = {}
        """Answered, not joined."""
        self._working: dict[asyncio.Task[Came], int] = {}

    def __len__(self) -> int:
        return len(self._working)

    def begin(self, number: int, work: Coroutine[Any, Any, Came]) -> None:
        """Have a worker work on a chunk."""
        self._working[asyncio.create_task(work, name="chunk")] = number

    async def wait(self) -> None:
        """Wait until some worker answers.

        Raises:
            WorkerDied: a worker was lost over a chunk.
            SystemFault: the machine's own.
        """
        await asyncio.wait(self._working, return_when=asyncio.FIRST_COMPLETED)
        self._collect()
        for task in self._working:
            if task.done():
                task.result()  # it raises

    async def while_feeding(
        self, work: Coroutine[Any, Any, None], feed: Callable[[], None]
    ) -> None:
        """Do work on the disk; whenever a worker answers meanwhile, `feed` may give it the next chunk."""
        doing = asyncio.ensure_future(work)
        try:
            while not doing.done():
                busy = [task for task in self._working if not task.done()]
                await asyncio.wait({doing, *busy}, return_when=asyncio.FIRST_COMPLETED)
                self._collect()
                if not any(
                    task.done() for task in self._working
                ):  # else one failed, which `wait` tells
                    feed()
        except asyncio.CancelledError:
            # A thread cannot be stopped, and what it writes to is closed next.
            await asyncio.wait({doing})
            raise
        await doing

    def cancel(self) -> None:
        """Have workers stop."""
        for task in self._working:
            task.cancel()

    async def settle(self) -> list[Came]:
        """Wait for what workers hold; all that was not joined, which is nobody's any more."""
        working, self._working = self._working, {}
        answers = await asyncio.gather(*working, return_exceptions=True)
        left = [*self.came.values(), *(each for each in answers if isinstance(each, Came))]
        self.came.clear()
        return left

    def _collect(self) -> None:
        """Take what was answered; a task that failed stays."""
        for task in [task for task in self._working if task.done()]:
            if not task.cancelled() and task.exception() is None:
                self.came[self._working.pop(task)] = task.result()
