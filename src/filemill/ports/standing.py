"""Reading how many files and runs are where, at a cost that does not grow with them. See `ports.reading`."""

from __future__ import annotations

from typing import Protocol

import msgspec


class MoveRow(msgspec.Struct, frozen=True):
    """How often what was in one place went to another, since the ledger was begun. Numbers of moves only grow.

    How many are in a place now is what went there less what left it; see `kind`.
    """

    kind: str
    """`file` (places are words of `model.states.file_state_of`), `run` (states; queued, running and publishing are one,
    `live`), `freed` (bytes of files that were given up), `replay` (runs that do another one again)."""
    source: str
    pipeline: str
    """Empty for files."""
    before: str
    """Empty: it was not there."""
    after: str
    """Empty: it is gone."""
    count: int
    bytes: int
    """Of the files."""


class ReadingStanding(Protocol):
    """Part of `Reading`."""

    def moves(self) -> list[MoveRow]:
        """How often what went from where to where; at the cost of sources times pipelines."""
        ...

    def kept_file_counts(self) -> dict[str, int] | None:
        """How many files count under each word of `model.states.file_state_of`; None where nobody keeps that count.

        It is kept for all files and for those of some sources, at a cost that does not depend on how many they are; for
        those of one pipeline, too, unless runs of it were done again.
        """
        ...

    def file_counts(self) -> dict[str, int]:
        """The same, counted where it is not kept: at the cost of the files there are."""
        ...

    def queue(self, *, size: bool) -> tuple[int, int]:
        """How many files are taken and not at an end, and the sum of their sizes; 0 for that without `size`."""
        ...

    def run_counts(self) -> list[tuple[str, str, str, int]]:
        """(source, pipeline, state, how many) of all runs; in a sender's scope without the source."""
        ...

    def oldest_waiting(self) -> list[tuple[str, str, int]]:
        """(source, pipeline, arrival) of each oldest file with a queued run; in a sender's scope without the source."""
        ...
