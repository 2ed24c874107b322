"""What was answered is there: after kill -9, after a failed commit, after a full disk. And what groups."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time

import apsw
import msgspec
import pytest

from filemill.durable import Durable, Failpoints
from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.ledgers.sqlite.reading import SqliteReading
from filemill.ledgers.sqlite.writer import Writer
from filemill.model.errors import LedgerSyncError, SystemFault
from filemill.testing.clock import FakeClock
from filemill.testing.ids import SequentialIds
from filemill.testing.journey import Journey

WRITER = """
import asyncio, sys
from filemill.durable import Durable, Failpoints
from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.testing.clock import FakeClock
from filemill.testing.ids import SequentialIds
from filemill.testing.journey import Journey

async def one(journey):
    (file,) = await journey.ingested()
    sys.stdout.write(file + "\\n")
    sys.stdout.flush()

async def go():
    ledger = await SqliteLedger.open(sys.argv[1], durable=Durable(Failpoints.from_environment("server")))
    journey = Journey(ledger, SequentialIds(), FakeClock())
    while True:
        await asyncio.gather(*[one(journey) for _ in range(8)])

asyncio.run(go())
"""


def _start(path, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def _acknowledged(path, acks):
    """Files of `acks` that the ledger has as acknowledged."""
    with SqliteReading.open(path) as reading:
        rows = {row.file: row.state for row in reading.files(acks)}
    return {file for file in acks if rows.get(file) == "ingested"}


@pytest.mark.crash
@pytest.mark.parametrize("after", [1, 60])
def test_every_answer_survives_kill_9(tmp_path, after):
    path = str(tmp_path / "ledger.db")
    process = _start(path)
    acks = [process.stdout.readline().strip() for _ in range(after)]
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate(timeout=30)
    acks += rest.split("\n")[:-1]  # the last line may be cut
    log = (tmp_path / "ledger.db-wal").read_bytes()
    assert _acknowledged(path, acks) == set(acks), "read beside the log that the kill left"
    assert (tmp_path / "ledger.db-wal").read_bytes() == log, "reading writes nothing back"

    async def recover():
        ledger = await SqliteLedger.open(path, durable=Durable(Failpoints("test"), sync=False))
        left = await ledger.recover(1, 10)
        await ledger.close()
        return left

    left = asyncio.run(recover())
    assert set(acks) <= {ref.file for ref in left.uninspected}
    db = apsw.Connection(path)
    assert db.pragma("integrity_check") == "ok"
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    db.close()


@pytest.mark.crash
@pytest.mark.parametrize("number", [1, 2, 3, 7])
def test_a_kill_at_commit_n_keeps_every_answer_before(tmp_path, number):
    path = str(tmp_path / "ledger.db")
    process = _start(path, FILEMILL_FAIL=f"server.commit:{number}:kill")
    out, _ = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    acks = out.split()
    assert bool(acks) == (number > 2)  # a file's life to here takes two commits
    assert _acknowledged(path, acks) == set(acks)


def _failing(what, path=":memory:"):
    return SqliteLedger.open(path, durable=Durable(Failpoints("server", what), sync=False))


async def _journey(what="", path=":memory:"):
    ledger = await _failing(what, path)
    return ledger, Journey(ledger, SequentialIds(), FakeClock())


def test_a_failed_sync_fails_all_and_everything_after():
    async def go():
        ledger, journey = await _journey("commit:2:EIO")
        (file,) = await journey.claimed(journey.claim())
        asked = [ledger.ingest([file], 1), ledger.begin_claims([journey.claim()]), ledger.live()]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(answer) for answer in answers] == [LedgerSyncError] * 3
        assert answers[0].help
        with pytest.raises(LedgerSyncError):
            await ledger.live()
        await ledger.close()

    asyncio.run(go())


def test_a_full_disk_fails_the_group_and_no_other():
    async def go():
        ledger, journey = await _journey("commit:2:ENOSPC")
        (file,) = await journey.claimed(journey.claim())
        with pytest.raises(SystemFault) as caught:
            await ledger.ingest([file], 1)
        assert not isinstance(caught.value, LedgerSyncError)
        assert "space" in caught.value.help
        assert await ledger.ingest([file], 1) == [True], (
            "nothing was done before, so it is done now"
        )
        await ledger.close()

    asyncio.run(go())


def test_a_really_full_ledger_is_a_system_fault_and_work_goes_on_after(tmp_path):
    """SQLite's own SQLITE_FULL, by a cap on its size."""

    async def go():
        path = str(tmp_path / "ledger.db")
        ledger = await _failing("", path)
        db = ledger._writer._db
        db.pragma("max_page_count", db.pragma("page_count") + 8)
        journey = Journey(ledger, SequentialIds(), FakeClock())
        taken = []

        async def fill():
            while True:
                taken.extend(await journey.ingested(20))

        with pytest.raises(SystemFault) as caught:
            await fill()
        assert not isinstance(caught.value, LedgerSyncError)
        db.pragma("max_page_count", 1_000_000)
        await journey.ingested(20)
        left = await ledger.recover(1, 10)
        assert len(left.uninspected) == len(taken) + 20
        await ledger.close()

    asyncio.run(go())


def test_what_waits_shares_one_commit_and_a_lone_request_waits_for_none():
    async def go():
        ledger, journey = await _journey()
        writer = ledger._writer
        await ledger.begin_claims([journey.claim()])
        assert writer.groups == 1
        await asyncio.gather(*[ledger.begin_claims([journey.claim()]) for _ in range(100)])
        assert writer.groups < 60, "requests that wait while one commits are one group"
        before = writer.groups
        await asyncio.gather(*[ledger.live() for _ in range(10)])
        assert writer.groups == before, "reading commits nothing"
        await ledger.close()

    asyncio.run(go())


def test_what_says_that_more_comes_in_the_next_turn_is_one_commit_with_it():
    """As a lone file is: acknowledged, routed and leased."""

    async def go():
        ledger, journey = await _journey()
        before = ledger._writer.groups
        for _ in range(30):
            (file,) = await journey.claimed(journey.claim())

            async def route(file=file):
                leasing = asyncio.create_task(journey.lease())
                time.sleep(0.001)  # noqa: ASYNC251 -- time enough for the ledger's thread to take what it has
                await ledger.route_by([], lambda _: [journey.routing(file, "orders")], more=True)
                return await leasing

            routing = asyncio.create_task(route())
            assert await ledger.ingest([file], 1, more=True) == [True]
            assert [order.file.file for order in await routing] == [file]
        assert ledger._writer.groups == before + 30 * 2, "one for the claim, one for the rest"
        await ledger.close()

    asyncio.run(go())


def test_nobody_waits_for_what_does_not_come():
    async def go():
        ledger, journey = await _journey()
        for _ in range(5):
            (file,) = await journey.claimed(journey.claim())
            assert await ledger.ingest([file], 1, more=True) == [True]
        many = await journey.claimed(*(journey.claim() for _ in range(100)))
        taken = await asyncio.gather(*(ledger.ingest([file], 1, more=True) for file in many))
        assert taken == [[True]] * 100
        (file,) = await journey.claimed(journey.claim())
        last = asyncio.create_task(ledger.ingest([file], 1, more=True))
        await asyncio.sleep(0)
        await ledger.close()
        assert await last == [True]

    asyncio.run(go())


def test_the_log_is_written_back_by_the_writer_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("filemill.ledgers.sqlite.writer.MOST_PAGES", 40)
    path, log = tmp_path / "ledger.db", tmp_path / "ledger.db-wal"

    async def fill():
        ledger, journey = await _journey("", str(path))
        for _ in range(30):
            await journey.ingested(5)
        return ledger

    with asyncio.Runner() as runner:
        ledger = runner.run(fill())
        assert log.stat().st_size < 4096 * 200, "the log begins anew"
        before = path.stat().st_size, log.stat().st_size
        with SqliteReading.open(str(path)) as reading:
            assert reading.file_counts()["live"] == 150
        assert (path.stat().st_size, log.stat().st_size) == before, "reading changes nothing"
        runner.run(ledger.close())
    assert not log.exists()


def test_staging_again_replaces_what_was_staged_and_keeps_what_was_published(tmp_path):
    """After a redrive, whose move (dead -> queued) is made by hand here."""

    async def go():
        ledger, journey = await _journey()
        (order,) = await journey.running()
        await ledger.stage([journey.stage(order, ("crm", "out", "gone"))])
        crm = journey.output(order, "crm")
        fail = msgspec.structs.replace(journey.fail(order, "dead"), published=(crm.publication,))
        await ledger.fail([fail])
        redrive = "UPDATE run SET state = 'queued' WHERE state = 'dead'"
        await ledger._writer.ask(lambda tx: tx.db.execute(redrive).get)
        (again,) = await journey.lease()
        assert again.fence == 2
        assert await ledger.stage([journey.stage(again, ("crm", "out"))]) == [True]
        left = await ledger.recover(1, 10)
        assert [p.staged for p in left.publishing] == [journey.output(again, "out").staged]
        assert await ledger.finish([journey.finish(again)]) == [True]
        await ledger.close()

    asyncio.run(go())


def test_answers_reach_callers_in_several_event_loops():
    async def ask(writer, number):
        return await writer.ask(lambda tx: tx.db.execute("SELECT ?", (number,)).get)

    db = apsw.Connection(":memory:")
    writer = Writer(db, Durable(Failpoints("test"), sync=False))
    assert [asyncio.run(ask(writer, n)) for n in range(3)] == [0, 1, 2]
    asyncio.run(writer.close())


def test_a_cancelled_caller_disturbs_nobody():
    async def go():
        ledger, journey = await _journey()
        tasks = [asyncio.ensure_future(ledger.begin_claims([journey.claim()])) for _ in range(10)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        assert await asyncio.gather(*tasks[1::2]) == [[True]] * 5
        await ledger.close()

    asyncio.run(go())
