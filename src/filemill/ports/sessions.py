"""The port of sessions: browsers that are logged in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from filemill.model.deeds import Deed
from filemill.model.sessions import StoredSession


class KeepingSessions(Protocol):
    """The part of a ledger that knows sessions."""

    async def open_session(self, session: StoredSession, deed: Deed) -> bool:
        """Keep a new session, and forget those whose time is over. False: its id is another's, nothing was done."""
        ...

    async def end_sessions(self, sessions: Sequence[str], deed: Deed) -> list[bool]:
        """Forget sessions by their ids, at once."""
        ...

    async def use_sessions(self, uses: Mapping[str, int]) -> None:
        """When sessions (by id) were used last; an earlier moment than the one known changes nothing. No deed."""
        ...


class ReadingSessions(Protocol):
    """The part of a reading that knows sessions."""

    def session(self, hash: bytes) -> StoredSession | None:  # noqa: A002 -- its name everywhere
        """The session whose cookie has this hash, whether its time is over or not."""
        ...

    def sessions(self) -> list[StoredSession]:
        """Every session that was not ended, the oldest first."""
        ...
