"""What access control asks of a ledger: keys, what was done with them, and the audit's chain.

Methods that write are as atomic and durable as any of the ledger's (`ports.ledger`), methods that read promise what all
reading does (`ports.reading`). Whatever a person or a key did is one row in the audit, in the same commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol

import msgspec

from filemill.model.auditing import Anchor, Sealed
from filemill.model.deeds import Deed
from filemill.model.keys import Access, StoredKey


class Admitting(Protocol):
    """The writing part."""

    async def create_key(self, key: StoredKey, deed: Deed) -> Literal["made", "named", "taken"]:
        """Keep a new key. `named`: one of this name is in force; `taken`: its id is another's. Then nothing is done."""
        ...

    async def revoke_keys(self, which: Sequence[str], deed: Deed) -> list[bool]:
        """Put keys out of force, each by its id, or by the name of one that is in force or expired."""
        ...

    async def note_uses(self, uses: Mapping[str, int]) -> None:
        """When keys (by id) were used last; an earlier moment than the one known changes nothing. No deed."""
        ...

    async def note_access(self, accesses: Sequence[Access]) -> None:
        """Write into the audit what changed nothing in the ledger."""
        ...


class AuditSelection(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows of the audit; all that are set must hold."""

    principal: str = ""
    action: str = ""
    object: str = ""
    since_ns: int = 0
    before: int | None = None
    """Only rows before the one of this number."""
    limit: int = 50


class ReadingAccess(Protocol):
    """The reading part."""

    def key(self, key: str) -> StoredKey | None:
        """The key of this id, whether it is in force or not."""
        ...

    def keys(self) -> list[StoredKey]:
        """Every key there ever was, the oldest first."""
        ...

    def deeds(self, selection: AuditSelection) -> list[Sealed]:
        """Rows of the audit that fit, the latest first."""
        ...

    def chain(self, after: int, limit: int) -> list[Sealed]:
        """Rows of the audit behind a number, in order."""
        ...

    def snapshot(self) -> AbstractContextManager[None]:
        """Within it, every method sees the same moment."""
        ...

    def anchor(self) -> Anchor | None:
        """What is left of the rows that retention removed; None when it removed none."""
        ...


class Scope(msgspec.Struct, frozen=True):
    """What somebody may see of files and runs; all that is set must hold, and nothing set means all."""

    principal: str = ""
    """Only files that this one sent."""
    sources: tuple[str, ...] = ()
    """Only files of these sources."""
    pipelines: tuple[str, ...] = ()
    """Only files that have a run of one of these, and only these runs."""
    nothing: bool = False
    """No file at all."""

    @property
    def narrow(self) -> bool:
        """Whether anything is out of sight."""
        return self.nothing or bool(self.principal or self.sources or self.pipelines)
