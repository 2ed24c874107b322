"""The states of files and runs and the only list of moves between them.

A file is live from its claim until it is routed; then its runs carry its state. `settling` lives in
memory only, and `unrouted` is a reason of `held`. `docs/state-machine.md` draws these two tables and a
test holds the picture against them.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class FileState(StrEnum):
    """Where a file is before, or without, runs."""

    CLAIMING = "claiming"
    """Its row is committed; its bytes are on their way into content. Not yet acknowledged."""
    INGESTED = "ingested"
    """Acknowledged: content and row are durable."""
    INSPECTED = "inspected"
    """Its facts are known, its tags given and its runs queued: from here its runs speak for it."""
    HELD = "held"
    """No pipeline wants it, or a rule asked for a person; it has no runs."""
    REJECTED = "rejected"
    """Refused by a source's limits (size, type, name)."""
    QUARANTINED = "quarantined"
    """Refused as unsafe and never parsed."""
    CANCELLED = "cancelled"
    """Called back by a person before it was routed."""
    DISCARDED = "discarded"
    """Given up by a person, or skipped as a duplicate."""


class RunState(StrEnum):
    """Where one file's way through one pipeline is."""

    QUEUED = "queued"
    RUNNING = "running"
    """A worker holds it under a fence."""
    PUBLISHING = "publishing"
    """All its outputs are staged and known to the ledger; it holds no worker."""
    DONE = "done"
    RETRYING = "retrying"
    """A transient failure; queued again when its time comes."""
    DEAD = "dead"
    """Failed for good; waits for a person."""
    HELD = "held"
    """Waits for a person by design."""
    CANCELLED = "cancelled"
    DISCARDED = "discarded"


FILE_MOVES: dict[FileState, frozenset[FileState]] = {
    FileState.CLAIMING: frozenset({FileState.INGESTED, FileState.REJECTED}),
    FileState.INGESTED: frozenset(
        {
            FileState.INSPECTED,
            FileState.HELD,
            FileState.REJECTED,
            FileState.QUARANTINED,
            FileState.CANCELLED,
            FileState.DISCARDED,
        }
    ),
    FileState.INSPECTED: frozenset(),
    FileState.HELD: frozenset({FileState.INGESTED, FileState.DISCARDED}),
    FileState.REJECTED: frozenset({FileState.DISCARDED}),
    FileState.QUARANTINED: frozenset({FileState.INGESTED, FileState.DISCARDED}),
    FileState.CANCELLED: frozenset(),
    FileState.DISCARDED: frozenset(),
}
"""A claim that finds its file gone is not a move: the row of a file never acknowledged is deleted."""

RUN_MOVES: dict[RunState, frozenset[RunState]] = {
    RunState.QUEUED: frozenset({RunState.RUNNING, RunState.CANCELLED}),
    RunState.RUNNING: frozenset(
        {
            RunState.PUBLISHING,
            RunState.QUEUED,  # interrupted, released or a batch neighbour of a crash: no attempt spent
            RunState.RETRYING,
            RunState.DEAD,
            RunState.HELD,
            RunState.CANCELLED,
        }
    ),
    RunState.PUBLISHING: frozenset({RunState.DONE, RunState.DEAD}),
    RunState.RETRYING: frozenset({RunState.RUNNING, RunState.DEAD, RunState.CANCELLED}),
    RunState.DEAD: frozenset({RunState.QUEUED, RunState.PUBLISHING, RunState.DISCARDED}),
    RunState.HELD: frozenset({RunState.QUEUED, RunState.DISCARDED}),
    RunState.DONE: frozenset(),
    RunState.CANCELLED: frozenset(),
    RunState.DISCARDED: frozenset(),
}

LIVE_FILE_STATES = frozenset({FileState.CLAIMING, FileState.INGESTED})
LIVE_RUN_STATES = frozenset(
    {RunState.QUEUED, RunState.RUNNING, RunState.PUBLISHING, RunState.RETRYING}
)
_WORST_FIRST = (
    RunState.DEAD,
    RunState.HELD,
    RunState.CANCELLED,
    RunState.DISCARDED,
    RunState.DONE,
)


def may_move_file(before: FileState, after: FileState) -> bool:
    """Say whether the table allows a file to move from `before` to `after`."""
    return after in FILE_MOVES[before]


def may_move_run(before: RunState, after: RunState) -> bool:
    """Say whether the table allows a run to move from `before` to `after`."""
    return after in RUN_MOVES[before]


def file_state_of(state: FileState, runs: Iterable[RunState]) -> str:
    """The one word under which a file counts: `live`, or the worst end of its runs.

    Live if it is not routed yet or any run is live; else dead, held, cancelled, discarded, done in
    that order. A file without runs counts under its own state.
    """
    if state in LIVE_FILE_STATES:
        return "live"
    states = set(runs)
    if not states:
        return str(state)
    if states & LIVE_RUN_STATES:
        return "live"
    return str(next(worst for worst in _WORST_FIRST if worst in states))
