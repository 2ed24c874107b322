"""Whoever changes the audit is found out, and where they began; who only adds to it is not in the way."""

import asyncio

import apsw
import pytest

from filemill.durable import Durable, Failpoints
from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.ledgers.sqlite.opening import migrate, migrations
from filemill.ledgers.sqlite.reading import SqliteReading
from filemill.model.auditing import GENESIS, Anchor
from filemill.model.errors import PermanentError, UsageError
from filemill.model.keys import Access
from filemill.ports.retention import Cutoffs
from filemill.queries import Queries
from filemill.testing.clock import FakeClock

ROWS = 8


def note(path, *at_ns, cutoff=None):
    """Log in at these moments; then apply retention up to a moment."""

    async def go():
        ledger = await SqliteLedger.open(path, durable=Durable(Failpoints("test"), sync=False))
        for moment in at_ns:
            await ledger.note_access([Access("ana", moment, "login", "http", {"n": moment})])
        if cutoff is not None:
            await ledger.forget_rest(Cutoffs(None, None, None, cutoff), [], 100)
        await ledger.close()

    asyncio.run(go())


def verdict(path, head=""):
    with Queries(SqliteReading.open(path), FakeClock()) as queries:
        return queries.verify_audit(head)


def tamper(path, *statements):
    """What somebody can do who can write the file: the triggers do not stop them."""
    db = apsw.Connection(path)
    for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        db.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        db.execute(statement)
    db.close()


@pytest.fixture
def path(tmp_path):
    path = str(tmp_path / "ledger.db")
    note(path, *range(1, ROWS + 1))
    return path


def test_a_whole_chain_is_said_to_be_whole(path):
    found = verdict(path)
    assert (found.rows, found.first, found.last, found.wrong, found.problem) == (
        ROWS,
        1,
        ROWS,
        0,
        "",
    )
    note(path, 100)
    again = verdict(path, found.head)
    assert (again.rows, again.problem) == (ROWS + 1, ""), "a noted head stays in it while it grows"


AGAIN = "INSERT INTO audit SELECT 9, at_ns, principal, action, object, detail, chain FROM audit WHERE number = 8"
SWAP = (
    "UPDATE audit SET number = 100 WHERE number = 4",
    "UPDATE audit SET number = 4 WHERE number = 5",
    "UPDATE audit SET number = 5 WHERE number = 100",
)


@pytest.mark.parametrize(
    ("statements", "wrong"),
    [
        (["UPDATE audit SET principal = 'bo' WHERE number = 4"], 4),
        (["UPDATE audit SET at_ns = at_ns + 1 WHERE number = 4"], 4),
        (["UPDATE audit SET action = 'logout' WHERE number = 4"], 4),
        (["UPDATE audit SET object = 'ftp' WHERE number = 4"], 4),
        (["UPDATE audit SET detail = '{\"n\":5}' WHERE number = 4"], 4),
        (["UPDATE audit SET chain = zeroblob(32) WHERE number = 4"], 4),
        (["DELETE FROM audit WHERE number = 4"], 5),
        (["DELETE FROM audit WHERE number = 1"], 2),
        (["DELETE FROM audit WHERE number < 5"], 5),
        (SWAP, 4),
        ([AGAIN], 9),
        (["UPDATE audit SET number = number + 1 WHERE number = 8"], 9),
    ],
)  # fmt: skip
def test_every_tampering_is_found_at_its_first_row(path, statements, wrong):
    tamper(path, *statements)
    found = verdict(path)
    assert found.wrong == wrong, found
    assert f"row {wrong}" in found.problem


def test_what_went_at_the_end_is_found_by_a_noted_head(path):
    head = verdict(path).head
    tamper(path, "DELETE FROM audit WHERE number > 6")
    assert verdict(path).problem == "", "the chain alone cannot tell: this is why a head is noted"
    found = verdict(path, head)
    assert found.wrong == ROWS
    assert "removed at the end" in found.problem
    note(path, 20, 21, 22)
    assert "made anew" in verdict(path, head).problem


def test_a_chain_made_anew_is_found_by_a_noted_head(path):
    head = verdict(path).head
    tamper(path, "DELETE FROM audit")
    note(path, *range(11, 11 + ROWS))
    assert verdict(path).problem == ""
    assert "made anew" in verdict(path, head).problem


def test_what_retention_removed_is_said_and_the_rest_is_held(path):
    early, late = verdict(path).head, ""
    note(path, 50, 60)
    late = verdict(path).head
    note(path, cutoff=40)
    found = verdict(path, late)
    assert (found.rows, found.removed, found.removed_until_ns, found.problem) == (2, ROWS, ROWS, "")
    assert verdict(path, early).problem == "", "the anchor is the row whose head was noted"
    note(path, cutoff=55)
    assert "older than what retention left" in verdict(path, early).problem
    tamper(path, "UPDATE audit_anchor SET chain = zeroblob(32)")
    assert verdict(path).wrong == 10


@pytest.mark.parametrize("head", ["", "8", "8:abc", "x:" + "0" * 64])
def test_what_is_no_head_is_refused(path, head):
    if head:
        with pytest.raises(UsageError, match="no head"):
            verdict(path, head)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET principal = 'bo' WHERE number = 4",
        "DELETE FROM audit WHERE number = 1",
        "DELETE FROM audit",
        "INSERT INTO audit SELECT 4, at_ns, 'bo', action, object, detail, chain FROM audit WHERE number = 4",
        "REPLACE INTO audit SELECT 8, at_ns, 'bo', action, object, detail, chain FROM audit WHERE number = 8",
        "INSERT INTO audit SELECT 9, at_ns, 'bo', action, object, detail, x'00' FROM audit WHERE number = 8",
        "INSERT INTO audit_anchor VALUES (1, 5, zeroblob(32), 5, 5)",
        "INSERT INTO audit_anchor VALUES (1, 500, zeroblob(32), 5, 5)",
    ],
)
def test_no_statement_of_filemill_could_change_it(path, statement):
    """Against defects, not against people: whoever writes the file can drop a trigger."""
    db = apsw.Connection(path)
    with pytest.raises(apsw.ConstraintError):
        db.execute(statement)
    db.close()


def test_a_request_that_fails_leaves_no_gap(path):
    """Its rows are rolled back with it; the next ones go on from what is there."""

    async def go():
        ledger = await SqliteLedger.open(path, durable=Durable(Failpoints("test"), sync=False))
        doomed = ledger._writer.ask(_doomed)
        good = ledger.note_access([Access("ana", 30, "login", "http")])
        results = await asyncio.gather(doomed, good, return_exceptions=True)
        assert isinstance(results[0], PermanentError)
        assert results[1] is None
        await ledger.close()

    def _doomed(tx):
        from filemill.ledgers.sqlite import auditing

        auditing.add(tx, [(25, "bo", "login", "http", "{}")])
        raise PermanentError("no")

    asyncio.run(go())
    found = verdict(path)
    assert (found.rows, found.problem) == (ROWS + 1, "")


def test_a_migration_chains_the_rows_there_are(tmp_path):
    path = str(tmp_path / "ledger.db")
    db = apsw.Connection(path)
    db.pragma("journal_mode", "wal")
    older = [(number, text) for number, text in migrations() if number < 4]
    migrate(db, 1, older)
    for number in (
        3,
        4,
        7,
    ):  # retention took the first; of a clock that went back, also one in the middle
        db.execute(
            "INSERT INTO audit VALUES (?, ?, 'ana', 'redrive', 'a\u00e9', '{\"reason\":\"\u20ac\"}')",
            (number, number),
        )
    migrate(db, 2)
    db.close()
    found = verdict(path)
    assert (found.rows, found.first, found.last, found.problem) == (3, 3, 7, "")
    note(path, 9)
    assert (verdict(path).rows, verdict(path).problem) == (4, "")
    tamper(path, "UPDATE audit SET object = 'b' WHERE number = 4")
    assert verdict(path).wrong == 4


def test_an_empty_audit_is_whole(tmp_path):
    path = str(tmp_path / "ledger.db")
    note(path)
    found = verdict(path)
    assert (found.rows, found.head, found.problem) == (0, f"0:{GENESIS.hex()}", "")


def test_retention_removes_from_the_beginning_only(tmp_path):
    """A clock that was set back for a while: what is old but stands behind something newer stays."""

    async def go():
        ledger = await SqliteLedger.open(path, durable=Durable(Failpoints("test"), sync=False))
        for at_ns in (10, 20, 90, 30, 95):
            await ledger.note_access([Access("ana", at_ns, "login", "http")])
        with SqliteReading.open(path) as reading:
            rows = reading.chain(0, 100)
            assert reading.anchor() is None
            assert [await ledger.forget_rest(cut(50), [], 1) for _ in range(3)] == [1, 1, 0]
            assert reading.chain(0, 100) == rows[2:]
            assert reading.anchor() == Anchor(2, rows[1].chain, 2, 20)
            assert await ledger.forget_rest(cut(1_000), [], 100) == 3
            assert await ledger.forget_rest(cut(1_000), [], 100) == 0
            await ledger.note_access([Access("ana", 99, "login", "http")])
            (row,) = reading.chain(0, 100)
            assert row.number == 6, "no number is given twice"
        await ledger.close()

    def cut(at_ns):
        return Cutoffs(None, None, None, at_ns)

    path = str(tmp_path / "ledger.db")
    asyncio.run(go())
    assert verdict(path).problem == ""
