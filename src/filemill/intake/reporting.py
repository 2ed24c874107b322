"""Says what becomes of files: one event each, refusals and troubles once."""

from __future__ import annotations

from filemill.model.errors import FilemillError, SystemFault, plainly
from filemill.model.events import (
    Emit,
    FileIgnored,
    FileIngested,
    FileRejected,
    FileVanished,
    SystemRecovered,
    SystemTrouble,
)
from filemill.model.files import Claim
from filemill.ports.clock import Clock

_REMEMBERED = 10_000
"""Refusals remembered so that they are said once; bounds memory."""


class Reporter:
    """Emits intake's events. In the event loop only."""

    def __init__(self, emit: Emit, clock: Clock) -> None:
        self._emit = emit
        self._clock = clock
        self._said: dict[bytes, str] = {}
        self.troubled = False
        self._what = ""

    def ingested(self, claim: Claim, at_ns: int) -> None:
        """Acknowledged, at the time that the ledger has; what went ahead tells of later."""
        self._emit(FileIngested.of(claim, at_ns))

    def rejected(self, file: str, relative: bytes, reason: str) -> None:
        """Acknowledged, and refused by its source's limits."""
        self._emit(
            FileRejected(at_ns=self._clock.wall_ns(), file=file, relative=relative, reason=reason)
        )

    def vanished(self, source: str, relative: bytes) -> None:
        """Gone before it was acknowledged."""
        self._emit(FileVanished(at_ns=self._clock.wall_ns(), source=source, relative=relative))

    def ignored(self, source: str, path: bytes, relative: bytes, reason: str) -> None:
        """Not taken. Said once while the reason stays the same; the file is looked at whenever it is sighted."""
        if self._said.get(path) == reason:
            return
        if len(self._said) >= _REMEMBERED:
            self._said.clear()
        self._said[path] = reason
        self._emit(
            FileIgnored(
                at_ns=self._clock.wall_ns(), source=source, relative=relative, reason=reason
            )
        )

    def trouble(self, error: BaseException) -> None:
        """The machine failed a group: said once until `recovered`."""
        if self.troubled:
            return
        self.troubled = True
        # What the ledger cannot do is the ledger's trouble, said once by whoever meets it first.
        self._what = "ledger" if isinstance(error, SystemFault) else "intake"
        hint = error.help if isinstance(error, FilemillError) else ""
        self._emit(
            SystemTrouble(
                at_ns=self._clock.wall_ns(),
                what=self._what,
                message=plainly(error),
                help=hint or "nothing is lost: files stay where they are until this is over",
            )
        )

    def recovered(self) -> None:
        """A group went through again."""
        if self.troubled:
            self.troubled = False
            self._emit(SystemRecovered(at_ns=self._clock.wall_ns(), what=self._what))

    def orphans(self, unknown: int) -> None:
        """Content that no row names was found at start, and kept."""
        self._emit(
            SystemTrouble(
                at_ns=self._clock.wall_ns(),
                what="recovery",
                message=f"{unknown} contents are known to no row of the ledger; they are kept",
                help="if the ledger was restored from a backup, these files came in after it",
            )
        )

    def held_aside(self, unknown: int) -> None:
        """Originals held aside that the ledger does not know were found at start, and kept."""
        self._emit(
            SystemTrouble(
                at_ns=self._clock.wall_ns(),
                what="recovery",
                message=f"{unknown} files in .filemill/claimed are unknown to this ledger; they are kept",
                help="move them back into their source by hand to have them taken",
            )
        )
