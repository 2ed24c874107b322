"""What one request sees of the writer's transaction: whole groups in, one JSON answer out."""

from __future__ import annotations

import array
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import apsw
import msgspec

from filemill.ledgers.sqlite.sql import Query
from filemill.ledgers.sqlite.tally import Tally

_T = TypeVar("_T")
_ROWS = 128
"""Most rows of one statement; statements exist for this many and for each smaller power of two."""


class Transaction:
    """The open transaction, and the counts that go with it."""

    def __init__(self, db: apsw.Connection) -> None:
        self.db = db
        self.tally = Tally()

    def one(self, query: Query, *bindings: Any) -> Any:
        """The one value a query answers with; None without a row."""
        return self.db.execute(query.text, bindings).get

    def run(self, query: Query, *bindings: Any) -> int:
        """Execute a statement that changes rows; answers how many, without those that triggers change."""
        self.db.execute(query.text, bindings)
        return self.db.changes()

    def read(
        self, query: Query, decoder: msgspec.json.Decoder[list[_T]], *bindings: Any
    ) -> list[_T]:
        """A query's JSON answer, decoded."""
        return decoder.decode(self.db.execute(query.text, bindings).get)

    def json(
        self, query: Query, decoder: msgspec.json.Decoder[list[_T]], rows: Sequence[Sequence[Any]]
    ) -> list[_T]:
        """The JSON answers of a query that takes VALUES rows, decoded and joined."""
        answers: list[_T] = []
        for text, values in _cut(query, rows):
            answers += decoder.decode(self.db.execute(text, values).get)
        return answers

    def many(self, query: Query, rows: Sequence[Sequence[Any]]) -> int:
        """Execute a statement for these VALUES rows; answers how many rows it changed, as `run` does."""
        changed = 0
        for text, values in _cut(query, rows):
            self.db.execute(text, values)
            changed += self.db.changes()
        return changed


def numbers(values: Iterable[int]) -> Any:
    """Whole numbers as one binding of `carray(?)`; never empty (the number 0 names no row)."""
    return apsw.carray(array.array("q", values) or array.array("q", (0,)))


def texts(values: Iterable[str]) -> Any:
    """Strings as one binding of `carray(?)`; never empty (the empty string names no row)."""
    return apsw.carray(tuple(values) or ("",))


def blobs(values: Sequence[bytes]) -> Any:
    """Byte strings as one binding of `carray(?)`; there must be at least one."""
    return apsw.carray(tuple(values))


def _cut(query: Query, rows: Sequence[Sequence[Any]]) -> Iterable[tuple[str, list[Any]]]:
    """Rows as statements of 128, 64, 32... rows, so that few texts are ever prepared."""
    first, size = 0, _ROWS
    while first < len(rows):
        while size > len(rows) - first:
            size //= 2
        yield query.rows(size), [value for row in rows[first : first + size] for value in row]
        first += size
