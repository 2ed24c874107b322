"""Retention in a running server: a pass every hour, in the background, that gives way to work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from filemill.engine.trouble import Trouble
from filemill.intake.retention import Retention, Swept, cutoffs_of
from filemill.model.errors import LedgerSyncError, SystemFault
from filemill.model.events import Emit, RetentionApplied
from filemill.model.plan import Plan
from filemill.ports.clock import Clock

FIRST = 10.0
"""Seconds after the start; a server that is started more often than every hour would else never come to it."""
EVERY = 3_600.0
IDLE_SHARE = 1.0
BUSY_SHARE = 4.0
"""Under load each step is followed by a pause of four times its length: a fifth of one core at most, and far less of
the ledger's writer."""
_LEAST_PAUSE = 0.01


class Tidier:
    """Applies `retention:` by itself. `start` once, then `stop`."""

    def __init__(
        self,
        *,
        plan: Callable[[], Plan],
        retention: Retention,
        clock: Clock,
        emit: Emit,
        trouble: Trouble,
        busy: Callable[[], bool],
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self._plan = plan
        self._retention = retention
        self._clock = clock
        self._emit = emit
        self._trouble = trouble
        self._busy = busy
        self._on_fatal = on_fatal
        self._task: asyncio.Task[None] | None = None
        self._stepped = 0.0

    def start(self) -> None:
        """Begin; the first pass comes a moment later."""
        self._task = asyncio.create_task(self._work(), name="retention")

    async def stop(self) -> None:
        """End between two steps. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def sweep(
        self,
        older_than: float | None = None,
        told: Callable[[Swept], None] = lambda _: None,
    ) -> Swept:
        """One pass now, at once; a pass in the background is waited for.

        Raises:
            SystemFault: the ledger cannot be written.
            OSError: bytes could not be removed.
        """
        plan = self._plan()
        swept = await self._retention.sweep(
            cutoffs_of(plan.retention, self._clock.wall_ns(), older_than),
            current=plan.revision,
            told=told,
        )
        self._say(swept)
        return swept

    async def _work(self) -> None:
        await asyncio.sleep(FIRST)
        while True:
            try:
                await self._pass()
            except LedgerSyncError as error:
                self._on_fatal(error)
                return
            await asyncio.sleep(EVERY)

    async def _pass(self) -> None:
        """One pass; trouble of the machine is waited out, for the next pass begins where this one ended."""
        plan = self._plan()
        while True:
            self._stepped = self._clock.monotonic()
            try:
                swept = await self._retention.sweep(
                    cutoffs_of(plan.retention, self._clock.wall_ns()),
                    current=plan.revision,
                    pause=self._give_way,
                )
            except LedgerSyncError:
                raise
            except (SystemFault, OSError) as error:
                await self._trouble.wait("retention", error)
                continue
            self._trouble.over("retention")
            self._say(swept)
            return

    async def _give_way(self) -> None:
        took = self._clock.monotonic() - self._stepped
        share = BUSY_SHARE if self._busy() else IDLE_SHARE
        await asyncio.sleep(max(_LEAST_PAUSE, took * share))
        self._stepped = self._clock.monotonic()

    def _say(self, swept: Swept) -> None:
        if swept.files or swept.forgotten:
            self._emit(
                RetentionApplied(
                    at_ns=self._clock.wall_ns(),
                    files=swept.files,
                    bytes=swept.bytes,
                    forgotten=swept.forgotten,
                    rows=swept.rows,
                )
            )
