"""What people and programs are told about files and runs, beside a running server and without one."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from filemill.durable import Durable, Failpoints
from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.ledgers.sqlite.reading import SqliteReading
from filemill.model.errors import NotFound, UsageError
from filemill.model.files import Identity
from filemill.queries import STATES, Queries
from filemill.testing.clock import FakeClock
from filemill.testing.ids import SequentialIds
from filemill.testing.journey import Journey


class World:
    """A ledger, what leads files through it, and queries beside it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.runner = asyncio.Runner()
        self.clock = FakeClock()
        self.ledger = self.do(
            SqliteLedger.open(path, durable=Durable(Failpoints("test"), sync=False))
        )
        self.journey = Journey(self.ledger, SequentialIds(), self.clock)
        self.queries = Queries(SqliteReading.open(path), self.clock)

    def do(self, work):
        return self.runner.run(work)

    def named(self, *names: bytes, **options) -> list[str]:
        """Queued files of these names."""

        async def go():
            files = await self.journey.claimed(*[self.journey.claim(n, **options) for n in names])
            await self.ledger.ingest(files, self.clock.wall_ns())
            await self.ledger.route([self.journey.routing(file, "orders") for file in files])
            return files

        return self.do(go())

    def held(self, reason: str = "unrouted") -> str:
        async def go():
            (file,) = await self.journey.ingested()
            await self.ledger.route([self.journey.routing(file, held=reason)])
            return file

        return self.do(go())


@pytest.fixture
def world(tmp_path):
    world = World(str(tmp_path / "ledger.db"))
    yield world
    world.queries.close()
    world.do(world.ledger.close())
    world.runner.close()


def test_files_come_latest_first_in_pages(world):
    files = world.named(*[b"f%d.csv" % n for n in range(7)])
    first = world.queries.files(limit=3)
    assert [item.file for item in first.items] == files[:3:-1]
    second = world.queries.files(limit=3, cursor=first.next)
    third = world.queries.files(limit=3, cursor=second.next)
    assert [item.file for item in (*second.items, *third.items)] == files[3::-1]
    assert third.next is None
    assert world.queries.files(limit=7).next is None
    with pytest.raises(UsageError, match="cursor"):
        world.queries.files(cursor="x")


def test_a_file_counts_once_under_its_worst_run(world):
    do, journey = world.do, world.journey
    done = do(journey.done())[0]
    dead = do(journey.failed("dead"))
    held = do(journey.failed("held"))
    live = do(journey.running())[0]
    unrouted = world.held()
    (two,) = do(journey.queued(1, ("orders", "audit")))
    a, b = do(journey.lease())
    do(world.ledger.fail([journey.fail(a, "dead"), journey.fail(b, "held")]))
    by_state = {
        state: {item.file for item in world.queries.files(state=state).items} for state in STATES
    }
    assert by_state.pop("done") == {done.file.file}
    assert by_state.pop("dead") == {dead.file.file, two}
    assert by_state.pop("held") == {held.file.file, unrouted}
    assert by_state.pop("live") == {live.file.file}
    assert not any(by_state.values())
    for item in world.queries.files().items:
        assert item.file in {f.file for f in world.queries.files(state=item.state).items}
    status = world.queries.status()
    assert status.files == {"done": 1, "dead": 2, "held": 2, "live": 1}
    assert status.total == 6
    with pytest.raises(UsageError, match="no state") as caught:
        world.queries.files(state="broken")
    assert "quarantined" in caught.value.help


def test_a_live_run_outweighs_a_dead_one(world):
    world.do(world.journey.queued(1, ("orders", "audit")))
    first, _ = world.do(world.journey.lease())
    world.do(world.ledger.fail([world.journey.fail(first, "dead")]))
    (item,) = world.queries.files(state="live").items
    assert item.state == "live"
    assert world.queries.files(state="dead").items == ()
    assert world.queries.status().files == {"live": 1}


def test_filters_narrow_together(world):
    names = (b"acme/Orders-1.csv", b"acme/log.txt", b"best/orders-2.csv", b"a[b].csv", b"\xff.csv")
    files = dict(zip(names, world.named(*names), strict=True))
    audit = world.do(world.journey.queued(1, ("audit",)))

    def found(**filters):
        return {item.relative for item in world.queries.files(**filters).items}

    assert found(name="orders") == {names[0], names[2]}
    assert found(name="*.TXT") == {names[1]}
    assert found(name="orders-?.csv") == {names[0], names[2]}
    assert found(name="a[b]*") == {names[3]}
    assert found(name=b"\xff") == {names[4]}
    assert found(name="acme/", tag="orders") == {names[0], names[1]}
    assert found(pipeline="audit") == {b"a.csv"}
    assert found(tag="ord*", pipeline="orders", state="live", name="txt") == {names[1]}
    assert found(tag="nobody") == found(tag="no*") == found(pipeline="none") == set()
    assert {i.file for i in world.queries.files(pipeline="audit").items} == set(audit)
    assert len(files) == 5


def test_since_takes_what_arrived_later(world):
    world.named(b"old.csv")
    world.clock.advance(3600)
    at = world.clock.wall_ns()
    world.named(b"new.csv")
    assert [i.name for i in world.queries.files(since_ns=at).items] == ["new.csv"]
    assert world.queries.files(since_ns=at + 1).items == ()


def test_a_history_tells_all_of_a_file(world):
    journey, do = world.journey, world.do
    retried = do(journey.failed("retrying", after_s=1, message="no answer from 10.0.0.1"))
    world.clock.advance(2)
    (order,) = do(journey.lease())
    world.clock.advance(1)
    do(world.ledger.stage([journey.stage(order, ("out",), bad=2)]))
    do(world.ledger.finish([journey.finish(order)]))
    told = world.queries.file(retried.run[:13])
    assert told == world.queries.file(order.file.file)
    summary = told.summary
    assert (summary.file, summary.state, summary.name) == (order.file.file, "done", "a.csv")
    assert [(hit.tag, hit.rule, hit.why) for hit in told.tags] == [
        ("from:inbox", "source", "source inbox"),
        ("orders", "orders", "name *.csv"),
    ]
    assert (told.header, told.attributes, told.media) == (
        ("id", "amount"),
        {"rows": "3"},
        "text/csv",
    )
    (run,) = told.runs
    first, second = run.attempts
    assert (first.number, first.outcome, second.number) == (1, "retrying", 2)
    assert first.failure is not None
    assert (first.failure.step, first.failure.message) == ("derive", "no answer from 10.0.0.1")
    assert first.failure.help == "is the service up?"
    assert second.failure is None
    assert second.ended_ns - second.began_ns == 10**9
    assert [(s.step, s.taken, s.given, s.bad) for s in second.steps] == [
        ("read_csv", 10, 8, 2),
        ("write", 8, 8, 0),
    ]
    (output,) = run.outputs
    assert (output.sink, output.name, output.state, output.records) == (
        "out",
        "a.csv",
        "published",
        8,
    )
    assert [(bad.record, bad.start, bad.end, bad.error) for bad in run.bad] == [
        (1, 10, 19, "FieldCount"),
        (2, 20, 29, "FieldCount"),
    ]
    assert run.summary.message == "", "a mended failure is history, not the run's state"
    assert msgspec.json.encode(told)


def test_a_dead_publication_says_which_sinks_hold_their_output(world):
    journey, do = world.journey, world.do
    (order,) = do(journey.running())
    do(world.ledger.stage([journey.stage(order, ("crm", "warehouse"))]))
    held = journey.output(order, "warehouse").publication
    fail = msgspec.structs.replace(journey.fail(order, "dead"), published=(held,))
    do(world.ledger.fail([fail]))
    (run,) = world.queries.file(order.run).runs
    assert {o.sink: o.state for o in run.outputs} == {"crm": "staged", "warehouse": "published"}
    (attempt,) = run.attempts
    assert attempt.outcome == "dead"
    assert attempt.failure is not None
    assert len(attempt.steps) == 2, "what the worker counted stays"


def test_equal_content_is_linked_both_ways(world):
    async def go():
        first, second = await world.journey.ingested(2)
        routing = world.journey.routing(first, "orders")
        await world.ledger.route([routing])
        twin = msgspec.structs.replace(world.journey.routing(second, "orders"), duplicate_of=first)
        await world.ledger.route([twin])
        return first, second

    first, second = world.do(go())
    assert world.queries.file(first).duplicates == (second,)
    assert world.queries.file(second).duplicate_of == first


def test_a_prefix_must_be_unique_and_may_be_a_runs(world):
    (file,) = world.named(b"a.csv")
    assert world.queries.resolve(file.upper()) == ("file", file, file)
    run = world.queries.file(file).runs[0].summary.run
    assert world.queries.resolve(run) == ("run", run, file)
    with pytest.raises(UsageError, match="several") as caught:
        world.queries.resolve(file[:12])
    assert file in caught.value.message
    assert run in caught.value.message
    for nothing in ("zzzz", "%", "a_"):
        with pytest.raises(NotFound):
            world.queries.resolve(nothing)
    with pytest.raises(UsageError):
        world.queries.resolve(" ")


def test_dead_runs_are_grouped_by_what_went_wrong(world):
    journey, do = world.journey, world.do
    same = [do(journey.failed("dead", message=f"order {n} has no id")) for n in range(3)]
    world.clock.advance(60)
    other = do(journey.failed("dead", message="disk on fire"))
    page = world.queries.dead()
    assert page.total == 4
    assert [(g.count, g.step, g.error) for g in page.groups] == [
        (1, "derive", "TimeoutError"),
        (3, "derive", "TimeoutError"),
    ]
    assert [item.run.run for item in page.items] == [o.run for o in [other, *same[::-1]]]
    group = page.groups[1]
    assert group.first_ns == group.last_ns
    only = world.queries.dead(fingerprint=group.fingerprint)
    assert {item.run.run for item in only.items} == {o.run for o in same}
    assert world.queries.dead(fingerprint=group.fingerprint[3:9]).items == only.items
    assert world.queries.dead(fingerprint="v1:none").items == ()
    assert world.queries.dead(pipeline="audit").total == 0
    first = world.queries.dead(limit=3)
    second = world.queries.dead(limit=3, cursor=first.next)
    assert [i.run.run for i in (*first.items, *second.items)] == [i.run.run for i in page.items]
    assert second.next is None
    recent = world.queries.dead(since_ns=world.clock.wall_ns())
    assert [item.run.run for item in recent.items] == [other.run]


def test_held_files_and_runs_are_listed_with_their_reason(world):
    unrouted = world.held()
    twin = world.held("duplicate")
    run = world.do(world.journey.failed("held"))
    page = world.queries.held()
    assert [(item.file, item.reason) for item in page.items] == [
        (run.file.file, "please look"),
        (twin, "duplicate"),
        (unrouted, "unrouted"),
    ]
    assert page.items[0].run is not None
    assert [item.file for item in world.queries.held(reason="unrouted").items] == [unrouted]


def test_status_counts_what_is_and_what_was_lately(world):
    journey, do = world.journey, world.do
    began = world.clock.wall_ns()
    do(journey.queued(2))
    world.clock.advance(2)
    orders = do(journey.lease(1))
    do(world.ledger.stage([journey.stage(order) for order in orders]))
    do(world.ledger.finish([journey.finish(order) for order in orders]))
    do(world.ledger.fail([journey.fail(order, "dead") for order in do(journey.lease(1))]))
    do(journey.queued(1))
    status = world.queries.status()
    (orders_status,) = status.pipelines
    assert orders_status.runs == {"queued": 1, "dead": 1, "done": 1}
    assert orders_status.live == 1
    assert (orders_status.done_recently, orders_status.dead_recently) == (1, 1)
    assert 2 * 10**9 <= orders_status.p50_ns <= 2.5 * 10**9
    assert orders_status.waiting_since_ns == status.waiting_since_ns == began + 2 * 10**9
    assert (status.arrived_recently, status.bytes_recently) == (3, 300)
    world.clock.advance(2 * 3600)
    later = world.queries.status()
    assert later.arrived_recently == later.pipelines[0].done_recently == 0
    assert later.total == 3


def test_revisions_are_listed_latest_first(world):
    world.do(world.ledger.add_revision("aa", "version: 1", 5))
    world.do(world.ledger.add_revision("bb", "version: 1 # new", 6))
    world.named(b"a.csv")
    latest, first = world.queries.revisions()
    assert (latest.number, latest.text, latest.runs) == (2, "version: 1 # new", 0)
    assert (first.number, first.digest, first.runs) == (1, "aa", 1)


def test_what_came_into_force_and_what_was_refused_since(world):
    ledger = world.ledger
    for digest in ("aa", "bb"):
        world.do(ledger.add_revision(digest, "version: 1", 5))
    world.do(ledger.activate(1, "start", 6))
    world.do(ledger.activate(2, "reload", 7))
    world.do(ledger.refuse_revision("no such step", 8))
    world.do(ledger.refuse_revision("no such sink", 9))
    refused = world.queries.refusal()
    assert (refused.at_ns, refused.why) == (9, "no such sink")
    world.do(ledger.activate(1, "reload", 10))
    assert world.queries.refusal() is None
    latest, first = world.queries.revisions()
    assert (latest.current, latest.began) == (False, ((7, "reload"),))
    assert (first.current, first.began) == (True, ((10, "reload"), (6, "start")))


def test_queries_work_when_no_server_runs(world):
    world.named(b"\xffa.csv")
    world.do(world.ledger.close())
    with Queries(SqliteReading.open(world.path), world.clock) as queries:
        (item,) = queries.files().items
        assert (item.relative, item.name) == (b"\xffa.csv", "\\xffa.csv")
    world.ledger = world.do(
        SqliteLedger.open(world.path, durable=Durable(Failpoints("test"), sync=False))
    )


def test_an_inode_of_64_bits_reads_back(world):
    world.named(b"a.csv", identity=Identity(2**64 - 1, 2**64 - 2, 1, 1))
    assert world.queries.files().items[0].size == 1


def test_reading_cannot_write(world):
    with SqliteReading.open(world.path) as reading, pytest.raises(Exception, match="readonly"):
        reading._db.execute("DELETE FROM file")
