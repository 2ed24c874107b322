"""A migration that is killed at any of its actions leaves a ledger that the next start brings up to date."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from filemill.durable import Durable, Failpoints
from filemill.ledgers.sqlite.opening import migrate, migrations, open_writer
from filemill.model.errors import FilemillError

FILES = 60


def first_version(path):
    db = apsw.Connection(str(path))
    db.pragma("journal_mode", "wal")
    migrate(db, 1, migrations()[:1])
    with db:
        for n in range(1, FILES + 1):
            db.execute(
                "INSERT INTO file (no, id, state, state_ns, source, path, relative, device, inode, size, mtime_ns, "
                "content, claimed_ns, how, after, priority, given, tags, disposed_ns) VALUES "
                "(?, ?, 'inspected', 1, 's', x'61', x'61', 1, 1, 1, 1, ?, 1, 'copy', ?, 0, '', 'a b', 5)",
                (n, f"id{n}", f"c/{n}", "keep" if n % 2 else "archive"),
            )
            db.execute("INSERT INTO file_tag VALUES ('a', ?), ('b', ?)", (n, n))
            db.execute(
                "INSERT INTO run (id, file, pipeline, revision, priority, state, state_ns, queued_ns) "
                "VALUES (?, ?, 'p', 1, 0, 'done', 1, 1)",
                (f"r{n}", n),
            )
    db.close()


def migrated(path):
    """What a start makes of the ledger; raises where it cannot."""
    db = open_writer(str(path), Durable(Failpoints("test"), sync=False), 3)
    try:
        assert db.execute("PRAGMA integrity_check").get == "ok"
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        counts = [
            db.execute(f"SELECT count(*) FROM {table}").get for table in ("file", "run", "file_tag")
        ]
        assert counts == [FILES, FILES, 2 * FILES]
        assert db.execute("SELECT count(*) FROM file WHERE freed_ns = 5").get == FILES // 2
        return db.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
    finally:
        db.close()


def killed_at(old, path, n, *words):
    """Whether there was an n-th action; the ledger at `path` is as the kill left it."""
    for each in path.parent.iterdir():
        each.unlink()
    for each in old.iterdir():
        shutil.copy(each, path.parent)
    program = Path(__file__).with_name("migrating.py")
    done = subprocess.run(
        [sys.executable, program, path, str(n), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


@pytest.fixture
def old(tmp_path):
    folder = tmp_path / "old"
    folder.mkdir()
    first_version(folder / "ledger.db")
    return folder


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "new"
    folder.mkdir()
    return folder / "ledger.db"


@pytest.mark.crash
@pytest.mark.timeout(900)
def test_killed_at_any_action_the_next_start_brings_it_up_to_date(old, path, record_property):
    wanted = migrated(shutil.copytree(old, path.parent / "x") / "ledger.db")
    shutil.rmtree(path.parent / "x")
    # Every third, from a random one of the first on.
    n = random.randint(1, 3)
    while killed_at(old, path, n):
        assert migrated(path) == wanted, f"killed at action {n}"
        n += 3
    record_property("actions", n - 1)
    assert n > 20


@pytest.mark.crash
@pytest.mark.timeout(900)
def test_without_a_transaction_a_kill_leaves_a_ledger_that_cannot_be_used(old, path):
    n = 1
    broken = 0
    while not broken and killed_at(old, path, n, "naked"):
        try:
            migrated(path)
        except (apsw.Error, FilemillError, AssertionError):
            broken = n
        n += 3
    assert broken
