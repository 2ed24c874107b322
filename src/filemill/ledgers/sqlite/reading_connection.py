"""One read-only connection to the ledger, and asking it: what all parts of a reading share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import apsw

from filemill.ledgers.sqlite.scoping import hiding, narrow, narrowed
from filemill.ledgers.sqlite.sql import load
from filemill.model.errors import SystemFault
from filemill.ports.access import Scope

_SQL = load("reading.sql")
_FILE = (
    "file.no, file.id, file.state, file.state_ns, file.source, file.path, file.relative, file.size, "
    "file.mtime_ns, file.content, file.claimed_ns, file.ingested_ns, file.how, file.after, file.parent, "
    "file.tags, file.digest, file.media, file.attributes, file.facts, file.reason, file.duplicate_of, "
    "file.disposed_ns, file.freed_ns, file.principal"
)
_RUN = (
    "run.no, run.id, run.file, run.pipeline, run.revision, run.state, run.state_ns, run.queued_ns, run.began_ns, "
    "run.attempt, run.interruptions, run.due_ns, run.records, run.bad, coalesce(run.fingerprint, ''), "
    "coalesce(run.step, ''), coalesce(run.error, ''), coalesce(run.message, ''), run.input, coalesce(run.tries, 0), "
    "run.fence, run.from_step, run.pinned, run.replays, run.mended, run.supersede"
)


class ReadingConnection:
    """Asks the statements of `reading.sql`; with a narrow scope, what is out of it is not there."""

    def __init__(self, db: apsw.Connection, scope: Scope | None = None) -> None:
        self._db = db
        self._scope = scope or Scope()
        self._narrow = self._scope.narrow
        self._columns = {"{file}": _FILE, "{run}": _RUN}
        if self._narrow:
            narrow(db, self._scope)
            self._columns = {name: hiding(each) for name, each in self._columns.items()}

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Within it, every method sees the same moment; within another one, that one's."""
        if self._db.in_transaction:
            yield
            return
        with said():
            self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("ROLLBACK")

    def _rows(self, query: str, *bindings: Any) -> list[Any]:
        text = _SQL[query].text
        for name, columns in self._columns.items():
            text = text.replace(name, columns)
        with said():
            return self._db.execute(self._seen(text), bindings).fetchall()

    def _seen(self, text: str) -> str:
        return narrowed(text) if self._narrow else text

    def _value(self, query: str, *bindings: Any) -> Any:
        return self._rows(query, *bindings)[0][0]


@contextmanager
def said() -> Iterator[None]:
    """Tell errors of the connection as those of the product."""
    try:
        yield
    except apsw.ConnectionClosedError:
        raise SystemFault("the ledger is closed") from None
    except apsw.Error as error:
        raise SystemFault(f"the ledger cannot be read: {error}") from error
