"""System trouble: the machine is full, read-only or failing.

Work pauses, nothing is charged to any file, and it resumes by itself when the cause is gone.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from typing import TypeVar

from filemill.model.errors import LedgerSyncError, SystemFault, plainly
from filemill.model.events import Emit, SystemRecovered, SystemTrouble
from filemill.ports.clock import Clock

SYSTEM_ERRNOS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
    | {
        errno.ESTALE,
        errno.ENOTCONN,
        errno.EHOSTDOWN,
        errno.ETIMEDOUT,
    }  # a network file system that is away
)
_Answer = TypeVar("_Answer")
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0


class Trouble:
    """What is wrong with the machine now, by name; everyone who meets it pauses here."""

    def __init__(self, clock: Clock, emit: Emit) -> None:
        self._clock = clock
        self._emit = emit
        self._pauses: dict[str, float] = {}

    @property
    def now(self) -> tuple[str, ...]:
        """Names of the troubles that are not over."""
        return tuple(self._pauses)

    async def wait(self, what: str, error: BaseException) -> None:
        """Report the trouble once and wait a while, longer each time, before the caller tries again."""
        pause = self._pauses.get(what)
        if pause is None:
            self._emit(
                SystemTrouble(
                    at_ns=self._clock.wall_ns(),
                    what=what,
                    message=plainly(error),
                    help=error.help if isinstance(error, SystemFault) else advice(error),
                )
            )
        pause = FIRST_PAUSE if pause is None else min(LONGEST_PAUSE, pause * 2)
        self._pauses[what] = pause
        await asyncio.sleep(pause)

    async def insist(self, what: str, ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """Ask again until the machine lets it happen; a failed ledger sync is not asked again, it ends the server."""
        while True:
            try:
                answer = await ask()
            except LedgerSyncError:
                raise
            except SystemFault as fault:
                await self.wait(what, fault)
            else:
                self.over(what)
                return answer

    def over(self, what: str) -> None:
        """Say that it works again; does nothing when there was no trouble."""
        if self._pauses.pop(what, None) is not None:
            self._emit(SystemRecovered(at_ns=self._clock.wall_ns(), what=what))


def advice(error: BaseException) -> str:
    """What a person can do about a system error."""
    match getattr(error, "errno", None):
        case errno.ENOSPC | errno.EDQUOT:
            return "free some space; work goes on by itself, and no attempt is spent meanwhile"
        case errno.EROFS:
            return "remount the file system for writing; work goes on by itself"
        case errno.EMFILE | errno.ENFILE:
            return "raise the limit of open files (ulimit -n)"
        case errno.EIO:
            return "the disk reports errors: look at the kernel's log before you trust it further"
        case _:
            return "work goes on by itself when the cause is gone"
