"""Groups of dead letters: what status one has, why its members are one, what they have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

from filemill.model.fingerprint import Parts, parts_of
from filemill.model.runs import BadRecord, Failure
from filemill.ports.reading import CauseRow, GroupRow, RunRow
from filemill.queries.results import DeadGroup, Resolution

NEW_NS = 86_400 * 10**9
"""How long a group counts as new after its first member died."""
NEW, ONGOING, RESOLVED, REGRESSED = "new", "ongoing", "resolved", "regressed"
_T = TypeVar("_T")


def dead_group(row: GroupRow, cause: CauseRow | None, now_ns: int) -> DeadGroup:
    """A group with its status, given what a person said of its cause."""
    resolution = None
    if cause is not None:
        status = REGRESSED if row.last_ns > cause.resolved_ns else RESOLVED
        resolution = Resolution(cause.resolved_ns, cause.revision, cause.principal, cause.reason)
    else:
        status = NEW if now_ns - row.first_ns < NEW_NS else ONGOING
    return DeadGroup(
        row.fingerprint,
        row.pipeline,
        row.step,
        row.error,
        row.message,
        row.count,
        row.first_ns,
        row.last_ns,
        status,
        resolution,
    )


def named(groups: Sequence[GroupRow], fingerprint: str) -> list[GroupRow]:
    """The groups of this fingerprint, or those that begin so; all of them where none is asked for."""
    if not fingerprint:
        return list(groups)
    wanted = fingerprint[2:] if fingerprint[:2].lower() == "d-" else fingerprint
    bare = [(g, g.fingerprint.rpartition(":")[2]) for g in groups]
    exact = [g for g, own in bare if wanted in (own, g.fingerprint)]
    return exact or [g for g, own in bare if own.startswith(wanted)]


def group_name(fingerprint: str) -> str:
    """The short name of a group of failures, `D-3fa2c1`; empty without a fingerprint."""
    return f"D-{fingerprint.rpartition(':')[2][:6]}" if fingerprint else ""


def why_grouped(run: RunRow, failure: Failure | None, bad: Sequence[BadRecord]) -> Parts | None:
    """The parts that give this run's fingerprint, proven by making it of them; None: a step named the group itself.

    A run with too many bad records is grouped by what is wrong with the first one of the guilty step.
    """
    traceback = failure.traceback if failure else ""
    tried = [parts_of(run.pipeline, run.step, run.error, run.message, traceback)]
    first = next((each for each in bad if each.step == run.step), None)
    if first is not None:
        tried.append(parts_of(run.pipeline, run.step, first.error, first.message))
    return next((parts for parts in tried if parts.fingerprint() == run.fingerprint), None)


def common(values: Iterable[_T]) -> tuple[tuple[_T, int], ...]:
    """Each value and how often it is there, the commonest first."""
    return tuple(Counter(values).most_common())
