"""The tally: how often what happened, by minute, changed in the transaction of the move it counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from filemill.ledgers.sqlite.sql import load
from filemill.model.histogram import bucket

if TYPE_CHECKING:
    from filemill.ledgers.sqlite.transaction import Transaction

_SQL = load("tally.sql")
_MINUTE_NS = 60_000_000_000

Key = tuple[int, str, str, str, str]
"""(minute, pipeline, step, sink, outcome)."""


class Cell:
    """What is counted under one key."""

    __slots__ = ("bytes", "count", "latency", "records")

    def __init__(self) -> None:
        self.count = 0
        self.records = 0
        self.bytes = 0
        self.latency: dict[int, int] = {}

    def add(self, other: Cell) -> None:
        """Add another cell to this one."""
        self.count += other.count
        self.records += other.records
        self.bytes += other.bytes
        for number, count in other.latency.items():
            self.latency[number] = self.latency.get(number, 0) + count


class Tally:
    """Counts of one request, or of one group of requests, not yet written."""

    def __init__(self) -> None:
        self.cells: dict[Key, Cell] = {}

    def add(
        self,
        at_ns: int,
        outcome: str,
        *,
        pipeline: str = "",
        step: str = "",
        sink: str = "",
        count: int = 1,
        records: int = 0,
        size: int = 0,
        took_ns: Iterable[int] = (),
    ) -> None:
        """Count something that happened at a wall time; `took_ns` are the times of each, where they matter."""
        key = (at_ns // _MINUTE_NS, pipeline, step, sink, outcome)
        cell = self.cells.get(key)
        if cell is None:
            cell = self.cells[key] = Cell()
        cell.count += count
        cell.records += records
        cell.bytes += size
        latency = cell.latency
        for number in map(bucket, took_ns):
            latency[number] = latency.get(number, 0) + 1

    def put(self, key: Key, count: int, records: int, size: int, latency: dict[int, int]) -> None:
        """Add what was counted under a key before."""
        cell = self.cells.setdefault(key, Cell())
        cell.count += count
        cell.records += records
        cell.bytes += size
        for number, many in latency.items():
            cell.latency[number] = cell.latency.get(number, 0) + many

    def merge(self, other: Tally) -> None:
        """Add all that another tally counted."""
        for key, cell in other.cells.items():
            mine = self.cells.get(key)
            if mine is None:
                self.cells[key] = cell
            else:
                mine.add(cell)

    def write(self, tx: Transaction) -> None:
        """Add the counts to the ledger's rows, inside the transaction."""
        keys = list(self.cells)
        for first in range(0, len(keys), 128):
            self._write(tx, keys[first : first + 128])

    def _write(self, tx: Transaction, keys: Sequence[Key]) -> None:
        before = tx.json(_SQL["read_tally"], _READ, [(i, *key) for i, key in enumerate(keys)])
        for i, count, records, size, latency in before:
            cell = self.cells[keys[i]]
            cell.count += count
            cell.records += records
            cell.bytes += size
            if latency:
                for number, many in _LATENCY.decode(bytes.fromhex(latency)).items():
                    cell.latency[number] = cell.latency.get(number, 0) + many
        tx.many(
            _SQL["write_tally"],
            [
                (*key, c.count, c.records, c.bytes, _encode(c.latency) if c.latency else None)
                for key in keys
                for c in (self.cells[key],)
            ],
        )


_READ = msgspec.json.Decoder(list[tuple[int, int, int, int, str]])
_LATENCY = msgspec.msgpack.Decoder(dict[int, int])
_encode = msgspec.msgpack.Encoder().encode


def decode_latency(packed: bytes | None) -> dict[int, int]:
    """The histogram of one tally row."""
    return _LATENCY.decode(packed) if packed else {}
