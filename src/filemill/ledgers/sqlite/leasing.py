"""Which runs are leased next: the highest priority first, within it the sources in turn, within a source the oldest.

The queue is *lanes*, one for each source and pipeline. A lease finds the lanes by one step each in the index, leaves
out those of pipelines that get none (paused, or their sink is broken), gives every source the same share of what
is asked for, and what one does not need to the others. So its cost is that of the runs it takes and of the lanes there
are, never of the runs that wait; and a source with a million files delays another's single file by one lease.

Of a pipeline with `order_by:` only *heads* are leased: the first run of each key that is not at its end yet, and that
only when no file that arrived before it is still to be routed, for it might have the same key. Keys are gone through in
turn, so the cost is that of the keys there are at worst. A dead or held run is at an end: it holds nobody up.
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
_HEADS = msgspec.json.Decoder(list[tuple[int, int, str, str]])
_LAST_KEY = "\U0010ffff"
_WAITING = (RunState.QUEUED, RunState.RETRYING)


class Turn:
    """Whose turn it is: the source that was served last, the key of each pipeline in order that was offered last.

    Lives as long as its ledger is open.
    """

    def __init__(self) -> None:
        self.last = ""
        self.keys: dict[str, str] = {}


class _Lane:
    """The runs of one source and pipeline that wait in one state, at one priority."""

    def __init__(
        self, state: RunState, priority: int, source: str, pipeline: str, *, free: bool = False
    ) -> None:
        self.source = source
        self.pipeline = pipeline
        self._state = state
        self._priority = priority
        self._queued, self._due = ("queued_free", "due_free") if free else ("queued", "due")
        self._ahead: list[tuple[int, int]] = []
        self._read = 0
        self._over = False

    def look(self, tx: Transaction, count: int, due_ns: int) -> list[tuple[int, int]]:
        """Its next `count` runs as (file, number), or all there are."""
        missing = count - len(self._ahead)
        if missing > 0 and not self._over:
            place = (self._priority, self.source, self.pipeline, missing, self._read)
            if self._state is RunState.QUEUED:
                rows = tx.read(SQL[self._queued], _ROWS, *place)
            else:
                rows = tx.read(SQL[self._due], _ROWS, *place, due_ns)
            self._read += len(rows)
            self._over = len(rows) < missing
            self._ahead += rows
        return self._ahead[:count]

    def drop(self, taken: set[int]) -> None:
        """Runs that were taken, by number."""
        self._ahead = [row for row in self._ahead if row[1] not in taken]


class _Heads(_Lane):
    """Runs of one source and pipeline that are the first of their keys."""

    def __init__(self, source: str, pipeline: str, rows: list[tuple[int, int]]) -> None:
        super().__init__(RunState.QUEUED, 0, source, pipeline)
        self._ahead = sorted(rows)
        self._over = True


def choose(
    tx: Transaction, limit: int, due_ns: int, excluding: Collection[str], turn: Turn
) -> list[int]:
    """Numbers of the runs to lease now, neighbours of one priority grouped by pipeline."""
    without = _without(tx, excluding)
    ordered = _ordered(tx)
    chosen: list[int] = []
    for priority, states in _priorities(tx, _WAITING):
        lanes = [
            lane
            for state in states
            for lane in _lanes(tx, state, priority, ordered)
            if lane.pipeline not in without
        ]
        for pipeline in ordered - without:
            rows = _heads(tx, (pipeline, priority, limit - len(chosen), due_ns), turn)
            lanes += _by_source(pipeline, rows)
        chosen += _grouped(_in_turn(tx, lanes, limit - len(chosen), due_ns, turn))
        if len(chosen) >= limit:
            break
    return chosen


def next_due(tx: Transaction, excluding: Collection[str]) -> int | None:
    """When the earliest retry is due, of pipelines that get any."""
    without = _without(tx, excluding)
    state = RunState.RETRYING
    unrouted = _first_unrouted(tx)
    found = [
        tx.one(SQL["next_due"], priority, lane.source, lane.pipeline, unrouted)
        for priority, _ in _priorities(tx, (state,))
        for lane in _lanes(tx, state, priority)
        if lane.pipeline not in without
    ]
    return min((due for due in found if due is not None), default=None)


def _without(tx: Transaction, excluding: Collection[str]) -> set[str]:
    return {*excluding, *tx.read(_PAUSED, _TEXTS)}


def _priorities(
    tx: Transaction, states: Collection[RunState]
) -> Iterator[tuple[int, list[RunState]]]:
    """Each priority that has a run in one of these states, and in which, highest first; an index step each."""
    tops: dict[RunState, int | None] = {state: tx.one(SQL["top"], state, _TOP) for state in states}
    while there := {state: top for state, top in tops.items() if top is not None}:
        priority = max(there.values())
        mine = [state for state, top in there.items() if top == priority]
        yield priority, mine
        tops = there | {state: tx.one(SQL["top"], state, priority) for state in mine}


def _lanes(
    tx: Transaction, state: RunState, priority: int, ordered: Collection[str] = ()
) -> list[_Lane]:
    return [
        _Lane(state, priority, *names, free=names[1] in ordered)
        for names in tx.read(SQL["lanes"], _LANES, state, priority)
    ]


def _ordered(tx: Transaction) -> set[str]:
    """Pipelines that have runs with an order key."""
    return set(tx.read(SQL["ordered"], _TEXTS))


def _first_unrouted(tx: Transaction) -> int:
    first = tx.one(SQL["first_unrouted"])
    return _TOP if first is None else first


def _heads(
    tx: Transaction, wanted: tuple[str, int, int, int], turn: Turn
) -> list[tuple[int, int, str, str]]:
    """First runs of one pipeline's keys as (file, number, source, key), begun behind the key that was offered last.

    `wanted` is the pipeline, the priority, how many at most, and the time at which retries are due.
    """
    pipeline, priority, count, due_ns = wanted
    last = turn.keys.get(pipeline, "")
    rows: list[tuple[int, int, str, str]] = []
    unrouted = _first_unrouted(tx)
    for after, upto in ((last, _LAST_KEY), ("", last)):
        missing = count - len(rows)
        if missing > 0 and upto:
            found = (pipeline, after, upto, priority, unrouted, due_ns, missing)
            rows += tx.read(SQL["heads"], _HEADS, *found)
    turn.keys[pipeline] = rows[-1][3] if len(rows) == count else ""
    return rows


def _by_source(pipeline: str, rows: list[tuple[int, int, str, str]]) -> list[_Heads]:
    sources: dict[str, list[tuple[int, int]]] = {}
    for file, no, source, _ in rows:
        sources.setdefault(source, []).append((file, no))
    return [_Heads(source, pipeline, mine) for source, mine in sources.items()]


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
