"""Reading how many files and runs are where: from rows that every move keeps, not by counting.

`migrations/0006_standing.sql` says what the rows are. They are kept by source and by pipeline, so they answer for a
scope of sources as they do for all; for one of pipelines they tell of its runs, and of its files as long as no file can
have two runs in it. What they cannot tell is counted, at the cost of the rows that there are.
"""

from __future__ import annotations

from collections import Counter

from filemill.ledgers.sqlite.reading_connection import ReadingConnection
from filemill.ledgers.sqlite.transaction import numbers
from filemill.ports.reading import RunRow
from filemill.ports.standing import MoveRow

_OWN = ("held", "rejected", "quarantined", "cancelled", "discarded")
_RANKS = ("dead", "held", "cancelled", "discarded")


class SqliteReadingStanding(ReadingConnection):
    """Part of `SqliteReading`. See the port for what is promised."""

    def moves(self) -> list[MoveRow]:
        """How often what went from where to where, all in all."""
        return [MoveRow(*row) for row in self._rows("moves")]

    def kept_file_counts(self) -> dict[str, int] | None:
        """How many files count under each word, where that is kept."""
        scope = self._scope
        if scope.principal:
            return None
        if not scope.pipelines:
            with self.snapshot():
                counts: Counter[str] = Counter(dict(self._rows("files_standing")))
                counts["live"] += self._value("files_claiming")
            return dict(counts)
        if len(scope.pipelines) > 1 or self._value("replays"):
            return None
        counts = Counter()
        for _, _, state, many in self._rows("runs_standing"):
            counts["live" if state == "retrying" else state] += many
        return dict(counts)

    def file_counts(self) -> dict[str, int]:
        """How many files count under each word."""
        with self.snapshot():
            kept = self.kept_file_counts()
            return self._counted() if kept is None else kept

    def run_counts(self) -> list[tuple[str, str, str, int]]:
        """How many runs of each source and pipeline are in each state."""
        if self._scope.principal:
            return self._counted_runs()
        counts: Counter[tuple[str, str, str]] = Counter()
        with self.snapshot():
            standing, in_hand = self._rows("runs_standing"), self._rows("runs_in_hand")
        for source, pipeline, state, many in standing:
            counts[source, pipeline, "queued" if state == "live" else state] += many
        for source, pipeline, state, many in in_hand:
            counts[source, pipeline, state] += many
            counts[source, pipeline, "queued"] -= many
        return [(*key, many) for key, many in counts.items() if many]

    def oldest_waiting(self) -> list[tuple[str, str, int]]:
        """When the oldest queued file of each source and pipeline arrived."""
        if self._scope.principal:
            return [("", *row) for row in self._rows("oldest_of_sender")]
        return self._rows("oldest_waiting")

    def queue(self, *, size: bool) -> tuple[int, int]:
        """How many files are not at an end, and their bytes if asked."""
        if not (self._scope.principal or self._scope.pipelines):
            with self.snapshot():
                (here, of_these), (coming, of_those) = (
                    self._rows("queue")[0],
                    self._rows("files_claiming")[0],
                )
            return here + coming, of_these + of_those if size else 0
        return self._value("queue_files"), self._value("queue_bytes") if size else 0

    def _due_first(self, limit: int) -> list[RunRow]:
        """Runs that wait for a retry, the first to be due first."""
        if self._scope.principal:
            return [RunRow(*row) for row in self._rows("due_of_sender", limit)]
        due = [
            row
            for lane in self._rows("lanes_retrying")
            for row in self._rows("due_of_lane", *lane, limit)
        ]
        first = [no for _, no in sorted(due)[:limit]]
        rows = {row[0]: RunRow(*row) for row in self._rows("runs_by_number", numbers(first))}
        return [rows[no] for no in first if no in rows]

    def _counted(self) -> dict[str, int]:
        own = dict(self._rows("files_open"))
        inspected = self._value("file_total") - sum(own.values()) + own.pop("inspected", 0)
        counts = {state: many for state, many in own.items() if state in _OWN}
        live = self._value("files_live")
        counts["live"] = live + own.get("claiming", 0) + own.get("ingested", 0)
        rest = inspected - live
        for rank, many in self._rows("files_ended"):
            counts[_RANKS[rank]] = counts.get(_RANKS[rank], 0) + many
            rest -= many
        counts["done"] = rest
        return counts

    def _counted_runs(self) -> list[tuple[str, str, str, int]]:
        counts = [*self._rows("runs_live"), *self._rows("runs_ended")]
        done = dict(self._rows("runs_total"))
        for pipeline, _, many in counts:
            done[pipeline] -= many
        counts += [(pipeline, "done", many) for pipeline, many in done.items()]
        return [("", pipeline, state, many) for pipeline, state, many in counts if many]
