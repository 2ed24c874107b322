"""Which runs are leased next: the highest priority first, within it the sources in turn, within a source the oldest.

The queue is *lanes*, one for each source and pipeline. A lease finds the lanes by one step each in the index, leaves
out those of pipelines that get none (paused, or their sink is broken), gives every source the same share of what
is asked for, and what one does not need to the others. So its cost is that of the runs it takes and of the lanes there
are, never of the runs that wait; and a source with a million files delays another's single file by one lease.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import msgspec

from filemill.ledgers.sqlite.sql import load
from filemill.ledgers.sqlite.transaction import Transaction
from filemill.model.states import RunState

SQL = load("leasing.sql")
_PAUSED = load("deeds.sql")["paused"]
_TOP = (1 << 63) - 1
_TEXTS = msgspec.json.Decoder(list[str])
_LANES = msgspec.json.Decoder(list[tuple[str, str]])
_ROWS = msgspec.json.Decoder(list[tuple[int, int]])
_WAITING = (RunState.QUEUED, RunState.RETRYING)


class Turn:
    """Whose turn it is: the source that was served last. Lives as long as its ledger is open."""

    def __init__(self) -> None:
        self.last = ""


class _Lane:
    """The runs of one source and pipeline that wait in one state, at one priority."""

    def __init__(self, state: RunState, priority: int, source: str, pipeline: str) -> None:
        self.source = source
        self.pipeline = pipeline
        self._state = state
        self._priority = priority
        self._ahead: list[tuple[int, int]] = []
        self._read = 0
        self._over = False

    def look(self, tx: Transaction, count: int, due_ns: int) -> list[tuple[int, int]]:
        """Its next `count` runs as (file, number), or all there are."""
        missing = count - len(self._ahead)
        if missing > 0 and not self._over:
            place = (self._priority, self.source, self.pipeline, missing, self._read)
            if self._state is RunState.QUEUED:
                rows = tx.read(SQL["queued"], _ROWS, *place)
            else:
                rows = tx.read(SQL["due"], _ROWS, *place, due_ns)
            self._read += len(rows)
            self._over = len(rows) < missing
            self._ahead += rows
        return self._ahead[:count]

    def drop(self, taken: set[int]) -> None:
        """Runs that were taken, by number."""
        self._ahead = [row for row in self._ahead if row[1] not in taken]


def choose(
    tx: Transaction, limit: int, due_ns: int, excluding: Collection[str], turn: Turn
) -> list[int]:
    """Numbers of the runs to lease now, neighbours of one priority grouped by pipeline."""
    without = _without(tx, excluding)
    chosen: list[int] = []
    for priority in _priorities(tx, _WAITING):
        lanes = [
            lane
            for state in _WAITING
            for lane in _lanes(tx, state, priority)
            if lane.pipeline not in without
        ]
        chosen += _grouped(_in_turn(tx, lanes, limit - len(chosen), due_ns, turn))
        if len(chosen) >= limit:
            break
    return chosen


def next_due(tx: Transaction, excluding: Collection[str]) -> int | None:
    """When the earliest retry is due, of pipelines that get any."""
    without = _without(tx, excluding)
    state = RunState.RETRYING
    return min(
        (
            tx.one(SQL["next_due"], priority, lane.source, lane.pipeline)
            for priority in _priorities(tx, (state,))
            for lane in _lanes(tx, state, priority)
            if lane.pipeline not in without
        ),
        default=None,
    )


def _without(tx: Transaction, excluding: Collection[str]) -> set[str]:
    return {*excluding, *tx.read(_PAUSED, _TEXTS)}


def _priorities(tx: Transaction, states: Collection[RunState]) -> Iterator[int]:
    """Each priority that has a run in one of these states, highest first; an index step each."""
    below = _TOP
    while True:
        found = [tx.one(SQL["top"], state, below) for state in states]
        there = [priority for priority in found if priority is not None]
        if not there:
            return
        below = max(there)
        yield below


def _lanes(tx: Transaction, state: RunState, priority: int) -> list[_Lane]:
    return [
        _Lane(state, priority, *names) for names in tx.read(SQL["lanes"], _LANES, state, priority)
    ]


def _in_turn(
    tx: Transaction, lanes: list[_Lane], room: int, due_ns: int, turn: Turn
) -> list[tuple[int, int, str]]:
    """Up to `room` runs as (file, number, pipeline): the same share of each source, begun after the one served last."""
    sources: dict[str, list[_Lane]] = {}
    for lane in sorted(lanes, key=lambda lane: (lane.source <= turn.last, lane.source)):
        sources.setdefault(lane.source, []).append(lane)
    taken: list[tuple[int, int, str]] = []
    while room > 0 and sources:
        share = -(-room // len(sources))
        for source, mine in list(sources.items()):
            wanted = min(share, room)
            rows = _oldest(tx, mine, wanted, due_ns)
            taken += rows
            room -= len(rows)
            if rows:
                turn.last = source
            if len(rows) < wanted:
                del sources[source]
            if room == 0:
                break
    return taken


def _oldest(
    tx: Transaction, lanes: list[_Lane], count: int, due_ns: int
) -> list[tuple[int, int, str]]:
    """The oldest of one source's lanes, which lose them."""
    rows = sorted(
        (file, no, lane.pipeline) for lane in lanes for file, no in lane.look(tx, count, due_ns)
    )[:count]
    taken = {no for _, no, _ in rows}
    for lane in lanes:
        lane.drop(taken)
    return rows


def _grouped(rows: list[tuple[int, int, str]]) -> list[int]:
    """Oldest first, but runs of one pipeline together, where the first of them stands: a batch for one worker."""
    rows.sort()
    place: dict[str, int] = {}
    for _, _, pipeline in rows:
        place.setdefault(pipeline, len(place))
    rows.sort(key=lambda row: place[row[2]])
    return [no for _, no, _ in rows]
