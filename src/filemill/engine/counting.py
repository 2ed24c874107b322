"""What each step did to each run's records: the books behind "nothing is dropped silently".

For every step and run: taken + added = given + filtered + bad. What a step took, gave and found bad is seen from
outside; what it added and filtered follows from these unless it did both to one file and said so itself.
"""

from __future__ import annotations

from filemill.model.runs import StepCount
from filemill.records.batch import Batch

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

    def enter(self, order: int, count: StepCount) -> None:
        """Take over what an earlier attempt counted of one order."""
        self.taken[order], self.given[order], self.bad[order] = count.taken, count.given, count.bad
        self.added[order], self.filtered[order] = count.added, count.filtered

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
