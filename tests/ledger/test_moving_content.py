"""Content gets another reference beside a server only where nobody has it in hand."""

from __future__ import annotations

import itertools

import apsw
import pytest

from filemill.durable import Durable, Failpoints
from filemill.ledgers.sqlite import resealing
from filemill.ledgers.sqlite.opening import open_writer
from filemill.ledgers.sqlite.transaction import Transaction
from filemill.model.states import FileState, RunState

FILE = "abcdefghijklm"
OLD, NEW = f"abcde/{FILE}.00000001.age", f"abcde/{FILE}.00000002.age"
RUN = "nopqrstuvwxyz"
OLD_INPUT, NEW_INPUT = f"nopqr/{RUN}.3.input.00000001.age", f"nopqr/{RUN}.3.input.00000002.age"


def ledger(file: str, *runs: str) -> apsw.Connection:
    """One file in this state with runs in these, straight into the tables; the first one's input is kept."""
    db = open_writer(":memory:", Durable(Failpoints("test"), sync=False), 1)
    db.execute(
        "INSERT INTO file (no, id, state, state_ns, source, path, relative, device, inode, size, mtime_ns, content,"
        " claimed_ns, how, after, priority, given) VALUES"
        " (1, ?, ?, 1, 'in', x'61', x'61', 1, 1, 1, 1, ?, 1, 'rename', 'archive', 0, '')",
        (FILE, file, OLD),
    )
    for number, state in enumerate(runs):
        db.execute(
            "INSERT INTO run (no, id, file, source, pipeline, revision, priority, state, state_ns, queued_ns, input)"
            " VALUES (?, ?, 1, 'in', ?, 1, 0, ?, 1, 1, ?)",
            (number + 1, f"{RUN}{number}", f"p{number}", state, None if number else OLD_INPUT),
        )
    return db


@pytest.mark.parametrize("file", FileState)
def test_a_file_is_moved_unless_it_is_looked_at_or_a_worker_has_a_run_of_it(
    file: FileState,
) -> None:
    for one, other in itertools.product(RunState, repeat=2):
        db = ledger(file, one, other)
        asked = [(OLD, NEW), (OLD_INPUT, NEW_INPUT), ("abcde/nobody.00000001.age", NEW)]
        moved = resealing.move_at_rest(Transaction(db), asked)
        free = file not in {"claiming", "ingested"} and "running" not in {one, other}
        assert moved == [free, one != "running", False], (one, other)
        names = (
            db.execute("SELECT content FROM file").get,
            db.execute("SELECT input FROM run WHERE no = 1").get,
        )
        assert names == (NEW if moved[0] else OLD, NEW_INPUT if moved[1] else OLD_INPUT)
        garbage = {name.decode() for (name,) in db.execute("SELECT name FROM garbage")}
        assert garbage == {old for (old, _), ok in zip(asked, moved, strict=True) if ok}
        db.close()
