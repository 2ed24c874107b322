"""Opening the ledger for those who only read."""

from __future__ import annotations

import os

from filemill.ledgers.sqlite.lock import holder_of
from filemill.ledgers.sqlite.reading import SqliteReading
from filemill.model.access import Principal
from filemill.ports.clock import SystemClock
from filemill.queries import Queries, scope_of


def open_queries(data: str, principal: Principal | None = None) -> Queries:
    """Queries over the ledger of a data directory, beside a running server or without one. Changes nothing.

    With a principal, what it may not see is not there (`queries.scoping`); without one, all is.

    Raises:
        NotFound: there is no ledger.
        UsageError: it is of another version.
        SystemFault: it cannot be read.
    """
    scope = None if principal is None else scope_of(principal)
    return Queries(SqliteReading.open(os.path.join(data, "ledger.db"), scope), SystemClock())


def server_of(data: str) -> int | None:
    """The pid of what works on a data directory now (a server, for a moment a command); None when nothing does."""
    return holder_of(data)
