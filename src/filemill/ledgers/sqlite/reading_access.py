"""Reading keys and the audit's chain from the SQLite ledger: `ports.access.ReadingAccess`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from filemill.ledgers.sqlite.reading_connection import ReadingConnection
from filemill.model.auditing import Anchor, Sealed
from filemill.model.keys import StoredKey
from filemill.ports.access import AuditSelection

_NAMES = msgspec.json.Decoder(tuple[str, ...])
_TOP = (1 << 63) - 1


class SqliteReadingAccess(ReadingConnection):
    """Part of `SqliteReading`. See the port for what is promised."""

    def key(self, key: str) -> StoredKey | None:
        """The key of this id."""
        rows = self._rows("key", key)
        return _key(rows[0]) if rows else None

    def keys(self) -> list[StoredKey]:
        """Every key, the oldest first."""
        return [_key(row) for row in self._rows("keys")]

    def deeds(self, selection: AuditSelection) -> list[Sealed]:
        """Rows of the audit that fit, the latest first."""
        rows = self._rows(
            "deeds_to" if selection.object else "deeds",
            selection.principal,
            selection.action,
            selection.object,
            selection.since_ns,
            _TOP if selection.before is None else selection.before,
            selection.limit,
        )
        return [Sealed(*row) for row in rows]

    def chain(self, after: int, limit: int) -> list[Sealed]:
        """Rows of the audit behind a number, in order."""
        return [Sealed(*row) for row in self._rows("chain", after, limit)]

    def anchor(self) -> Anchor | None:
        """What is left of the rows that retention removed."""
        rows = self._rows("anchor")
        return Anchor(*rows[0]) if rows else None


def _key(row: Sequence[Any]) -> StoredKey:
    key, name, roles, sources, pipelines, *rest = row
    hash_, created_ns, created_by, expires_ns, used_ns, revoked_ns = rest
    return StoredKey(
        id=key,
        name=name,
        roles=_NAMES.decode(roles),
        sources=_NAMES.decode(sources),
        pipelines=_NAMES.decode(pipelines),
        hash=hash_,
        created_ns=created_ns,
        created_by=created_by,
        expires_ns=expires_ns,
        used_ns=used_ns,
        revoked_ns=revoked_ns,
    )
