"""What a reader of records is asked, and in which words its parts answer each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import polars as pl

from filemill.formats.placing import Placed
from filemill.model.runs import BadRecord, RunOrder
from filemill.ports.step import Opened
from filemill.records.layout import Hints, Layout
from filemill.records.plain import PlainBytes


@dataclass(frozen=True, kw_only=True)
class ReadRequest:
    """What a step asks of a reader.

    `needs` are the columns whose typed view expressions use (not those that earlier steps derive); None means all
    of a csv file's columns, as a Python step wants them; then `named` are those that expressions use. `report_bad`
    gets (order index, bad records), `count_blank` and `count_records` (order index, how many); records count
    whether good or bad.
    """

    step: str
    orders: Sequence[RunOrder]
    report_bad: Callable[[int, list[BadRecord]], None]
    count_blank: Callable[[int, int], None]
    count_records: Callable[[int, int], None]
    note_layout: Callable[[int, Layout], None] = lambda _order, _layout: None
    """Told once a file, before its records and also if it has none: how it is laid out."""
    note_range: Callable[[int, int, Mapping[str, str]], None] = lambda _order, _lines, _types: None
    """Told at the end of a chunk: how many lines it had, and the types its columns have."""
    needs: frozenset[str] | None = frozenset()
    named: frozenset[str] = frozenset()
    required: frozenset[str] | None = None
    """Of these the ones without which the file cannot be read; all of them, if None."""
    types: Mapping[str, str] = field(default_factory=dict)
    """Declared: a value that does not fit makes a bad record of class `Type`."""
    lenient: frozenset[str] = frozenset()
    """Those of `types` whose misfits are left to a later step: no value in the view, the record's text as it is."""
    hints: Hints = field(default_factory=Hints)
    open: Callable[[bytes], Opened] = PlainBytes
    """How the bytes of a file that is not small are come by."""
    chunk_size: int = 16 << 20
    max_record: int = 4 << 20

    def wanted(self, needs: frozenset[str]) -> frozenset[str]:
        """The columns whose views are made: those needed, and those whose misfits are told here."""
        return needs | (frozenset(self.types) - self.lenient)


class Head(msgspec.Struct):
    """What the start of a file said: `used` bytes of header and blank lines, over `lines` lines."""

    layout: Layout
    used: int = 0
    lines: int = 0
    blank: int = 0


class Skip(msgspec.Struct):
    """A bad record whose end is still to be found: its bytes are let go as they are read."""

    start: int
    line: int
    record: int
    error: str
    message: str
    lines: int = 1
    """How many line endings it has, the last included."""
    last: int = 0
    """Its last byte so far."""


class Parsed(msgspec.Struct):
    """What one block held. Bytes behind `consumed` belong to the next block."""

    placed: Placed
    consumed: int
    skip: Skip | None = None


class NotText(Exception):
    """The block is not UTF-8."""


class Entangled(Exception):
    """One file's quoting reaches into the next one of its group."""


def empty_frame() -> pl.DataFrame:
    """A frame of no records."""
    return pl.DataFrame(
        schema={
            "_raw": pl.String,
            "_file": pl.UInt32,
            "_record": pl.Int64,
            "_line": pl.Int64,
            "_start": pl.Int64,
        }
    )
