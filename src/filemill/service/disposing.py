"""Applying `after:` to files whose last run ended: in the background, in groups, ledger first.

It may fall behind: a busy server removes some hundred files a second, and finishes thousands. So of those it is told
no more than `MOST` wait here, and of the others the ledger knows: they come when there is time, or at the next start.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Callable, Sequence

from filemill.engine.trouble import Trouble
from filemill.intake.dispose import dispose
from filemill.model.errors import LedgerSyncError
from filemill.model.events import Emit
from filemill.ports.clock import Clock
from filemill.ports.content import Content
from filemill.ports.ledger import Ledger

LAST_DISPOSALS = 5.0
"""Seconds that it gets at the end; what is left is found in the ledger at the next start."""
GROUP = 500
"""Files of one commit: a stop waits for the one under way."""
MOST = 20_000
"""Files that are told of and wait in memory, and that are looked through at once in the ledger."""


class Disposer:
    """Takes files that may have come to their end; one group at a time is disposed of."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        content: Content,
        clock: Clock,
        emit: Emit,
        trouble: Trouble,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self._ledger = ledger
        self._content = content
        self._clock = clock
        self._emit = emit
        self._trouble = trouble
        self._on_fatal = on_fatal
        self._ended: deque[str] = deque()
        self._place = 0
        """Where in the ledger it is, of a pass over files that nobody told it of, or too many; 0: in none."""
        self._behind = False
        """Whether there may be some that a pass has to look for."""
        self._task: asyncio.Task[None] | None = None

    def put(self, files: Sequence[str]) -> None:
        """Take over files whose last run ended."""
        room = MOST - len(self._ended)
        self._ended.extend(files[:room])
        self._behind |= len(files) > room
        self._begin()

    def look(self) -> None:
        """Take over what the server before left, too."""
        self._behind = True
        self._begin()

    async def idle(self) -> None:
        """Return when all of them are disposed of."""
        if self._task is not None:
            await self._task

    async def stop(self) -> None:
        """Finish what can be finished soon."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=LAST_DISPOSALS)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _begin(self) -> None:
        if (self._ended or self._behind) and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._dispose(), name="dispose")

    async def _dispose(self) -> None:
        while self._ended or self._place or self._behind:
            try:
                if not self._ended:
                    await self._trouble.insist("ledger", self._look_on)
                    continue
                files = [self._ended.popleft() for _ in range(min(GROUP, len(self._ended)))]
                await self._trouble.insist("ledger", functools.partial(self._dispose_of, files))
            except OSError as error:
                # The commit was made, so the bytes that stayed go with the sweep of the next start.
                await self._trouble.wait("content", error)
                self._trouble.over("content")
            except LedgerSyncError as error:
                self._on_fatal(error)
                return

    async def _look_on(self) -> None:
        if not self._place:
            self._behind = False
        self._place, files = await self._ledger.undisposed(self._place, MOST)
        self._ended.extend(files)

    async def _dispose_of(self, files: list[str]) -> None:
        await dispose(
            await self._ledger.disposable(files),
            ledger=self._ledger,
            content=self._content,
            clock=self._clock,
            emit=self._emit,
        )
