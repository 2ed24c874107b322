"""Moves of runs: lease, stage, finish, fail. Each function is one request inside the writer's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from filemill.ledgers.sqlite.attempts import (
    SQL,
    RunRow,
    note_attempts,
    note_publish_failure,
    tally_done,
    tally_steps,
)
from filemill.ledgers.sqlite.children import add_children
from filemill.ledgers.sqlite.packing import plain, signed, unpack_failure
from filemill.ledgers.sqlite.transaction import Transaction, numbers, texts
from filemill.model.errors import NotFound, PermanentError
from filemill.model.files import FileRef
from filemill.model.runs import Earlier, RunOrder
from filemill.model.states import RUN_MOVES, RunState
from filemill.ports.ledger import Fail, Finish, Stage

_MOVES = frozenset(
    (before, after)
    for before in (RunState.RUNNING, RunState.PUBLISHING)
    for after in RUN_MOVES[before]
)
"""The transition table's moves of runs that somebody owns, as pairs; the others are a lease's or a person's.

States are strings, so a row's text is found as it is.
"""
_ENDS = frozenset({RunState.DEAD, RunState.HELD})
"""Where a running run may end without being tried again by itself."""


class _OrderRow(msgspec.Struct, array_like=True, gc=False):
    no: int
    id: str
    pipeline: str
    revision: int
    attempt: int
    fence: int
    solo: int
    file: str
    content: str
    relative: str
    size: int
    source: str
    claimed_ns: int
    tags: str
    attributes: dict[str, str]
    digest: str
    media: str
    depth: int
    kept: str
    from_step: str
    released: dict[str, str]
    insists: int
    supersede: int
    failed: str


_RUNS = msgspec.json.Decoder(list[RunRow])
_ORDERS = msgspec.json.Decoder(list[_OrderRow])
_EARLIER = msgspec.json.Decoder(list[tuple[int, str, str, str, str, int, str]])
_TEXTS = msgspec.json.Decoder(list[str])


def lease(tx: Transaction, chosen: Sequence[int], at_ns: int, revision: int) -> list[RunOrder]:
    """QUEUED or RETRYING -> RUNNING: these runs, by number, in this sequence.

    Raises:
        PermanentError: one of them does not wait; none is leased.
    """
    if not chosen:
        return []
    if tx.run(SQL["lease"], numbers(chosen), at_ns, revision) != len(chosen):
        raise PermanentError("a waiting run could not be leased")
    return orders(tx, chosen)


def orders(tx: Transaction, chosen: Sequence[int]) -> list[RunOrder]:
    """The orders of these runs, by number, in this sequence."""
    if not chosen:
        return []
    rows = {row.no: row for row in tx.read(SQL["orders"], _ORDERS, numbers(chosen))}
    superseding = [row.no for row in rows.values() if row.supersede]
    earlier: dict[int, list[Earlier]] = {}
    if superseding:
        for no, publication, run, sink, name, size, digest in tx.read(
            SQL["superseded"], _EARLIER, numbers(superseding)
        ):
            named = bytes.fromhex(name)
            earlier.setdefault(no, []).append(Earlier(publication, run, sink, named, size, digest))
    return [_order(rows[no], earlier.get(no, ())) for no in chosen]


def stage(tx: Transaction, stages: Sequence[Stage]) -> list[bool]:
    """RUNNING -> PUBLISHING."""
    rows = find(tx, [s.result.run for s in stages])
    answers: list[bool] = []
    moved: list[tuple[RunRow, Stage]] = []
    for each in stages:
        row = rows.get(each.result.run)
        answers.append(_may(row, each.result.fence, RunState.PUBLISHING))
        if answers[-1] and row is not None:
            row.state = RunState.PUBLISHING
            moved.append((row, each))
    if not moved:
        return answers
    _expect(
        tx.many(
            SQL["stage"],
            [
                (row.no, row.fence, s.at_ns, s.result.records, s.result.bad_total)
                for row, s in moved
            ],
        ),
        moved,
    )
    _publish_later(tx, moved)
    _forget_chunks(tx, [row for row, s in moved if s.result.chunks])
    add_children(tx, [(row.no, each) for row, each in moved if each.result.children])
    note_attempts(
        tx, [(row, s.result, s.at_ns, str(RunState.PUBLISHING), None) for row, s in moved]
    )
    tally_steps(tx.tally, moved)
    return answers


def rename_output(tx: Transaction, publication: str, name: bytes) -> None:
    """Fix another target name.

    Raises:
        NotFound: no output of that id is on its way.
    """
    if not tx.run(SQL["rename_output"], publication, name):
        raise NotFound(f"no output {publication} is waiting to be published")


def finish(tx: Transaction, finishes: Sequence[Finish]) -> list[bool]:
    """PUBLISHING -> DONE."""
    rows = find(tx, [f.run for f in finishes])
    answers: list[bool] = []
    moved: dict[tuple[int, str], list[RunRow]] = {}
    unverified: dict[int, tuple[list[int], list[str]]] = {}
    for each in finishes:
        row = rows.get(each.run)
        answers.append(_may(row, each.fence, RunState.DONE))
        if answers[-1] and row is not None:
            row.state = RunState.DONE
            moved.setdefault((each.at_ns, row.pipeline), []).append(row)
            if each.unverified:
                runs, outputs = unverified.setdefault(each.at_ns, ([], []))
                runs.append(row.no)
                outputs += each.unverified
    for at_ns, (runs, outputs) in unverified.items():
        tx.run(SQL["mark_outputs"], numbers(runs), texts(outputs), "unverified", at_ns)
    for (at_ns, pipeline), group in moved.items():
        mine = numbers(row.no for row in group)
        _expect(tx.run(SQL["finish"], mine, at_ns), group)
        tx.run(SQL["published"], mine, at_ns)
        tally_done(tx, at_ns, pipeline, group)
    return answers


def fail(tx: Transaction, fails: Sequence[Fail]) -> list[bool]:
    """RUNNING -> retrying, dead, queued or held; PUBLISHING -> dead."""
    rows = find(tx, [f.run for f in fails])
    answers: list[bool] = []
    moved: list[tuple[RunRow, Fail]] = []
    changes: list[tuple[Any, ...]] = []
    for each in fails:
        row, after = rows.get(each.run), RunState(each.state)
        answers.append(_may(row, each.fence, after))
        if answers[-1] and row is not None:
            changes.append(_fail_row(row, each, after))
            if row.state == RunState.RUNNING:
                moved.append((row, each))
            else:
                note_publish_failure(tx, row, each)
            row.state = after
            tx.tally.add(
                each.at_ns,
                after if after is not RunState.QUEUED else "interrupted",
                pipeline=row.pipeline,
                step=each.failure.step if each.failure else "",
                records=each.result.records,
                size=row.size,
            )
    _expect(tx.many(SQL["fail"], changes), changes)
    _forget_chunks(tx, [row for row, f in moved if f.state in _ENDS])
    note_attempts(tx, [(row, f.result, f.at_ns, f.state, f) for row, f in moved])
    return answers


def find(tx: Transaction, runs: Iterable[str]) -> dict[str, RunRow]:
    """Rows of these runs, by id; the unknown are absent."""
    wanted = dict.fromkeys(runs)
    if not wanted:
        return {}
    return {row.id: row for row in tx.read(SQL["find_runs"], _RUNS, texts(wanted))}


def _may(row: RunRow | None, fence: int, after: RunState) -> bool:
    """Whether the fence and the transition table allow the move."""
    return row is not None and row.fence == fence and (row.state, after) in _MOVES


def _order(row: _OrderRow, earlier: Sequence[Earlier]) -> RunOrder:
    return RunOrder(
        run=row.id,
        file=FileRef(
            file=row.file,
            path=row.content.encode(),
            relative=bytes.fromhex(row.relative),
            size=row.size,
            source=row.source,
            arrived_ns=row.claimed_ns,
            tags=tuple(row.tags.split()),
            attributes=row.attributes,
            digest=row.digest,
            media=row.media,
            depth=row.depth,
        ),
        pipeline=row.pipeline,
        revision=row.revision,
        attempt=row.attempt,
        fence=row.fence,
        solo=bool(row.solo),
        kept=row.kept,
        from_step=row.from_step,
        released=row.released,
        insists=bool(row.insists),
        supersedes=tuple(earlier),
        failing_ns=_first_failure(row.failed),
    )


def _first_failure(packed: str) -> int:
    """Since when a run fails, as its latest failure says it."""
    failure = unpack_failure(bytes.fromhex(packed)) if packed else None
    return failure.first_ns if failure is not None else 0


def _publish_later(tx: Transaction, moved: Sequence[tuple[RunRow, Stage]]) -> None:
    """Record publications; of a run tried before, they replace those nobody published."""
    again = [row.no for row, s in moved if row.fence > 1]
    published: set[str] = set()
    if again:
        tx.run(SQL["drop_staged"], numbers(again))
        published.update(tx.read(SQL["published_of"], _TEXTS, numbers(again)))
    tx.many(
        SQL["add_publications"],
        [
            (
                row.no,
                out.publication,
                row.fence,
                out.sink,
                out.name,
                out.staged,
                signed(out.device),
                signed(out.inode),
                out.size,
                out.digest,
                out.records,
                out.mode,
                out.over_size,
                out.over_digest,
                s.at_ns,
            )
            for row, s in moved
            for out in s.result.outputs
            if out.publication not in published
        ],
    )


def _fail_row(row: RunRow, each: Fail, after: RunState) -> tuple[Any, ...]:
    failure, result = each.failure, each.result
    staged = row.state == RunState.PUBLISHING
    return (
        row.no,
        row.fence,
        row.state,
        after,
        each.at_ns,
        0 if after is RunState.QUEUED else 1,
        each.retry_at_ns if after is RunState.RETRYING else None,
        int(each.solo),
        row.records if staged else result.records,
        None if staged else result.bad_total,
        failure.fingerprint if failure else None,
        failure.step if failure else result.hold_step or None,
        failure.error if failure else None,
        plain(failure.message if failure else result.hold),
        each.input,
        each.tries or None,
    )


def _forget_chunks(tx: Transaction, rows: Sequence[RunRow]) -> None:
    """What their chunks did counts no more: their outputs are staged, or they begin anew if they ever run again."""
    if rows:
        tx.run(SQL["drop_chunks"], numbers(row.no for row in rows))


def _expect(changed: int, rows: Sequence[Any]) -> None:
    """The rows were read in this very transaction, so each must have moved.

    Raises:
        PermanentError: one did not; the request is rolled back.
    """
    if changed != len(rows):
        raise PermanentError(f"{changed} of {len(rows)} runs moved in the ledger")
