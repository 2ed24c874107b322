"""Of the ledger's contract: leases, fences, attempts, and what runs publish."""

from __future__ import annotations

import asyncio
import itertools

import msgspec
import pytest

from filemill.model.deeds import Deed, Redrive
from filemill.model.errors import NotFound
from filemill.model.runs import RunOrder
from filemill.testing.clock import FakeClock
from filemill.testing.contracts.ledger_fixtures import LedgerFixtures, in_loop
from filemill.testing.journey import Journey


class RunContract(LedgerFixtures):
    """One owner a run, attempts that are counted beforehand, publications that are not forgotten."""

    @in_loop
    async def test_concurrent_callers_share_no_run(self, journey: Journey) -> None:
        files = await journey.queued(60)
        shares = await asyncio.gather(*[journey.lease(7) for _ in range(12)])
        got = [order.file.file for share in shares for order in share]
        assert sorted(got) == sorted(files)

    @in_loop
    async def test_a_stale_owner_changes_nothing(self, journey: Journey) -> None:
        (stale,) = await journey.running()
        await journey.ledger.fail([journey.fail(stale, "queued")])
        (order,) = await journey.lease()
        assert (order.run, order.fence) == (stale.run, 2)
        assert await journey.ledger.stage([journey.stage(stale)]) == [False]
        assert await journey.ledger.fail([journey.fail(stale, "dead")]) == [False]
        assert await journey.ledger.stage([journey.stage(order)]) == [True]
        assert await journey.ledger.finish([journey.finish(stale)]) == [False]
        assert await journey.ledger.fail([journey.fail(stale, "dead")]) == [False]
        assert await journey.ledger.finish([journey.finish(order)]) == [True]

    @in_loop
    async def test_oldest_first_within_the_highest_priority_and_pipelines_together(
        self, journey: Journey
    ) -> None:
        low = await journey.queued(3, ("orders", "audit"))
        high = await journey.queued(2, ("audit", "orders"), priority=5)
        orders = await journey.lease()
        assert {order.file.file for order in orders[:4]} == set(high)
        changes = [
            (a.pipeline, b.pipeline)
            for a, b in itertools.pairwise(orders)
            if a.pipeline != b.pipeline
        ]
        assert len(changes) <= 3, "neighbours share their pipeline where priorities allow"
        for pipeline in ("orders", "audit"):
            mine = [o.file.file for o in orders[4:] if o.pipeline == pipeline]
            assert mine == low

    @in_loop
    async def test_a_run_goes_by_the_revision_that_is_current_when_it_begins(
        self, journey: Journey
    ) -> None:
        ledger, clock = journey.ledger, journey.clock
        deed = Deed("ana", clock.wall_ns())
        await journey.queued(3)
        orders = await ledger.lease(3, clock.wall_ns(), 7)
        assert [order.revision for order in orders] == [7, 7, 7]
        plain, big, old = orders
        await ledger.checkpoint([journey.checkpoint(big, 0)])
        await ledger.fail([journey.fail(plain, "queued"), journey.fail(big, "queued")])
        await ledger.fail([journey.fail(old, "dead")])
        assert await ledger.redrive([Redrive(old.run, old.fence, revision=7)], deed) == [True]
        again = {order.run: order.revision for order in await ledger.lease(3, clock.wall_ns(), 9)}
        # In the middle of a big file, and pinned by a person: these stay with theirs.
        assert again == {plain.run: 9, big.run: 7, old.run: 7}

    @in_loop
    async def test_a_limit_takes_the_oldest(self, journey: Journey) -> None:
        files = await journey.queued(5)
        assert [order.file.file for order in await journey.lease(2)] == files[:2]
        assert [order.file.file for order in await journey.lease(9)] == files[2:]

    @in_loop
    async def test_attempts_count_before_running_and_interruptions_are_free(
        self, journey: Journey
    ) -> None:
        (order,) = await journey.running()
        assert order.attempt == 1
        await journey.ledger.fail([journey.fail(order, "queued")])
        (order,) = await journey.lease()
        assert (order.attempt, order.fence) == (1, 2)
        await journey.ledger.fail([journey.fail(order, "retrying")])
        (order,) = await journey.lease()
        assert (order.attempt, order.fence) == (2, 3)
        left = await journey.ledger.recover(journey.clock.wall_ns(), 10)
        assert left.interrupted == 1
        (order,) = await journey.lease()
        assert order.attempt == 2
        assert order.fence > 3

    @in_loop
    async def test_an_order_says_since_when_its_run_fails_until_a_person_tries_it_again(
        self, journey: Journey
    ) -> None:
        ledger = journey.ledger

        async def fail(order: RunOrder, state: str, first_ns: int = 0) -> None:
            fail = journey.fail(order, state)
            assert fail.failure is not None
            failure = msgspec.structs.replace(fail.failure, first_ns=first_ns)
            assert await ledger.fail([msgspec.structs.replace(fail, failure=failure)]) == [True]

        (order,) = await journey.running()
        assert order.failing_ns == 0
        await fail(order, "retrying", 70)
        (order,) = await journey.lease()
        await fail(order, "queued")  # interrupted: that is no failure of its own
        (order,) = await journey.lease()
        assert (order.attempt, order.failing_ns) == (2, 70)
        await fail(order, "retrying", 70)
        (order,) = await journey.lease()
        assert (order.attempt, order.failing_ns) == (3, 70)
        await fail(order, "dead")
        deed = Deed("ana", journey.clock.wall_ns())
        assert await ledger.redrive([Redrive(order.run, order.fence)], deed) == [True]
        (order,) = await journey.lease()
        await fail(order, "retrying", 90)
        (order,) = await journey.lease()
        assert (order.attempt, order.failing_ns) == (2, 90)

    @in_loop
    async def test_a_retry_waits_for_its_time(self, journey: Journey) -> None:
        clock = journey.clock
        assert isinstance(clock, FakeClock)
        assert await journey.ledger.next_due() is None
        late = await journey.failed("retrying", after_s=60)
        soon = await journey.failed("retrying", after_s=5)
        assert await journey.ledger.next_due() == clock.wall_ns() + 5 * 10**9
        assert await journey.lease() == []
        clock.advance(5)
        assert [order.run for order in await journey.lease()] == [soon.run]
        assert await journey.ledger.live() == 2
        clock.advance(55)
        assert [order.run for order in await journey.lease()] == [late.run]
        assert await journey.ledger.next_due() is None

    @in_loop
    async def test_due_retries_keep_to_priorities(self, journey: Journey) -> None:
        clock = journey.clock
        assert isinstance(clock, FakeClock)
        await journey.queued(3)
        await journey.queued(1, priority=9)
        orders = await journey.lease()
        await journey.ledger.fail(
            [journey.fail(order, "retrying", after_s=1 + n) for n, order in enumerate(orders[::-1])]
        )
        clock.advance(10)
        assert [order.run for order in await journey.lease(1)] == [orders[0].run]

    @in_loop
    async def test_a_crash_asks_for_solitude_and_keeps_it(self, journey: Journey) -> None:
        (order,) = await journey.running()
        fail = msgspec.structs.replace(journey.fail(order, "retrying"), solo=True)
        await journey.ledger.fail([fail])
        (order,) = await journey.lease()
        assert order.solo

    @in_loop
    async def test_a_run_that_may_have_ended_servers_is_tried_alone(self, journey: Journey) -> None:
        await journey.queued()
        alone = []
        for _ in range(4):
            (order,) = await journey.lease()
            alone.append(order.solo)
            await journey.ledger.recover(journey.clock.wall_ns(), 4)
        assert alone == [False, False, True, True], "from half of what it may suffer on"

    @in_loop
    async def test_a_run_that_had_not_begun_is_not_interrupted(self, journey: Journey) -> None:
        await journey.queued(2)
        for _ in range(5):
            waiting, begun = await journey.lease()
            left = await journey.ledger.recover(journey.clock.wall_ns(), 3, {begun.run})
            if left.interrupted != 2:
                break
        assert left.interrupted == 1
        (order,) = await journey.lease()
        assert (order.run, order.attempt, order.solo) == (waiting.run, 1, False)

    @in_loop
    async def test_a_run_interrupted_too_often_is_dead(self, journey: Journey) -> None:
        await journey.queued()
        for time in range(3):
            assert len(await journey.lease()) == 1
            left = await journey.ledger.recover(journey.clock.wall_ns(), 2)
            assert left.interrupted == (1 if time < 2 else 0)
        assert await journey.lease() == []
        assert await journey.ledger.live() == 0

    @in_loop
    async def test_publishing_runs_are_handed_over_with_their_publications(
        self, journey: Journey
    ) -> None:
        (order,) = await journey.running()
        await journey.ledger.stage([journey.stage(order, ("crm", "warehouse"))])
        left = await journey.ledger.recover(journey.clock.wall_ns(), 10)
        assert {p.sink for p in left.publishing} == {"crm", "warehouse"}
        assert left.publishing_empty == ()
        assert left.interrupted == 0
        (known,) = left.publishing_runs
        assert (known.run, known.fence) == (order.run, order.fence)
        wanted = journey.output(order, "crm")
        (got,) = [p for p in left.publishing if p.sink == "crm"]
        assert (got.publication, got.run, got.fence) == (wanted.publication, order.run, 1)
        assert (got.name, got.staged, got.inode) == (wanted.name, wanted.staged, wanted.inode)
        assert (got.mode, got.state, got.records) == ("suffix", "staged", 10)

    @in_loop
    async def test_another_name_is_fixed_before_the_rename(self, journey: Journey) -> None:
        (order,) = await journey.publishing()
        publication = journey.output(order).publication
        await journey.ledger.rename_output(publication, b"a-2.csv")
        left = await journey.ledger.recover(journey.clock.wall_ns(), 10)
        assert [p.name for p in left.publishing] == [b"a-2.csv"]
        await journey.ledger.finish([journey.finish(order)])
        with pytest.raises(NotFound):
            await journey.ledger.rename_output(publication, b"a-3.csv")

    @in_loop
    async def test_what_counts_is_what_the_latest_attempt_staged(self, journey: Journey) -> None:
        (first,) = await journey.running()
        await journey.ledger.fail([journey.fail(first, "queued")])
        (again,) = await journey.lease()
        await journey.ledger.stage([journey.stage(again)])
        left = await journey.ledger.recover(journey.clock.wall_ns(), 10)
        assert [p.staged for p in left.publishing] == [journey.output(again).staged]

    @in_loop
    async def test_a_sink_that_refuses_leaves_a_dead_run_whose_staged_files_stay(
        self, journey: Journey
    ) -> None:
        (order,) = await journey.running()
        await journey.ledger.stage([journey.stage(order, ("crm", "warehouse"))])
        published = journey.output(order, "warehouse").publication
        fail = msgspec.structs.replace(journey.fail(order, "dead"), published=(published,))
        assert await journey.ledger.fail([fail]) == [True]
        assert await journey.ledger.finish([journey.finish(order)]) == [False]
        left = await journey.ledger.recover(journey.clock.wall_ns(), 10)
        assert left.publishing == ()
        assert left.kept_staged == (journey.output(order, "crm").staged,)
