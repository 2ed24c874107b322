"""The ledger in one SQLite file, by apsw: no server beside it, one writer thread, group commit."""

from __future__ import annotations

from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.ledgers.sqlite.lock import InstanceLock, holder_of, references_stay
from filemill.ledgers.sqlite.reading import SqliteReading
from filemill.ledgers.sqlite.reserve import Reserve, reserve_size

__all__ = [
    "InstanceLock",
    "Reserve",
    "SqliteLedger",
    "SqliteReading",
    "holder_of",
    "references_stay",
    "reserve_size",
]
