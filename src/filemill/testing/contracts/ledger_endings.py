"""Of the ledger's contract: groups of requests, closing, reopening, and the tally."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import msgspec
import pytest

from filemill.model.errors import FilemillError, SystemFault
from filemill.ports.reading import Reading
from filemill.testing.clock import FakeClock
from filemill.testing.contracts.ledger_fixtures import LedgerFixtures, Reopen, in_loop
from filemill.testing.journey import Journey


class EndingContract(LedgerFixtures):
    """No request disturbs another one, and what was answered lasts."""

    @in_loop
    async def test_a_request_that_fails_disturbs_none_of_its_group(self, journey: Journey) -> None:
        taken = await journey.ingested()
        twin = msgspec.structs.replace(journey.claim(), file=taken[0])
        fresh = [journey.claim() for _ in range(6)]
        answers = await asyncio.gather(
            *[journey.ledger.begin_claims([claim]) for claim in fresh[:3]],
            journey.ledger.begin_claims([fresh[3], twin]),
            *[journey.ledger.begin_claims([claim]) for claim in fresh[4:]],
            return_exceptions=True,
        )
        assert isinstance(answers[3], FilemillError)
        assert answers[:3] + answers[4:] == [[True]] * 5
        left = await journey.ledger.recover(journey.clock.wall_ns(), 10)
        assert [c.file for c in left.claiming] == [
            c.file for c in fresh if c.file != fresh[3].file
        ], "nothing of the failed request is left"

    @in_loop
    async def test_a_request_that_fails_halfway_leaves_no_half(self, journey: Journey) -> None:
        first, second, third = await journey.ingested(3)
        good = journey.routing(first, "orders")
        again = journey.routing(third, "orders")
        taken = msgspec.structs.replace(journey.routing(second, "orders"), runs=good.runs)
        answers = await asyncio.gather(
            journey.ledger.route([good]),
            journey.ledger.route([taken]),
            journey.ledger.route([again]),
            return_exceptions=True,
        )
        assert isinstance(answers[1], FilemillError)
        assert (answers[0], answers[2]) == ([True], [True])
        left = await journey.ledger.recover(journey.clock.wall_ns(), 10)
        assert [ref.file for ref in left.uninspected] == [second]
        assert [order.file.file for order in await journey.lease()] == [first, third]
        assert await journey.ledger.route([journey.routing(second, "orders")]) == [True]

    @in_loop
    async def test_closing_answers_what_was_asked_and_refuses_the_rest(
        self, journey: Journey
    ) -> None:
        claims = [journey.claim() for _ in range(20)]
        asked = [asyncio.ensure_future(journey.ledger.begin_claims([claim])) for claim in claims]
        await asyncio.sleep(0)
        await journey.ledger.close()
        assert await asyncio.gather(*asked) == [[True]] * 20
        await journey.ledger.close()
        with pytest.raises(SystemFault):
            await journey.ledger.live()

    def test_what_was_answered_is_there_after_reopening(
        self, runner: asyncio.Runner, journey: Journey, reopen: Reopen | None
    ) -> None:
        if reopen is None:
            pytest.skip("this ledger does not outlive its closing")

        async def go() -> None:
            (done,) = await journey.done()
            (publishing,) = await journey.publishing()
            (running,) = await journey.running()
            retrying = await journey.failed("retrying", after_s=5)
            await journey.queued()
            (ingested,) = await journey.ingested()
            (claiming,) = await journey.claimed(journey.claim())
            again = await reopen()
            left = await again.recover(journey.clock.wall_ns(), 10)
            assert [c.file for c in left.claiming] == [claiming]
            assert [ref.file for ref in left.uninspected] == [ingested]
            assert [p.run for p in left.publishing] == [publishing.run]
            assert left.interrupted == 1
            assert await again.undisposed(0, 100) == (0, [done.file.file])
            assert await again.next_due() == journey.clock.wall_ns() + 5 * 10**9
            orders = await again.lease(10, journey.clock.wall_ns() + 6 * 10**9, 1)
            assert {order.run for order in orders} > {running.run, retrying.run}
            assert len(orders) == 3
            await again.close()

        runner.run(go())

    def test_the_tally_counts_every_move_once(
        self,
        runner: asyncio.Runner,
        journey: Journey,
        reading: Callable[[], Reading] | None,
    ) -> None:
        if reading is None:
            pytest.skip("this ledger cannot be read beside its server")

        async def go() -> None:
            await journey.done(5)
            clock = journey.clock
            assert isinstance(clock, FakeClock)
            clock.advance(60)
            await journey.done(2)
            await journey.failed("dead")
            await journey.failed("retrying", after_s=500)
            (order,) = await journey.running()
            await journey.ledger.stage([journey.stage(order, ("crm", "out"), bad=2)])
            (file,) = await journey.ingested()
            await journey.ledger.route([journey.routing(file, held="unrouted")])
            await journey.ledger.route([journey.routing(file, held="unrouted")])  # refused

        runner.run(go())
        beside = reading()
        counts: Counter[tuple[str, str]] = Counter()
        records: Counter[tuple[str, str]] = Counter()
        timed: Counter[str] = Counter()
        for row in beside.tally(0):
            counts[row.outcome, row.step or row.sink] += row.count
            records[row.outcome, row.step or row.sink] += row.records
            timed[row.outcome] += sum(row.latency.values())
        beside.close()
        assert counts["ingested", ""] == 11
        assert counts["queued", ""] == 10
        assert counts["held", ""] == 1
        assert (counts["done", ""], timed["done"]) == (7, 7)
        assert (counts["dead", "derive"], counts["retrying", "derive"]) == (1, 1)
        assert (counts["published", "out"], records["published", "out"]) == (7, 70)
        assert (counts["taken", "read_csv"], records["taken", "read_csv"]) == (8, 80)
        assert (records["given", "read_csv"], records["bad", "read_csv"]) == (78, 2)
