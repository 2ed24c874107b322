"""A ledger seen from outside: a snapshot beside a running server, what it needs of content, and whether it is sound."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any, Self

import apsw
import msgspec

from filemill.durable import Durable
from filemill.ledgers.sqlite import auditing
from filemill.ledgers.sqlite.opening import open_reader, open_writer
from filemill.ledgers.sqlite.sql import load
from filemill.ledgers.sqlite.transaction import Transaction
from filemill.model.errors import SystemFault

_SQL = load("health.sql")
_PAGES = 4_096
"""Pages copied between two words about it."""
_SHOWN = 20


class Stored(msgspec.Struct, frozen=True):
    """Bytes that the ledger needs."""

    reference: str
    size: int = -1
    """-1: not known (a kept input)."""
    digest: str = ""
    state: str = ""
    staged: bytes = b""
    """Of a child on its way into content: where else its bytes may be."""


def snapshot(
    path: str, target: str, durable: Durable, told: Callable[[int, int], None] = lambda *_: None
) -> None:
    """Copy the ledger at `path` as it is at one moment to the new file `target` (0600), durably.

    Works beside a server and never holds up its writer; only its log cannot begin anew until the copy is done.

    Raises:
        NotFound: there is no ledger.
        UsageError: it is of another version.
        SystemFault: it cannot be read, or the copy not be written.
    """
    source = open_reader(path)
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        copy = apsw.Connection(target)
        try:
            # Within one transaction of the reader the copy is of one moment, however much is written meanwhile.
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM version").fetchall()
            with copy.backup("main", source, "main") as copying:
                while not copying.done:
                    copying.step(_PAGES)
                    told(copying.page_count - copying.remaining, copying.page_count)
            source.execute("ROLLBACK")
            copy.pragma("journal_mode", "delete")
        finally:
            copy.close()
        durable.sync_path(os.fsencode(target))
    except apsw.Error as error:
        raise SystemFault(f"the ledger {path} cannot be copied: {error}") from error
    finally:
        source.close()


class Health:
    """Reads a ledger file; as a context it is closed at the end."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    @classmethod
    def open(cls, path: str) -> Self:
        """Open the ledger file at `path` for reading.

        Raises:
            NotFound: there is none.
            UsageError: it is of another version.
            SystemFault: it cannot be read.
        """
        return cls(open_reader(path))

    @classmethod
    def open_any(cls, path: str) -> Self:
        """Open a ledger file of whatever version, to look at its `problems`.

        Raises:
            SystemFault: it cannot be opened.
        """
        with _said():
            return cls(apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def stored(self) -> Iterator[Stored]:
        """All bytes that the ledger needs: of files, in the order of their arrival, then kept inputs."""
        with _said():
            for row in self._db.execute(_SQL["stored"].text):
                yield Stored(*row)
            for (reference,) in self._db.execute(_SQL["inputs"].text):
                yield Stored(reference)

    def stored_count(self) -> tuple[int, int]:
        """Of how many files it needs the bytes, and how many bytes."""
        count, size = self._row("stored_count")
        return int(count), int(size)

    def live(self) -> int:
        """How many files are not at an end."""
        return int(self._row("live")[0])

    def named(self) -> set[str]:
        """Every content reference that a row names."""
        with _said():
            return {row[0] for row in self._db.execute(_SQL["named"].text)}

    def revision(self) -> tuple[int, str, str]:
        """Number, digest and text of the latest configuration; (0, "", "") where there is none."""
        found = self._row("latest_revision")
        return (int(found[0]), str(found[1]), str(found[2])) if found else (0, "", "")

    def problems(self) -> list[str]:
        """What is wrong with the file itself: pages, indexes, references between rows. Reads all of it."""
        found: list[str] = []
        try:
            for (line,) in self._db.execute(f"PRAGMA integrity_check({_SHOWN})"):
                if line != "ok":
                    found.append(str(line))
            broken = self._db.execute("PRAGMA foreign_key_check").fetchall()
            found += [
                f"a row of {table} names one of {to} that is not there"
                for table, _, to, _ in broken[:_SHOWN]
            ]
            if nobody := self._db.execute(_SQL["tags_of_nobody"].text).get:
                found.append(f"{nobody} tags name files that are not there")
        except apsw.Error as error:
            found.append(str(error))
        return found

    def _row(self, query: str) -> Any:
        with _said():
            return self._db.execute(_SQL[query].text).fetchone()


def mark_restored(
    path: str,
    at_ns: int,
    principal: str,
    detail: dict[str, Any],
    *,
    lost: list[str],
    durable: Durable,
) -> None:
    """Bring a ledger that nobody uses yet up to date, and note that it was restored, and which bytes are missing.

    Raises:
        UsageError: it is of a newer version.
        SystemFault: it cannot be written.
    """
    with _said():
        db = open_writer(path, durable, at_ns)
        try:
            with db:
                for reference in lost:
                    db.execute(_SQL["lost"].text, (reference, at_ns))
                db.execute(_SQL["forget_sessions"].text)
                entry = (at_ns, principal, "restore", "ledger", json.dumps(detail))
                auditing.add(Transaction(db), [entry])
        finally:
            db.close()


@contextlib.contextmanager
def _said() -> Iterator[None]:
    try:
        yield
    except apsw.Error as error:
        raise SystemFault(f"the ledger cannot be read: {error}") from error
