"""Sessions in the SQLite ledger: `ports.sessions`. Logging in and out are deeds, in the audit by the same commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from filemill.ledgers.sqlite import auditing
from filemill.ledgers.sqlite.reading_connection import ReadingConnection
from filemill.ledgers.sqlite.sql import load
from filemill.ledgers.sqlite.transaction import Transaction, texts
from filemill.model.deeds import Deed
from filemill.model.sessions import StoredSession

if TYPE_CHECKING:
    from filemill.ledgers.sqlite.writer import Writer


SQL = load("sessions.sql")
_json = msgspec.json.Encoder().encode
_NAMES = msgspec.json.Decoder(tuple[str, ...])
_OWNERS = msgspec.json.Decoder(list[tuple[str, str]])


class SqliteSessions:
    """The part of the SQLite ledger that keeps sessions. See the port for what is promised."""

    _writer: Writer

    async def open_session(self, session: StoredSession, deed: Deed) -> bool:
        """Keep a new session."""
        return await self._writer.ask(lambda tx: _open(tx, session, deed))

    async def end_sessions(self, sessions: Sequence[str], deed: Deed) -> list[bool]:
        """Forget sessions."""
        return await self._writer.ask(lambda tx: _end(tx, sessions, deed))

    async def use_sessions(self, uses: Mapping[str, int]) -> None:
        """When sessions were used last."""
        await self._writer.ask(lambda tx: tx.many(SQL["use_sessions"], list(uses.items())))


class SqliteReadingSessions(ReadingConnection):
    """The part of `SqliteReading` that knows sessions."""

    def session(self, hash: bytes) -> StoredSession | None:  # noqa: A002 -- as the port has it
        """The session whose cookie has this hash."""
        rows = self._rows("session", hash)
        return _session(rows[0]) if rows else None

    def sessions(self) -> list[StoredSession]:
        """Every session, the oldest first."""
        return [_session(row) for row in self._rows("sessions")]


def _open(tx: Transaction, session: StoredSession, deed: Deed) -> bool:
    tx.run(SQL["sessions_over"], deed.at_ns)
    row = (
        session.id,
        session.hash,
        session.principal,
        *(_json(each).decode() for each in (session.roles, session.sources, session.pipelines)),
        session.key,
        session.how,
        session.trust,
        session.address,
        session.created_ns,
        session.used_ns,
        session.expires_ns,
    )
    if not tx.many(SQL["open_session"], [row]):
        return False
    detail = {
        "how": session.how,
        "address": session.address,
        "roles": " ".join(session.roles),
        "key": session.key,
    }
    told = {name: value for name, value in detail.items() if value}
    auditing.note(tx, deed, "login", {session.id: told})
    return True


def _end(tx: Transaction, sessions: Sequence[str], deed: Deed) -> list[bool]:
    owners = dict(tx.read(SQL["session_owners"], _OWNERS, texts(sessions))) if sessions else {}
    if owners:
        tx.run(SQL["end_sessions"], texts(owners))
        auditing.note(tx, deed, "logout", {each: {"of": owner} for each, owner in owners.items()})
    return [owners.pop(each, None) is not None for each in sessions]


def _session(row: Any) -> StoredSession:
    key, hash_, principal, roles, sources, pipelines, *rest = row
    begun_with, how, trust, address, created_ns, used_ns, expires_ns = rest
    return StoredSession(
        id=key,
        hash=bytes(hash_),
        principal=principal,
        roles=_NAMES.decode(roles),
        sources=_NAMES.decode(sources),
        pipelines=_NAMES.decode(pipelines),
        key=begun_with,
        how=how,
        trust=trust,
        address=address,
        created_ns=created_ns,
        used_ns=used_ns,
        expires_ns=expires_ns,
    )
