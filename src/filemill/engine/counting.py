"""What each step did to each run's records: the books behind "nothing is dropped silently".

For every step and run: taken + added = given + filtered + bad. What a step took, gave and found bad is seen from
outside; what it added and filtered follows from these unless it did both to one file and said so itself.
"""

from __future__ import annotations

from filemill.model.runs import BadRecord, StepCount
from filemill.records.batch import Batch

DETAILED = 1_000
"""Bad records of one run that are kept in detail; all are counted."""

Counts = list[tuple[int, int]]
"""(order index, number of records) in the order of a batch."""


def counts_of(batch: Batch) -> Counts:
    """How many records of each file a batch has."""
    return [(file, stop - start) for file, start, stop in batch.split_files()]


class StepBook:
    """One step's numbers by order index."""

    __slots__ = ("added", "bad", "filtered", "given", "taken", "took_ns")

    def __init__(self, orders: int) -> None:
        self.taken = [0] * orders
        self.given = [0] * orders
        self.bad = [0] * orders
        self.added = [0] * orders
        self.filtered = [0] * orders
        self.took_ns = 0

    def counts(self, step: str) -> list[StepCount]:
        """Each run's numbers, closed: what is missing on one side was added or filtered."""
        made = []
        total = sum(self.taken) or 1
        for taken, given, bad, added, filtered in zip(
            self.taken, self.given, self.bad, self.added, self.filtered, strict=True
        ):
            rest = taken + added - given - filtered - bad
            made.append(
                StepCount(
                    step,
                    taken,
                    given,
                    added - rest if rest < 0 else added,
                    filtered + rest if rest > 0 else filtered,
                    bad,
                    self.took_ns * taken // total,
                )
            )
        return made


class RunBook:
    """One run's bad records and what was read of it."""

    __slots__ = ("bad", "bad_by_step", "bad_total", "blank", "traceback")

    def __init__(self) -> None:
        self.bad: list[BadRecord] = []
        self.bad_total = 0
        self.bad_by_step: dict[str, int] = {}
        self.blank = 0
        self.traceback: dict[str, str] = {}
        """The first traceback of each step's bad records."""

    def first_of(self, step: str) -> BadRecord | None:
        """The first bad record of that step, in the file's order, among those kept."""
        return min((b for b in self.bad if b.step == step), key=lambda b: b.record, default=None)
