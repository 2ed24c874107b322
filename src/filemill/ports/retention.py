"""What retention asks of a ledger: bounded steps that find what is old, forget it, and name the bytes that may go.

Every method is as atomic and durable as any of the ledger's (see `ports.ledger`), and looks at no more than `most`
rows, so that the one writer is never held up. Bytes go in three steps: a commit puts their name on the list of garbage,
they are unlinked, a commit takes them off the list. A crash between any two leaves the name on the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec


class Cutoffs(msgspec.Struct, frozen=True):
    """What ended before these moments (wall nanoseconds) may go; None: nothing may."""

    content: int | None
    """The bytes of files that are done, cancelled or discarded."""
    ledger: int | None
    """All that is known about them, counts and revisions included."""
    dead: int | None
    """Files that wait for a person (dead, held, rejected, quarantined): bytes, rows and all."""
    audit: int | None


class Garbage(msgspec.Struct, frozen=True):
    """Bytes that nothing needs any more."""

    place: str
    """`content`: `name` is a reference. `staged`: it is the absolute path of an output nobody will publish."""
    name: bytes
    size: int


class Freed(msgspec.Struct, frozen=True):
    """One step of a walk over files from the latest arrival to the first."""

    next: int | None
    """Where the next step begins; None: that was all."""
    files: int = 0
    """Files that this step was about."""
    stored: int = 0
    """Those of them whose bytes it gave up."""
    rows: int = 0
    """Rows that are gone."""
    size: int = 0
    """Bytes that these had."""
    looked: int = 0
    """Files that were looked at."""


class KeptVersion(msgspec.Struct, frozen=True):
    """A version of a path that was taken by copy and whose row is gone; it may still lie where it was."""

    source: str
    relative: bytes
    inode: int
    size: int
    mtime_ns: int
    device: int
    path: bytes

    @property
    def key(self) -> tuple[str, bytes, int, int, int]:
        """What names it."""
        return self.source, self.relative, self.inode, self.size, self.mtime_ns


class Forgetting(Protocol):
    """The two walks over files, which can also be made dry.

    A file is *at an end* when no run of it is live, it is routed or was ended by a person, and its `after:` is applied
    if all its runs are done. It ended when the last of that happened.
    """

    async def free(
        self, cutoffs: Cutoffs, at_ns: int, before: int | None, most: int, *, dry: bool = False
    ) -> Freed:
        """Give up the bytes of files at an end that wait for nobody and ended before `cutoffs.content`.

        With them go the kept inputs of their runs, and what their discarded runs staged. `dry` changes nothing.
        """
        ...

    async def forget(
        self, cutoffs: Cutoffs, before: int | None, most: int, *, dry: bool = False
    ) -> Freed:
        """Delete all rows of files that ended before `cutoffs.ledger`; of those that wait, before `cutoffs.dead`.

        Bytes that they still have are given up with them. A file stays as long as one that was made from it. Of one
        that was taken by copy, its version is remembered, so that it is not taken again where it still lies.
        """
        ...


class Retaining(Forgetting, Protocol):
    """All that a pass asks; see the module for what all methods promise."""

    async def garbage(self, most: int) -> list[Garbage]:
        """Bytes that are to be removed."""
        ...

    async def cleared(self, removed: Sequence[Garbage]) -> None:
        """These are gone, durably."""
        ...

    async def kept_versions(
        self, after: tuple[str, bytes, int, int, int] | None, most: int
    ) -> list[KeptVersion]:
        """Remembered versions, in the order of their keys."""
        ...

    async def forget_versions(self, gone: Sequence[KeptVersion]) -> None:
        """These lie no longer where they were."""
        ...

    async def renumber_device(self, source: str, before: int, after: int) -> None:
        """The file system of these versions has another number since the machine was started anew."""
        ...

    async def roll_up(self, since: int, before_ns: int) -> int | None:
        """Add up the minutes of one hour, of those that ended before `before_ns`, the first at or after minute `since`.

        Answers with the minute at which the next hour begins; None when there was none to add up.
        """
        ...

    async def forget_rest(self, cutoffs: Cutoffs, revisions: Sequence[int], most: int) -> int:
        """Delete counts, resolved causes and `revisions` before `cutoffs.ledger`, and audit before `cutoffs.audit`.

        At most `most` rows of each; answers how many. `revisions` must be numbers that no run names and that are
        not current.
        """
        ...

    async def unused_revisions(self, before_ns: int) -> list[int]:
        """Numbers of revisions stored before a moment that no run and no attempt names; looks at every run."""
        ...

    async def worked_until_ns(self) -> int:
        """The minute in which any attempt ended last; 0 when none is known."""
        ...
