"""Opening the ledger for those who only read."""

from __future__ import annotations

import os
from collections.abc import Callable

from filemill.ledgers.sqlite.lock import holder_of
from filemill.ledgers.sqlite.reading import SqliteReading
from filemill.model.access import Principal
from filemill.ports.clock import SystemClock
from filemill.queries import Queries, scope_of
from filemill.service.encrypting import Words, in_general, noted


def open_queries(data: str, principal: Principal | None = None, *, opens: bool = True) -> Queries:
    """Queries over the ledger of a data directory, beside a running server or without one. Changes nothing.

    With a principal, what it may not see is not there (`queries.scoping`); without one, all is. With encryption, texts
    that quote content are opened where the identity is at hand; with `opens` false never: general words stand there.

    Raises:
        NotFound: there is no ledger.
        UsageError: it is of another version.
        SystemFault: it cannot be read.
    """
    scope = None if principal is None else scope_of(principal)
    words: Callable[[str], str] | None = None
    if noted(data) is not None:
        words = Words(data) if opens else in_general
    reading = SqliteReading.open(os.path.join(data, "ledger.db"), scope, words)
    return Queries(reading, SystemClock())


def server_of(data: str) -> int | None:
    """The pid of what works on a data directory now (a server, for a moment a command); None when nothing does."""
    return holder_of(data)
