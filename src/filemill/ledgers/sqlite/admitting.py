"""Keys in the SQLite ledger: `ports.access.Admitting`. Each method is one request to the one writer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from filemill.ledgers.sqlite import auditing
from filemill.ledgers.sqlite.auditing import SQL
from filemill.ledgers.sqlite.transaction import Transaction, texts
from filemill.model.deeds import Deed
from filemill.model.keys import Access, StoredKey

if TYPE_CHECKING:
    from filemill.ledgers.sqlite.writer import Writer


_json = msgspec.json.Encoder().encode
_CALLED = msgspec.json.Decoder(list[tuple[str, str]])


class SqliteAdmitting:
    """The part of the SQLite ledger that knows keys. See the port for what is promised."""

    _writer: Writer

    async def create_key(self, key: StoredKey, deed: Deed) -> Literal["made", "named", "taken"]:
        """Keep a new key."""
        return await self._writer.ask(lambda tx: create(tx, key, deed))

    async def revoke_keys(self, which: Sequence[str], deed: Deed) -> list[bool]:
        """Put keys out of force."""
        return await self._writer.ask(lambda tx: revoke(tx, which, deed))

    async def note_uses(self, uses: Mapping[str, int]) -> None:
        """When keys were used last."""
        await self._writer.ask(lambda tx: tx.many(SQL["use_keys"], list(uses.items())))

    async def note_access(self, accesses: Sequence[Access]) -> None:
        """Write into the audit what changed nothing in the ledger."""
        rows = [
            (each.at_ns, each.principal, each.action, each.object, _json(each.detail).decode())
            for each in accesses
        ]
        await self._writer.ask(lambda tx: auditing.add(tx, rows))


def create(tx: Transaction, key: StoredKey, deed: Deed) -> Literal["made", "named", "taken"]:
    """Keep a new key, unless one of its name is in force."""
    if tx.one(SQL["name_in_force"], key.name, deed.at_ns):
        return "named"
    lists = [_json(each).decode() for each in (key.roles, key.sources, key.pipelines)]
    row = (key.id, key.name, *lists, key.hash, key.created_ns, key.created_by, key.expires_ns)
    if not tx.many(SQL["add_key"], [row]):
        return "taken"
    detail = {
        "name": key.name,
        "roles": " ".join(key.roles),
        "sources": " ".join(key.sources),
        "pipelines": " ".join(key.pipelines),
        "expires_ns": key.expires_ns,
    }
    auditing.note(tx, deed, "create-key", {key.id: {k: v for k, v in detail.items() if v}})
    return "made"


def revoke(tx: Transaction, which: Sequence[str], deed: Deed) -> list[bool]:
    """Put keys out of force; an id counts before a name."""
    rows = tx.read(SQL["keys_called"], _CALLED, texts(which)) if which else []
    ids = {key for key, _ in rows}
    chosen: dict[str, str] = {}
    answers: list[bool] = []
    for word in which:
        found = [(k, name) for k, name in rows if (k == word if word in ids else name == word)]
        fresh = {key: name for key, name in found if key not in chosen}
        answers.append(bool(fresh))
        chosen |= fresh
    if chosen:
        tx.run(SQL["revoke_keys"], texts(chosen), deed.at_ns)
    auditing.note(tx, deed, "revoke-key", {key: {"name": name} for key, name in chosen.items()})
    return answers
