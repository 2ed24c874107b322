"""Claims that are neither finished nor undone, because the disk failed within one and again when it was undone.

Their rows stay in CLAIMING and their bytes where they are. They are settled as after a crash (`recovery`), again and
again, each time after a longer pause, until the disk lets them be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from filemill.intake.recovery import Settled
from filemill.model.errors import LedgerSyncError, SystemFault
from filemill.model.files import Claim

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0


class Unfinished:
    """Claims to be settled later. In one event loop.

    `settle` does it, `finished` is told those that are acknowledged now, and `trouble` why it could not be done. `over`
    is called with the task when none is left, or when it ended by an error: a commit's fate is unknown.
    """

    def __init__(
        self,
        settle: Callable[[Sequence[Claim]], Awaitable[Settled]],
        finished: Callable[[list[Claim]], None],
        trouble: Callable[[SystemFault], None],
        over: Callable[[asyncio.Task[None]], None],
    ) -> None:
        self._settle = settle
        self._finished = finished
        self._trouble = trouble
        self._over = over
        self._claims: list[Claim] = []
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many there are."""
        return len(self._claims)

    def put(self, claims: Sequence[Claim]) -> None:
        """Settle these as soon as the disk lets us."""
        self._claims += claims
        if self._claims and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._work(), name="unfinished claims")
            self._task.add_done_callback(self._over)

    async def stop(self) -> None:
        """Leave what there is to the next start. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._claims = []

    async def _work(self) -> None:
        pause = FIRST_PAUSE
        while self._claims:
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            claims = list(self._claims)
            try:
                settled = await self._settle(claims)
            except LedgerSyncError:
                raise
            except SystemFault as fault:
                self._trouble(fault)
                continue
            self._claims = [*settled.stuck, *self._claims[len(claims) :]]
            if settled.whole:
                self._finished(settled.whole)
