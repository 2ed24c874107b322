"""Opening the ledger for those who only read."""

from __future__ import annotations

import os

from filemill.ledgers.sqlite.lock import holder_of
from filemill.ledgers.sqlite.reading import SqliteReading
from filemill.ports.clock import SystemClock
from filemill.queries import Queries


def open_queries(data: str) -> Queries:
    """Queries over the ledger of a data directory, beside a running server or without one. Changes nothing.

    Raises:
        NotFound: there is no ledger.
        UsageError: it is of another version.
        SystemFault: it cannot be read.
    """
    return Queries(SqliteReading.open(os.path.join(data, "ledger.db")), SystemClock())


def server_of(data: str) -> int | None:
    """The pid of what works on a data directory now (a server, for a moment a command); None when nothing does."""
    return holder_of(data)
