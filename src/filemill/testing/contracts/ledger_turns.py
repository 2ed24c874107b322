"""Of the ledger's contract: whose turn it is when runs are leased."""

from __future__ import annotations

import itertools
from collections import Counter

import msgspec

from filemill.model.deeds import Deed, Redrive, Replay
from filemill.model.files import Claim
from filemill.model.runs import RunOrder
from filemill.testing.clock import FakeClock
from filemill.testing.contracts.ledger_fixtures import LedgerFixtures, in_loop
from filemill.testing.journey import Journey


class TurnContract(LedgerFixtures):
    """Priorities first, sources in turn, some pipelines not at all."""

    @in_loop
    async def test_sources_are_served_in_turn_whatever_they_have(self, journey: Journey) -> None:
        many = await journey.queued(40, source="bulk")
        few = await journey.queued(3, source="few")
        (one,) = await journey.queued(1, ("audit",), source="one")
        first = [(o.file.source, o.file.file) for o in await journey.lease(12)]
        assert {file for source, file in first if source == "one"} == {one}
        assert [file for source, file in first if source == "few"] == few
        assert [file for source, file in first if source == "bulk"] == many[:8]
        late = await journey.queued(20, source="few")
        for number in range(4):
            orders = await journey.lease(6)
            assert Counter(o.file.source for o in orders) == {"bulk": 3, "few": 3}
            mine = [o.file.file for o in orders if o.file.source == "few"]
            assert mine == late[number * 3 : number * 3 + 3], "the oldest of each"
        served = [(await journey.lease(1))[0].file.source for _ in range(8)]
        assert all(a != b for a, b in itertools.pairwise(served)), (
            "one each, though asked one by one"
        )

    @in_loop
    async def test_retries_that_are_due_are_served_in_turn_as_well(self, journey: Journey) -> None:
        clock = journey.clock
        assert isinstance(clock, FakeClock)
        await journey.queued(10, source="bulk")
        orders = await journey.lease()
        await journey.ledger.fail([journey.fail(o, "retrying", after_s=1) for o in orders])
        await journey.queued(10, source="bulk")
        (one,) = await journey.queued(1, source="one")
        (order,) = [o for o in await journey.lease(4) if o.file.file == one]
        await journey.ledger.fail([journey.fail(order, "retrying", after_s=2)])
        clock.advance(2)
        assert one in {o.file.file for o in await journey.lease(2)}

    @in_loop
    async def test_excluded_pipelines_get_nothing_and_wait_for_nothing(
        self, journey: Journey
    ) -> None:
        clock = journey.clock
        assert isinstance(clock, FakeClock)
        files = await journey.queued(3, ("orders", "audit"))
        (tried,) = [o for o in await journey.lease(2, "audit") if o.file.file == files[0]]
        await journey.ledger.fail([journey.fail(tried, "retrying", after_s=1)])
        clock.advance(1)
        assert [o.pipeline for o in await journey.lease(9, "orders")] == ["audit"] * 3
        assert await journey.lease(9, "orders", "audit") == []
        assert await journey.ledger.next_due(("orders",)) is None
        assert await journey.ledger.next_due(("audit",)) == clock.wall_ns()
        assert len(await journey.lease(9, "audit")) == 2

    @in_loop
    async def test_a_runs_priority_is_its_pipelines_and_its_files(self, journey: Journey) -> None:
        def claim(priority: int) -> Claim:
            return msgspec.structs.replace(journey.claim(), priority=priority)

        files = await journey.claimed(claim(0), claim(4), claim(-2))
        await journey.ledger.ingest(files, journey.clock.wall_ns())
        routings = [
            journey.routing(files[0], "orders", priority=3),
            journey.routing(files[1], "audit"),
            journey.routing(files[2], "orders", priority=7),
        ]
        assert await journey.ledger.route(routings) == [True] * 3
        orders = [o.file.file for _ in range(3) for o in await journey.lease(1)]
        assert orders == [files[2], files[1], files[0]]

    @in_loop
    async def test_a_replay_has_its_files_turn(self, journey: Journey) -> None:
        (done,) = await journey.done()
        replay = Replay(done.run, journey.ids.new(), 1, pinned=False, priority=0, supersede=False)
        await journey.queued(9, source="bulk")
        assert await journey.ledger.replay([replay], Deed("ann", 1, "")) == [True]
        sources = Counter(order.file.source for order in await journey.lease(4))
        assert sources == {"bulk": 3, "inbox": 1}

    @in_loop
    async def test_runs_of_one_key_are_leased_one_after_the_other(self, journey: Journey) -> None:
        clock = journey.clock
        assert isinstance(clock, FakeClock)
        files = await journey.ingested(6)
        keys = ("a", "a", "b", "a", "c", "b")
        late = files[1]

        async def routed(*chosen: str) -> None:
            pairs = [(f, k) for f, k in zip(files, keys, strict=True) if f in chosen]
            assert all(
                await journey.ledger.route([journey.routing(f, "orders", key=k) for f, k in pairs])
            )

        async def leased() -> dict[str, RunOrder]:
            return {order.file.file: order for order in await journey.lease(2)}

        await routed(*(file for file in files if file != late))
        orders = await leased()
        assert list(orders) == [files[0]], "the second file may be one of any key"
        assert await leased() == {}
        await routed(late)
        assert list(await leased()) == [files[2], files[4]]
        assert await leased() == {}
        first = orders[files[0]]
        await journey.ledger.fail([journey.fail(first, "retrying", after_s=5)])
        assert await leased() == {}, "it is tried again before the next one"
        clock.advance(5)
        (again,) = (await leased()).values()
        assert again.run == first.run
        await journey.ledger.stage([journey.stage(again)])
        assert await leased() == {}, "its outputs are not there yet"
        await journey.ledger.finish([journey.finish(again)])
        (second,) = (await leased()).values()
        assert second.file.file == late
        await journey.ledger.fail([journey.fail(second, "dead")])
        assert list(await leased()) == [files[3]], "who is dead holds nobody up"
        assert await journey.ledger.redrive(
            [Redrive(second.run, second.fence)], Deed("ann", 1, "")
        ) == [True]
        assert await leased() == {}

    @in_loop
    async def test_keys_are_served_in_turn(self, journey: Journey) -> None:
        files = await journey.ingested(40)
        await journey.ledger.route(
            [journey.routing(f, "orders", key=f"k{number % 8}") for number, f in enumerate(files)]
        )
        done: list[str] = []
        while orders := await journey.lease(3):
            for order in orders:
                await journey.ledger.stage([journey.stage(order)])
                await journey.ledger.finish([journey.finish(order)])
                done.append(order.file.file)
        assert sorted(done) == sorted(files)
        for key in range(8):
            assert [f for f in done if f in files[key::8]] == files[key::8], "as they arrived"
        assert {files.index(f) % 8 for f in done[:9]} == set(range(8))
