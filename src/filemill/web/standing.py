"""How all stands, for whoever asks: from counts that the ledger keeps, or that were made a moment ago.

For all files and for those of some sources the ledger keeps counts. For several pipelines nobody does: how many files
are done depends on which of a file's runs one sees. These are counted, at the cost of the files there are, in the
background and never for a twentieth of the time, and the answer says when it was.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from filemill.model.access import Principal
from filemill.ports.access import Scope
from filemill.queries import FileCounts, Queries, Status, scope_of

AGE = 5.0
"""Seconds for which such counts are shown before they are made anew, at least."""
SHARE = 20
"""Counts that took t seconds are shown for `SHARE` * t."""
MOST = 64
"""Scopes whose counts are remembered."""


class Read(Protocol):
    """Asks the ledger for a principal."""

    def __call__(
        self, question: Callable[[Queries], Any], principal: Principal | None = None
    ) -> Awaitable[Any]:
        """What the ledger says."""
        ...


class _Counted:
    """What was counted for one scope."""

    def __init__(self, counts: FileCounts, took: float) -> None:
        self.counts = counts
        self._until = time.monotonic() + max(AGE, SHARE * took)

    @property
    def old(self) -> bool:
        """Whether it is time to count again."""
        return time.monotonic() > self._until


class StandingCounts:
    """Answers how all stands. In one event loop."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._counted: dict[Scope, _Counted] = {}
        self._counting: dict[Scope, asyncio.Task[None]] = {}

    async def of(self, principal: Principal) -> Status:
        """How all stands that this principal may see.

        Raises:
            FilemillError: the ledger cannot be read.
        """
        scope = scope_of(principal)
        while True:
            known = self._counted.get(scope)
            counts = None if known is None else known.counts
            status: Status | None = await self._read(
                functools.partial(Queries.quick_status, counted=counts), principal
            )
            latest = self._counted.get(scope)  # others may have counted meanwhile
            counting = None
            if (status is None and latest is None) or (latest is not None and latest.old):
                counting = self._count(scope, principal)
            if status is not None:
                return status
            if counting is not None:
                await asyncio.shield(counting)

    def _count(self, scope: Scope, principal: Principal) -> asyncio.Task[None]:
        """Count for this scope, unless somebody does already."""
        counting = self._counting.get(scope)
        if counting is None:
            counting = asyncio.create_task(self._work(scope, principal), name="count files")
            self._counting[scope] = counting
            counting.add_done_callback(lambda done: self._ended(scope, done))
        return counting

    async def _work(self, scope: Scope, principal: Principal) -> None:
        began = time.monotonic()
        counts: FileCounts = await self._read(lambda queries: queries.file_counts(), principal)
        self._counted.pop(scope, None)
        self._counted[scope] = _Counted(counts, time.monotonic() - began)
        if len(self._counted) > MOST:
            del self._counted[next(iter(self._counted))]

    def _ended(self, scope: Scope, done: asyncio.Task[None]) -> None:
        del self._counting[scope]
        if not done.cancelled():
            done.exception()  # whoever asks next meets it again
