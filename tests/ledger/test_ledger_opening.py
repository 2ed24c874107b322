"""What is refused at opening, with help; migrations; the instance lock."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys

import apsw
import pytest

from filemill.durable import Durable, Failpoints
from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.ledgers.sqlite.lock import InstanceLock, holder_of
from filemill.ledgers.sqlite.opening import (
    migrate,
    migrations,
    open_writer,
    refuse_network_filesystem,
)
from filemill.ledgers.sqlite.reading import SqliteReading
from filemill.model.errors import Busy, LedgerDamaged, NotFound, SystemFault, UsageError


def _open(path, sync=False):
    return open_writer(str(path), Durable(Failpoints("test"), sync=sync), 1)


def test_a_new_ledger_is_private_and_set_for_power_cuts(tmp_path):
    db = _open(tmp_path / "ledger.db", sync=True)
    db.execute("INSERT INTO revision VALUES (1, 'aa', '', 1)")
    for name in ("ledger.db", "ledger.db-wal"):
        assert stat.S_IMODE(os.stat(tmp_path / name).st_mode) == 0o600
    assert db.pragma("journal_mode") == "wal"
    assert db.pragma("synchronous") == 2
    assert db.pragma("foreign_keys") == 1
    db.close()
    db = _open(tmp_path / "ledger.db")
    assert db.pragma("synchronous") == 1
    db.close()


def test_migrations_are_numbered_without_gaps_and_applied_once(tmp_path):
    numbers = [number for number, _ in migrations()]
    assert numbers == list(range(1, len(numbers) + 1))
    db = _open(tmp_path / "ledger.db")
    assert migrate(db, 2) == []
    assert db.execute("SELECT number, applied_ns FROM version").fetchall() == [
        (n, 1) for n in numbers
    ]
    db.close()


def test_a_migration_that_fails_leaves_the_schema_as_it_was(tmp_path):
    db = _open(tmp_path / "ledger.db")
    newest = migrations()[-1][0]
    broken = [*migrations(), (newest + 1, "CREATE TABLE half (a); INSERT INTO nowhere VALUES (1);")]
    with pytest.raises(apsw.SQLError):
        migrate(db, 2, broken)
    assert not db.table_exists("main", "half")
    assert migrate(db, 3, [*migrations(), (newest + 1, "CREATE TABLE whole (a);")]) == [newest + 1]
    db.close()


def test_a_newer_ledger_is_refused_with_help(tmp_path):
    db = _open(tmp_path / "ledger.db")
    db.execute("INSERT INTO version VALUES (999, 1)")
    db.close()
    for opening in (_open, lambda path: SqliteReading.open(str(path))):
        with pytest.raises(UsageError, match="999") as caught:
            opening(tmp_path / "ledger.db")
        assert "upgrade" in caught.value.help


def test_what_is_no_ledger_is_said_so(tmp_path):
    path = tmp_path / "ledger.db"
    path.write_bytes(b"this is no database at all, but long enough to look at" * 100)
    with pytest.raises(SystemFault, match="cannot be opened"):
        _open(path)
    assert path.read_bytes().startswith(b"this is no database")
    with pytest.raises(SystemFault, match="cannot be made"):
        _open(tmp_path / "missing" / "ledger.db")


def test_an_absent_ledger_is_not_found_with_help(tmp_path):
    with pytest.raises(NotFound) as caught:
        SqliteReading.open(str(tmp_path / "ledger.db"))
    assert "filemill run" in caught.value.help
    assert os.listdir(tmp_path) == []


def test_an_empty_file_is_no_ledger_to_read(tmp_path):
    (tmp_path / "ledger.db").touch()
    with pytest.raises(UsageError, match="version 0"):
        SqliteReading.open(str(tmp_path / "ledger.db"))


def test_network_file_systems_are_refused_with_help(tmp_path):
    for magic in (0x6969, 0xFF534D42):
        with pytest.raises(UsageError) as caught:
            refuse_network_filesystem(str(tmp_path), magic)
        assert "FILEMILL_DATA_DIR" in caught.value.help
    refuse_network_filesystem(str(tmp_path))


def test_a_second_instance_is_told_who_holds_the_lock(tmp_path):
    lock = InstanceLock(str(tmp_path))
    assert holder_of(str(tmp_path)) is None
    with lock:
        lock.acquire()
        assert holder_of(str(tmp_path)) == os.getpid()
        with pytest.raises(Busy, match=f"process {os.getpid()}"):
            InstanceLock(str(tmp_path)).acquire()
    assert holder_of(str(tmp_path)) is None
    lock.release()
    with InstanceLock(str(tmp_path)):
        pass


HOLDER = """
import sys
from filemill.ledgers.sqlite.lock import InstanceLock
lock = InstanceLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.crash
def test_the_lock_goes_with_its_process_however_that_ends(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(Busy, match=f"process {holder.pid}"):
        InstanceLock(str(tmp_path)).acquire()
    holder.kill()
    holder.communicate()
    with InstanceLock(str(tmp_path)):
        assert holder_of(str(tmp_path)) == os.getpid()


def test_a_server_that_meets_damage_ends_and_the_next_start_reads_the_whole_file(tmp_path):
    path = tmp_path / "ledger.db"
    db = _open(path)
    page = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'revision'").get
    db.close()
    whole = path.read_bytes()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(bytes(4096))

    async def work():
        ledger = await SqliteLedger.open(str(path), durable=Durable(Failpoints("test")))
        try:
            for _ in range(2):
                with pytest.raises(LedgerDamaged) as caught:
                    await ledger.add_revision("aa", "", 1)
                assert "filemill restore BACKUP --force" in caught.value.help
        finally:
            await ledger.close()

    asyncio.run(work())
    with pytest.raises(LedgerDamaged, match="is damaged"):
        _open(path)
    # What is put back is read whole, once, and used.
    path.write_bytes(whole)
    _open(path).close()
    assert sorted(os.listdir(tmp_path)) == ["ledger.db"]
