"""What an attempt leaves behind: its row, its bad records, its counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from filemill.ledgers.sqlite.packing import pack_attempt, pack_failure, plain
from filemill.ledgers.sqlite.sql import load
from filemill.ledgers.sqlite.tally import Tally
from filemill.ledgers.sqlite.transaction import Transaction, numbers, texts
from filemill.model.runs import RunResult, StepCount
from filemill.model.states import RunState
from filemill.ports.ledger import Fail, Stage

SQL = load("runs.sql")


class RunRow(msgspec.Struct, array_like=True, gc=False):
    """A run as a move finds it."""

    no: int
    id: str
    state: str
    fence: int
    attempt: int
    began_ns: int | None
    pipeline: str
    records: int
    size: int
    claimed_ns: int
    revision: int


_OUTPUTS = msgspec.json.Decoder(list[tuple[str, str, int, int, int]])


def note_attempt(tx: Transaction, rows: Sequence[tuple[Any, ...]]) -> None:
    """Write attempt rows: run, fence, number, began, ended, outcome, facts, failure, revision."""
    tx.many(SQL["add_attempts"], rows)


def note_attempts(
    tx: Transaction, ends: Sequence[tuple[RunRow, RunResult, int, str, Fail | None]]
) -> None:
    """Record how attempts went, and the bad records each found in place of an earlier attempt's."""
    note_attempt(
        tx,
        [
            (
                row.no,
                row.fence,
                row.attempt,
                row.began_ns if row.began_ns is not None else at_ns,
                at_ns,
                outcome,
                pack_attempt(result),
                pack_failure(failed.failure) if failed else None,
                row.revision,
            )
            for row, result, at_ns, outcome, failed in ends
        ],
    )
    again = [row.no for row, *_ in ends if row.fence > 1]
    if again:
        tx.run(SQL["drop_rejects"], numbers(again))
    tx.many(
        SQL["add_rejects"],
        [
            (
                row.no,
                number,
                bad.step,
                bad.record,
                bad.line,
                bad.start,
                bad.end,
                plain(bad.error),
                plain(bad.message),
            )
            for row, result, *_ in ends
            for number, bad in enumerate(result.bad)
        ],
    )


def note_publish_failure(tx: Transaction, row: RunRow, each: Fail) -> None:
    """Add a sink's refusal to the attempt that staged; mark what other sinks hold already."""
    note_attempt(
        tx,
        [
            (
                row.no,
                row.fence,
                row.attempt,
                row.began_ns if row.began_ns is not None else each.at_ns,
                each.at_ns,
                each.state,
                pack_attempt(each.result),
                pack_failure(each.failure),
                row.revision,
            )
        ],
    )
    for state, outputs in (("unverified", each.unverified), ("published", each.published)):
        if outputs:
            tx.run(SQL["mark_outputs"], numbers([row.no]), texts(outputs), state, each.at_ns)


def tally_steps(tally: Tally, moved: Sequence[tuple[RunRow, Stage]]) -> None:
    """Count what went through each step of attempts that are staged; those that failed would count twice."""
    groups: dict[tuple[int, str, str], list[StepCount]] = {}
    for row, each in moved:
        for step in each.result.steps:
            groups.setdefault((each.at_ns, row.pipeline, step.step), []).append(step)
    for (at_ns, pipeline, name), steps in groups.items():
        tally.add(
            at_ns,
            "taken",
            pipeline=pipeline,
            step=name,
            count=len(steps),
            records=sum([step.taken for step in steps]),
            took_ns=[step.took_ns for step in steps],
        )
        for outcome, records in (
            ("given", sum([step.given for step in steps])),
            ("added", sum([step.added for step in steps])),
            ("filtered", sum([step.filtered for step in steps])),
            ("bad", sum([step.bad for step in steps])),
        ):
            if records:
                tally.add(
                    at_ns, outcome, pipeline=pipeline, step=name, count=len(steps), records=records
                )


def tally_done(tx: Transaction, at_ns: int, pipeline: str, group: Sequence[RunRow]) -> None:
    """Count finished runs of one pipeline, from arrival to done, and what each sink holds of them."""
    tx.tally.add(
        at_ns,
        RunState.DONE,
        pipeline=pipeline,
        count=len(group),
        records=sum([row.records for row in group]),
        size=sum([row.size for row in group]),
        took_ns=[at_ns - row.claimed_ns for row in group],
    )
    for sink, state, count, records, size in tx.read(
        SQL["outputs_of"], _OUTPUTS, numbers(row.no for row in group)
    ):
        tx.tally.add(
            at_ns,
            state,
            pipeline=pipeline,
            sink=sink,
            count=count,
            records=records,
            size=size,
        )
