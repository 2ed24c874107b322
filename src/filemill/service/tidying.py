"""Retention in a running server: a pass every hour, in the background, that gives way to work.

What is removed for being old is gone for good, so it goes by a clock that cannot jump: the time of day at the start,
and what passed since. At the start the time of day itself may be wrong. Where it says that nothing was done for more
than a week, people get a day to set it: a server that was off so long can wait as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from filemill.engine.trouble import Trouble
from filemill.intake.retention import Retention, Swept, cutoffs_of
from filemill.model.deeds import Deed
from filemill.model.errors import LedgerSyncError, SystemFault, UsageError
from filemill.model.events import Emit, RetentionApplied, RetentionWaits
from filemill.model.plan import Plan
from filemill.ports.clock import Clock, Steady
from filemill.ports.ledger import Ledger
from filemill.service import acts, replies

FIRST = 10.0
"""Seconds after the start; a server that is started more often than every hour would else never come to it."""
EVERY = 3_600.0
AWAY = 7 * 86_400.0
"""Seconds without any work behind which the clock is not believed at once."""
PATIENCE = 86_400.0
"""Seconds until it is."""
IDLE_SHARE = 1.0
BUSY_SHARE = 4.0
"""Under load each step is followed by a pause of four times its length: a fifth of one core at most, and far less of
the ledger's writer."""
_LEAST_PAUSE = 0.01
_ANSWER_WITHIN = 0.5


class Tidier:
    """Applies `retention:` by itself. `start` once, then `stop`."""

    def __init__(
        self,
        *,
        plan: Callable[[], Plan],
        ledger: Ledger,
        retention: Retention,
        expire: Callable[[int], Awaitable[None]],
        clock: Clock,
        emit: Emit,
        trouble: Trouble,
        busy: Callable[[], bool],
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self._plan = plan
        self._ledger = ledger
        self._retention = retention
        self._expire = expire
        self._clock = clock
        self._steady = Steady(clock)
        self._emit = emit
        self._trouble = trouble
        self._busy = busy
        self._on_fatal = on_fatal
        self._task: asyncio.Task[None] | None = None
        self._stepped = 0.0
        self._asked: asyncio.Task[Swept] | None = None
        """The pass that a person asked for last."""
        self._told = Swept()

    def start(self) -> None:
        """Begin; the first pass comes a moment later."""
        self._task = asyncio.create_task(self._work(), name="retention")

    async def stop(self) -> None:
        """End between two steps. Idempotent."""
        tasks = [task for task in (self._task, self._asked) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._task = self._asked = None

    async def apply(self, act: acts.ApplyRetention, principal: str) -> replies.Collected:
        """Begin a pass that a person asked for, or say how far it is; answers within about a second.

        A pass in the background is waited for.

        Raises:
            UsageError: no pass was begun, or another one is not over.
            SystemFault: it failed.
        """
        if act.begin:
            if self._asked is not None and not self._asked.done():
                raise UsageError(
                    "somebody else's gc is at work in this server", help="wait until it is over"
                )
            self._told = Swept()
            self._asked = asyncio.create_task(self._sweep_now(act, principal), name="retention now")
        if self._asked is None:
            raise UsageError("no gc was begun in this server")
        await asyncio.wait({self._asked}, timeout=_ANSWER_WITHIN)
        over = self._asked.done()
        if over:
            try:
                self._told = self._asked.result()
            except OSError as error:
                raise SystemFault(f"what the ledger gave up cannot be removed: {error}") from error
        return collected(self._told, over=over)

    async def _sweep_now(self, act: acts.ApplyRetention, principal: str) -> Swept:
        plan, now = self._plan(), self._clock.wall_ns()

        def tell(done: Swept) -> None:
            self._told = done

        span = "" if act.older_than is None else f"older than {act.older_than:g}s"
        await self._ledger.note("gc", ["retention"], span, Deed(principal, now, act.reason))
        swept = await self._retention.sweep(
            cutoffs_of(plan.retention, now, act.older_than), current=plan.revision, told=tell
        )
        self._say(swept)
        return swept

    async def _work(self) -> None:
        try:
            away = self._clock.wall_ns() - await self._worked_until()
        except LedgerSyncError as error:
            self._on_fatal(error)
            return
        if away > AWAY * 1e9:
            self._emit(
                RetentionWaits(
                    at_ns=self._clock.wall_ns(), away_ns=away, waits_ns=int(PATIENCE * 1e9)
                )
            )
            await asyncio.sleep(PATIENCE)
            # By then somebody may have set it.
            self._steady = Steady(self._clock)
        await asyncio.sleep(FIRST)
        while True:
            try:
                await self._pass()
            except LedgerSyncError as error:
                self._on_fatal(error)
                return
            await asyncio.sleep(EVERY)

    async def _worked_until(self) -> int:
        """When anything was done last; now, where nothing ever was, and there is nothing to remove either."""
        found = await self._trouble.insist("retention", self._retention.worked_until_ns)
        return found or self._clock.wall_ns()

    def _now_ns(self) -> int:
        """What the clock says, but never more than it can be."""
        return min(self._clock.wall_ns(), self._steady.ns())

    async def _pass(self) -> None:
        """One pass; trouble of the machine is waited out, for the next pass begins where this one ended."""
        plan = self._plan()
        while True:
            self._stepped = self._clock.monotonic()
            try:
                await self._expire(self._now_ns())
                swept = await self._retention.sweep(
                    cutoffs_of(plan.retention, self._now_ns()),
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


def collected(swept: Swept, *, over: bool) -> replies.Collected:
    """A pass, as the control socket tells of it."""
    return replies.Collected(
        files=swept.files,
        bytes=swept.bytes,
        forgotten=swept.forgotten,
        rows=swept.rows,
        looked=swept.looked,
        over=over,
    )
