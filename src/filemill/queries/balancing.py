"""Where the records of one attempt are: what was read and added is out, filtered or bad, and nothing else."""

from __future__ import annotations

import msgspec

from filemill.queries.results import Attempt


class Balance(msgspec.Struct, frozen=True):
    """read + added = out + filtered + bad."""

    read: int
    added: int
    out: int
    filtered: int
    bad: int


def balance_of(attempt: Attempt) -> Balance | None:
    """An attempt's balance over all its steps; None where it read no records, or did not come to its end.

    `out` counts records that reached the end of their way; one that a route sends to several sinks counts once.
    """
    if not attempt.steps or not attempt.records:
        return None
    added = sum(step.added for step in attempt.steps)
    filtered = sum(step.filtered for step in attempt.steps)
    bad = sum(step.bad for step in attempt.steps)
    return Balance(
        read=attempt.records,
        added=added,
        out=attempt.records + added - filtered - bad,
        filtered=filtered,
        bad=bad,
    )
