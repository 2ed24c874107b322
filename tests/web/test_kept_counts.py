"""How all stands, for keys of a part: from what the ledger keeps, else from counts that are made in the background."""

from __future__ import annotations

import asyncio

import pytest
from test_keys_over_http import make

from filemill.durable import Durable, Failpoints
from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.ledgers.sqlite.reading import SqliteReading
from filemill.model.access import Principal
from filemill.model.errors import SystemFault
from filemill.queries import Queries, scope_of
from filemill.testing.clock import FakeClock
from filemill.testing.ids import SequentialIds
from filemill.testing.journey import Journey
from filemill.web import standing
from filemill.web.standing import StandingCounts

BOTH = Principal(name="key:both", roles=("viewer-meta",), pipelines=("orders", "audit"))
INBOX = Principal(name="key:inbox", roles=("viewer-meta",), sources=("inbox",))


class Asking:
    """A ledger, and reading it as a request does; every count of files is noted."""

    def __init__(self, path):
        self.path = path
        self.clock = FakeClock()
        self.counted = 0
        self.broken = False

    async def begin(self):
        self.ledger = await SqliteLedger.open(
            self.path, durable=Durable(Failpoints("test"), sync=False)
        )
        self.journey = Journey(self.ledger, SequentialIds(), self.clock)
        await self.journey.queued(2, ("orders", "audit"))

    async def read(self, question, principal=None):
        return await asyncio.to_thread(self._ask, question, principal)

    def _ask(self, question, principal):
        if self.broken:
            raise SystemFault("no disk")
        with Queries(SqliteReading.open(self.path, scope_of(principal)), self.clock) as queries:
            file_counts = queries.file_counts

            def counting():
                self.counted += 1
                return file_counts()

            queries.file_counts = counting
            return question(queries)


@pytest.fixture
def asking(tmp_path):
    return Asking(str(tmp_path / "ledger.db"))


def run(asking, work):
    async def go():
        await asking.begin()
        try:
            await work()
        finally:
            await asking.ledger.close()

    asyncio.run(go())


def test_what_the_ledger_keeps_is_not_counted(asking):
    async def work():
        counts = StandingCounts(asking.read)
        status = await counts.of(INBOX)
        assert status.files == {"live": 2}
        assert status.files_at_ns == status.at_ns
        assert asking.counted == 0

    run(asking, work)


def test_the_first_ones_wait_for_one_count_and_the_others_for_none(asking):
    async def work():
        counts = StandingCounts(asking.read)
        first = await asyncio.gather(*[counts.of(BOTH) for _ in range(5)])
        assert {tuple(each.files.items()) for each in first} == {(("live", 2),)}
        assert asking.counted == 1
        asking.clock.advance(3)
        await asking.journey.queued(1, ("orders",))
        second = await counts.of(BOTH)
        assert (second.files, second.at_ns - second.files_at_ns) == ({"live": 2}, 3 * 10**9)
        assert second.pipelines[1].runs == {"queued": 3}  # runs are kept, whoever asks

    run(asking, work)


def test_old_counts_are_shown_while_they_are_made_anew(asking, monkeypatch):
    monkeypatch.setattr(standing, "AGE", 0.0)
    monkeypatch.setattr(standing, "SHARE", 0)

    async def work():
        counts = StandingCounts(asking.read)
        await counts.of(BOTH)
        await asking.journey.queued(1, ("orders",))
        assert (await counts.of(BOTH)).files == {"live": 2}
        for _ in range(100):
            await asyncio.sleep(0.01)
            if (await counts.of(BOTH)).files == {"live": 3}:
                return
        raise AssertionError("they were never counted again")

    run(asking, work)


def test_a_count_that_fails_is_told_to_who_waits_for_it(asking):
    async def work():
        counts = StandingCounts(asking.read)
        asking.broken = True
        with pytest.raises(SystemFault):
            await counts.of(BOTH)
        asking.broken = False
        assert (await counts.of(BOTH)).files == {"live": 2}

    run(asking, work)


def test_over_http_a_key_for_two_pipelines_is_told_when(site):
    key = make(
        site,
        "both-pipelines",
        "--role",
        "viewer-meta",
        "--pipeline",
        "tables",
        "--pipeline",
        "texts",
    )
    with site.client(key["key"]) as client:
        first, second = (client.get("/stats").json() for _ in range(2))
    assert first["files_at"] == second["files_at"] < second["at"]
