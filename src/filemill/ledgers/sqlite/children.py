"""Children of staged runs: new rows in CLAIMING, in the transaction that stages their run."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from filemill.ledgers.sqlite.claims import SQL
from filemill.ledgers.sqlite.packing import signed
from filemill.ledgers.sqlite.transaction import Transaction, numbers
from filemill.model.runs import StagedChild
from filemill.ports.ledger import Stage


class _Forebears(msgspec.Struct, array_like=True, gc=False):
    run: int
    file: str
    source: str
    priority: int
    after: str
    given: str
    principal: str


_FOREBEARS = msgspec.json.Decoder(list[_Forebears])


def add_children(tx: Transaction, moved: Sequence[tuple[int, Stage]]) -> None:
    """Note the children of these runs (by number); a child whose id is known stays as it is."""
    if not moved:
        return
    add_child_rows(
        tx,
        [
            (no, each.at_ns, child, content)
            for no, each in moved
            for child, content in zip(each.result.children, each.contents, strict=True)
        ],
    )


def add_child_rows(tx: Transaction, children: Sequence[tuple[int, int, StagedChild, str]]) -> None:
    """Note children: the number of the run each is of, when, the child, its content reference."""
    found = tx.read(SQL["forebears"], _FOREBEARS, numbers({no for no, *_ in children}))
    parents = {each.run: each for each in found}
    rows = []
    for no, at_ns, child, content in children:
        parent = parents[no]
        identity = child.identity
        tags = " ".join(dict.fromkeys((*parent.given.split(), *child.tags)))
        rows.append(
            (
                child.file,
                at_ns,
                parent.source,
                child.staged,
                child.relative,
                signed(identity.device),
                signed(identity.inode),
                identity.size,
                identity.mtime_ns,
                content,
                at_ns,
                "archive" if parent.after == "archive" else "delete",
                parent.priority,
                parent.file,
                tags,
                tags,
                parent.principal,
            )
        )
    tx.many(SQL["add_children"], rows)
