"""What a lease costs does not grow with what waits; old ledgers get their lanes."""

from __future__ import annotations

import apsw
import pytest

from filemill.durable import Durable, Failpoints
from filemill.ledgers.sqlite import leasing
from filemill.ledgers.sqlite.opening import migrate, migrations, open_writer
from filemill.ledgers.sqlite.transaction import Transaction


def add(db: apsw.Connection, first: int, count: int, source: str, pipeline: str) -> None:
    """Queued runs, straight into the tables."""
    numbers = range(first, first + count)
    db.executemany(
        "INSERT INTO file (no, id, state, state_ns, source, path, relative, device, inode, size, mtime_ns, content,"
        " claimed_ns, how, after, priority, given) VALUES"
        " (?, ?, 'inspected', 1, ?, x'61', x'61', 1, 1, 1, 1, ?, 1, 'rename', 'archive', 0, '')",
        ((no, f"f{no}", source, f"c/{no}") for no in numbers),
    )
    db.executemany(
        "INSERT INTO run (no, id, file, source, pipeline, revision, priority, state, state_ns, queued_ns)"
        " VALUES (?, ?, ?, ?, ?, 1, 0, 'queued', 1, 1)",
        ((no, f"r{no}", no, source, pipeline) for no in numbers),
    )


def steps_of(db: apsw.Connection, *excluding: str) -> tuple[int, list[int]]:
    """Hundreds of the virtual machine's steps that choosing 64 runs takes, and what is chosen."""
    steps = 0

    def count() -> bool:
        nonlocal steps
        steps += 1
        return False

    db.set_progress_handler(count, 100)
    chosen = leasing.choose(Transaction(db), 64, 1, excluding, leasing.Turn())
    db.set_progress_handler(None)
    return steps, chosen


@pytest.mark.parametrize("excluding", [(), ("parked",)])
def test_a_lease_costs_the_same_however_many_wait(excluding: tuple[str, ...]) -> None:
    costs = []
    for many in (100, 20_000):
        db = open_writer(":memory:", Durable(Failpoints("test"), sync=False), 1)
        add(db, 1, many, "bulk", "parked" if excluding else "orders")
        add(db, 50_000, 100, "bulk", "orders")
        add(db, 60_000, 1, "small", "orders")
        steps, chosen = steps_of(db, *excluding)
        costs.append(steps)
        assert len(chosen) == 64
        assert 60_000 in chosen
        if excluding:
            assert min(chosen) >= 50_000
        db.close()
    few, many = costs
    assert many <= few * 1.1 + 2, costs


def test_runs_of_a_first_version_get_their_source() -> None:
    db = apsw.Connection(":memory:")
    migrate(db, 1, migrations()[:1])
    db.execute(
        "INSERT INTO file (no, id, state, state_ns, source, path, relative, device, inode, size, mtime_ns, content,"
        " claimed_ns, how, after, priority, given) VALUES"
        " (1, 'f', 'inspected', 1, 'inbox', x'61', x'61', 1, 1, 1, 1, 'c', 1, 'rename', 'archive', 0, '')"
    )
    db.execute(
        "INSERT INTO run (no, id, file, pipeline, revision, priority, state, state_ns, queued_ns)"
        " VALUES (1, 'r', 1, 'orders', 1, 0, 'queued', 1, 1)"
    )
    migrate(db, 2)
    assert db.execute("SELECT source FROM run").get == "inbox"
    assert leasing.choose(Transaction(db), 9, 1, (), leasing.Turn()) == [1]
    db.close()
