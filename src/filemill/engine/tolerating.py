"""Bad records of a run, and whether there are more of them than its pipeline tolerates.

Imported by the server too, which judges the files that were worked on in chunks: no Polars here.
"""

from __future__ import annotations

from filemill.model.errors import FailureKind
from filemill.model.fingerprint import fingerprint
from filemill.model.plan import Tolerance
from filemill.model.runs import BadRecord, Failure, Hold

DETAILED = 1_000
"""Bad records of one run that are kept in detail; all are counted."""
_MEND_RECORDS = "mend the records, or let the pipeline's `tolerance:` allow some"
_MEND_STEP = "mend the step and redrive the run, or mend the records, or let the pipeline's `tolerance:` allow some"
"""Where the user's own code raised what it did not mean to: that is where to look first."""


class RunBook:
    """One run's bad records and what was read of it."""

    __slots__ = ("bad", "bad_by_step", "bad_total", "blank", "hold", "traceback")

    def __init__(self) -> None:
        self.bad: list[BadRecord] = []
        self.bad_total = 0
        self.bad_by_step: dict[str, int] = {}
        self.blank = 0
        self.hold: Hold | None = None
        self.traceback: dict[str, str] = {}
        """The first traceback of each step's bad records."""

    def first_of(self, step: str) -> BadRecord | None:
        """The first bad record of that step, in the file's order, among those kept."""
        return min((b for b in self.bad if b.step == step), key=lambda b: b.record, default=None)


def over_tolerance(
    book: RunBook, records: int, pipeline: str, tolerance: Tolerance
) -> Failure | None:
    """The failure of a run with more bad records than its pipeline tolerates, or None."""
    if not book.bad_total or tolerance.allows(book.bad_total, records):
        return None
    step = max(book.bad_by_step, key=lambda name: book.bad_by_step[name])
    first = book.first_of(step)
    allowed = f"{tolerance.count}" if tolerance.share is None else f"{tolerance.share:.4%}"
    allowed = allowed if tolerance.share is None else allowed.rstrip("0%").rstrip(".") + "%"
    head = (
        f"{book.bad_total:,} of {records:,} record{'s' if records != 1 else ''} "
        f"{'are' if book.bad_total != 1 else 'is'} bad (tolerance {allowed})"
    )
    where = f"; the first, on line {first.line}: {first.message}" if first else ""
    error = first.error if first else "BadRecords"
    traceback = book.traceback.get(step, "")
    return Failure(
        kind=FailureKind.PERMANENT,
        step=step,
        error="BadRecords",
        message=head + where,
        help=_MEND_STEP if traceback else _MEND_RECORDS,
        traceback=traceback,
        # Grouped by what is wrong with the first record, not by how many there are.
        fingerprint=fingerprint(pipeline, step, error, first.message if first else ""),
    )
