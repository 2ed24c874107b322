"""Chunks of runs that are worked on in pieces: what is done, so that a crash costs no more than what was in hand."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from filemill.ledgers.sqlite.attempts import SQL
from filemill.ledgers.sqlite.packing import pack_checkpoint, unpack_checkpoint
from filemill.ledgers.sqlite.runs import find
from filemill.ledgers.sqlite.transaction import Transaction, numbers
from filemill.model.runs import ChunkRange
from filemill.model.states import RunState
from filemill.ports.ledger import Checkpoint


class _ChunkRow(msgspec.Struct, array_like=True, gc=False):
    number: int
    fence: int
    start: int
    end: int
    first_record: int
    first_line: int
    checkpoint: str


_CHUNKS = msgspec.json.Decoder(list[_ChunkRow])
_HEX = msgspec.json.Decoder(list[str])


def checkpoint(tx: Transaction, checkpoints: Sequence[Checkpoint]) -> list[bool]:
    """Note chunks of running runs that are done."""
    rows = find(tx, [each.run for each in checkpoints])
    answers: list[bool] = []
    kept = []
    for each in checkpoints:
        row, chunk = rows.get(each.run), each.chunk
        mine = row is not None and row.fence == each.fence and row.state == RunState.RUNNING
        answers.append(mine)
        if mine and row is not None:
            kept.append(
                (
                    row.no,
                    chunk.number,
                    each.fence,
                    chunk.start,
                    chunk.end,
                    chunk.first_record,
                    chunk.first_line,
                    pack_checkpoint(each.staged, each.state),
                )
            )
    tx.many(SQL["add_chunks"], kept)
    if kept:
        tx.run(SQL["progress"], numbers(sorted({row[0] for row in kept})))
    return answers


def checkpoints(tx: Transaction, run: str) -> list[Checkpoint]:
    """A run's checkpoints, by chunk number."""
    found = []
    for row in tx.read(SQL["chunks_of"], _CHUNKS, run):
        packed = unpack_checkpoint(bytes.fromhex(row.checkpoint))
        chunk = ChunkRange(row.number, row.start, row.end, row.first_record, row.first_line)
        found.append(Checkpoint(run, row.fence, chunk, packed.staged, packed.state))
    return found


def forget_checkpoints(tx: Transaction, runs: Sequence[str]) -> None:
    """Forget what these runs' chunks did."""
    rows = find(tx, runs)
    if rows:
        tx.run(SQL["drop_chunks"], numbers(row.no for row in rows.values()))


def kept_paths(tx: Transaction) -> tuple[bytes, ...]:
    """Paths of all outputs that checkpoints name."""
    packed = tx.read(SQL["left_chunks"], _HEX)
    return tuple(path for each in packed for path in unpack_checkpoint(bytes.fromhex(each)).staged)
