"""Writing the audit: rows go to its end, each chained to the one before; what is old goes from its beginning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import apsw
import msgspec

from filemill.ledgers.sqlite.packing import plain
from filemill.ledgers.sqlite.sql import load
from filemill.ledgers.sqlite.transaction import Transaction
from filemill.model.auditing import chained
from filemill.model.deeds import Deed

SQL = load("access.sql")
_json = msgspec.json.Encoder().encode
_HEAD = msgspec.json.Decoder(tuple[int, str])
Entry = tuple[int, str, str, str, str]
"""at_ns, principal, action, object, detail."""


def add(tx: Transaction, entries: Iterable[Entry]) -> None:
    """Write rows behind the last one; in the caller's transaction, so that numbers and chains are nobody else's."""
    entries = list(entries)
    if not entries:
        return
    number, head = _HEAD.decode(tx.one(SQL["head"]))
    chain = bytes.fromhex(head)
    rows = []
    for at_ns, *texts in entries:
        number += 1
        principal, action, named, detail = map(plain, texts)
        chain = chained(chain, number, at_ns, principal, action, named, detail)
        rows.append((number, at_ns, principal, action, named, detail, chain))
    tx.many(SQL["add_audit"], rows)


def note(
    tx: Transaction, deed: Deed, action: str, details: Mapping[str, Mapping[str, object]]
) -> None:
    """Write one row per object of a deed, with the reason given and where it was asked from."""
    said = {
        name: plain(value)
        for name, value in (("reason", deed.reason), ("address", deed.address))
        if value
    }
    add(
        tx,
        [
            (deed.at_ns, deed.principal, action, each, _json({**detail, **said}).decode())
            for each, detail in details.items()
        ],
    )


def forget(tx: Transaction, before_ns: int, most: int) -> int:
    """Remove up to `most` rows from the beginning, all older than a moment; the anchor keeps the chain's place."""
    last = tx.one(SQL["oldest_before"], before_ns, most)
    if last is None:
        return 0
    tx.run(SQL["move_anchor"], last)
    return tx.run(SQL["drop_audit"])


def teach(db: apsw.Connection) -> None:
    """Give a connection the SQL function `audit_chain`, with which a migration chains the rows there are."""
    db.create_scalar_function("audit_chain", _chained, 7, deterministic=True)


def _chained(*values: Any) -> bytes:
    former, *row = values
    return chained(former, *row)
