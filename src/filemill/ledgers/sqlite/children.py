"""Children of staged runs: new rows in CLAIMING, in the transaction that stages their run."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from filemill.ledgers.sqlite.claims import SQL
from filemill.ledgers.sqlite.packing import signed
from filemill.ledgers.sqlite.transaction import Transaction, numbers
from filemill.ports.ledger import Stage


class _Forebears(msgspec.Struct, array_like=True, gc=False):
    run: int
    file: str
    source: str
    priority: int
    after: str
    given: str


_FOREBEARS = msgspec.json.Decoder(list[_Forebears])


def add_children(tx: Transaction, moved: Sequence[tuple[int, Stage]]) -> None:
    """Note the children of these runs (by number); a child whose id is known stays as it is."""
    if not moved:
        return
    found = tx.read(SQL["forebears"], _FOREBEARS, numbers(no for no, _ in moved))
    parents = {each.run: each for each in found}
    rows = []
    for no, each in moved:
        parent = parents[no]
        for child, content in zip(each.result.children, each.contents, strict=True):
            identity = child.identity
            tags = " ".join(dict.fromkeys((*parent.given.split(), *child.tags)))
            rows.append(
                (
                    child.file,
                    each.at_ns,
                    parent.source,
                    child.staged,
                    child.relative,
                    signed(identity.device),
                    signed(identity.inode),
                    identity.size,
                    identity.mtime_ns,
                    content,
                    each.at_ns,
                    "archive" if parent.after == "archive" else "delete",
                    parent.priority,
                    parent.file,
                    tags,
                    tags,
                )
            )
    tx.many(SQL["add_children"], rows)
