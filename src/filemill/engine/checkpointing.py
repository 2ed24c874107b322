"""Committing a chunked run's checkpoints beside its work: nobody waits for a commit, and grouping comes by itself.

A checkpoint that is not committed yet costs no more than its chunk, which is done again after a crash. What one
makes superfluous goes only when it is committed.
"""

from __future__ import annotations

import asyncio
import functools

from filemill.engine.states import Carried, discard
from filemill.engine.trouble import Trouble
from filemill.ports.ledger import Checkpoint, Ledger


class Checkpoints:
    """Takes one run's checkpoints in order and commits those that wait, together."""

    def __init__(self, ledger: Ledger, trouble: Trouble) -> None:
        self._ledger = ledger
        self._trouble = trouble
        self._waiting: list[tuple[Checkpoint, Carried | None]] = []
        self._task: asyncio.Task[None] | None = None
        self.refused = False
        """The run's fence no longer held: it is somebody else's."""

    def put(self, checkpoint: Checkpoint, superfluous: Carried | None) -> None:
        """Have it committed soon; then the state that stood before it is removed."""
        self._waiting.append((checkpoint, superfluous))
        if self._task is None or self._task.done():
            self._raise()
            self._task = asyncio.create_task(self._commit(), name="checkpoint")

    async def settled(self) -> None:
        """Return when all that was put is committed.

        Raises:
            LedgerSyncError: a commit's fate is unknown.
        """
        if self._task is not None:
            await self._task

    def _raise(self) -> None:
        if self._task is not None:
            self._task.result()

    async def _commit(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            checkpoints = [checkpoint for checkpoint, _ in group]
            kept = await self._trouble.insist(
                "ledger", functools.partial(self._ledger.checkpoint, checkpoints)
            )
            self.refused |= not all(kept)
            for _, superfluous in group:
                if superfluous is not None:
                    await asyncio.to_thread(discard, superfluous)
