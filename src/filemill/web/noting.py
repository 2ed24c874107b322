"""What the audit must know of those who only read: whom a door was shut to, and who took bytes away.

It is gathered for a moment, so that a flood of strangers costs the ledger little; of what one flood brings more than
`MOST` of, the rest is counted in a row of its own.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable

from filemill.model.errors import FilemillError
from filemill.model.keys import Access
from filemill.ports.clock import Clock

AFTER = 1.0
"""Seconds for which they are gathered."""
MOST = 100
"""Rows of one moment."""
_SECRET = re.compile(r"(fm_[a-z0-9]{5,8}_)[\w-]+")
"""A key that somebody put into a path; what comes before its secret names it."""
STRANGER = "stranger"
"""Who is called so named nobody that is known here."""


class AccessNotes:
    """Gathers, and hands on. In one event loop; `tell` has the server write them."""

    def __init__(
        self, clock: Clock, tell: Callable[[tuple[Access, ...]], Awaitable[object]]
    ) -> None:
        self._clock = clock
        self._tell = tell
        self._kept: list[Access] = []
        self._more = 0
        self._task: asyncio.Task[None] | None = None

    def note(self, principal: str, action: str, what: str, **detail: str) -> None:
        """One access: `denied`, `download`. A key in `what` is not written down."""
        if len(self._kept) >= MOST:
            self._more += 1
            return
        what = _SECRET.sub(r"\1***", what)
        self._kept.append(Access(principal, self._clock.wall_ns(), action, what, dict(detail)))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._hand_on(), name="accesses")

    async def _hand_on(self) -> None:
        await asyncio.sleep(AFTER)
        kept, self._kept = self._kept, []
        more, self._more = self._more, 0
        if more:
            now = self._clock.wall_ns()
            kept.append(Access(STRANGER, now, "denied", "many", {"more": more}))
        try:
            await self._tell(tuple(kept))
        except FilemillError as error:
            # Nothing of the path of files depends on it; whoever runs the server must see that the audit has a gap.
            print(f"{len(kept)} accesses could not be noted: {error.message}", file=sys.stderr)  # noqa: T201
