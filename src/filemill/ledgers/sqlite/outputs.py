"""Rows of outputs as JSON brings them, and the publications that they are."""

from __future__ import annotations

import msgspec

from filemill.ledgers.sqlite.packing import unsigned
from filemill.model.runs import Publication


class OutputRow(msgspec.Struct, array_like=True, gc=False):
    """One output, names in hex, numbers signed."""

    publication: str
    run: str
    fence: int
    sink: str
    name: str
    staged: str
    device: int
    inode: int
    size: int
    digest: str
    records: int
    mode: str
    state: str
    over_size: int
    over_digest: str


STAGED = msgspec.json.Decoder(list[OutputRow])


def publication(row: OutputRow) -> Publication:
    """The publication that a row is."""
    return Publication(
        publication=row.publication,
        run=row.run,
        fence=row.fence,
        sink=row.sink,
        name=bytes.fromhex(row.name),
        staged=bytes.fromhex(row.staged),
        device=unsigned(row.device),
        inode=unsigned(row.inode),
        size=row.size,
        digest=row.digest,
        records=row.records,
        mode=row.mode,
        state=row.state,
        over_size=row.over_size,
        over_digest=row.over_digest,
    )
