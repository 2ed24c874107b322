"""Files that people made in the place of others: a child's row and the end of what it replaces, in one commit."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from filemill.ledgers.sqlite import auditing
from filemill.ledgers.sqlite.children import add_child_rows
from filemill.ledgers.sqlite.deeds import SQL, give_up
from filemill.ledgers.sqlite.transaction import Transaction, numbers, texts
from filemill.model.deeds import Deed, Mend
from filemill.model.states import RunState


class _Run(msgspec.Struct, array_like=True, gc=False):
    no: int
    id: str
    state: str
    fence: int
    bad: int
    mended: str | None
    file: int


_RUNS = msgspec.json.Decoder(list[_Run])


def mend(tx: Transaction, mends: Sequence[Mend], deed: Deed) -> list[bool]:
    """One child each; its dead runs are given up."""
    wanted = dict.fromkeys(chosen.run for each in mends for chosen in each.runs)
    found = tx.read(SQL["find_mendable"], _RUNS, texts(wanted)) if wanted else []
    rows = {row.id: row for row in found}
    answers: list[bool] = []
    for each in mends:
        mine = [rows.get(chosen.run) for chosen in each.runs]
        chosen = [
            row
            for row, seen in zip(mine, each.runs, strict=True)
            if row is not None and row.fence == seen.fence and _may(row, again=each.again)
        ]
        of_one = len({row.file for row in chosen}) == 1
        answers.append(of_one and len(chosen) == len(each.runs))
        if answers[-1]:
            _do(tx, each, chosen, deed)
            for row in chosen:  # the same run asked for twice in one act
                rows.pop(row.id)
    return answers


def _may(row: _Run, *, again: bool) -> bool:
    if row.state == RunState.DEAD:
        return True
    return row.state == RunState.DONE and row.bad > 0 and (again or row.mended is None)


def _do(tx: Transaction, each: Mend, rows: Sequence[_Run], deed: Deed) -> None:
    child = each.child
    dead = numbers(row.no for row in rows if row.state == RunState.DEAD)
    give_up(tx, dead, deed.at_ns)
    tx.run(SQL["mended"], numbers(row.no for row in rows), child.file)
    add_child_rows(tx, [(rows[0].no, deed.at_ns, child, each.content)])
    for action, state in (("edit", RunState.DEAD), ("resubmit", RunState.DONE)):
        details: dict[str, dict[str, object]] = {
            row.id: {"child": child.file} for row in rows if row.state == state
        }
        auditing.note(tx, deed, action, details)
    auditing.note(tx, deed, "mended", {child.file: {"of": " ".join(row.id for row in rows)}})
