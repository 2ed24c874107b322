"""Of the ledger's contract: the checkpoints of files in chunks."""

from __future__ import annotations

import msgspec

from filemill.testing.contracts.ledger_fixtures import LedgerFixtures, in_loop
from filemill.testing.journey import Journey


class ChunkContract(LedgerFixtures):
    """Checkpoints count under their fence and go when their run does."""

    @in_loop
    async def test_checkpoints_are_kept_under_their_fence(self, journey: Journey) -> None:
        ledger = journey.ledger
        order, other = await journey.running(2)
        one, two = journey.checkpoint(order, 0), journey.checkpoint(order, 1)
        assert await ledger.checkpoint([]) == []
        assert await ledger.checkpoint([two, one]) == [True, True]
        assert await ledger.checkpoints(order.run) == [one, two]
        assert await ledger.checkpoints(other.run) == []
        assert await ledger.checkpoints("unknown") == []
        again = msgspec.structs.replace(two, state=b"done again")
        stale = msgspec.structs.replace(two, fence=two.fence - 1, state=b"stale")
        nobody = msgspec.structs.replace(two, run="unknown")
        assert await ledger.checkpoint([again, stale, nobody]) == [True, False, False]
        assert await ledger.checkpoints(order.run) == [one, again]
        await ledger.forget_checkpoints([order.run, "unknown"])
        await ledger.forget_checkpoints([])
        assert await ledger.checkpoints(order.run) == []

    @in_loop
    async def test_checkpoints_outlive_what_is_tried_again_and_nothing_else(
        self, journey: Journey
    ) -> None:
        ledger = journey.ledger
        for state, kept in (("retrying", 1), ("queued", 1), ("dead", 0), ("held", 0)):
            (order,) = await journey.running()
            assert await ledger.checkpoint([journey.checkpoint(order, 0)]) == [True]
            assert await ledger.fail([journey.fail(order, state)]) == [True]
            assert len(await ledger.checkpoints(order.run)) == kept, state
            assert await ledger.checkpoint([journey.checkpoint(order, 1)]) == [False]
        (order,) = await journey.lease(1)
        assert await ledger.checkpoint([journey.checkpoint(order, 1)]) == [True]
        stage = journey.stage(order)
        result = msgspec.structs.replace(stage.result, chunks=2)
        assert await ledger.stage([msgspec.structs.replace(stage, result=result)]) == [True]
        assert await ledger.checkpoints(order.run) == []

    @in_loop
    async def test_a_run_that_comes_further_is_not_suspected(self, journey: Journey) -> None:
        ledger, at = journey.ledger, journey.clock.wall_ns()
        (order,) = await journey.running()
        for number in range(5):
            assert await ledger.checkpoint([journey.checkpoint(order, number)]) == [True]
            assert (await ledger.recover(at, 1)).interrupted == 1
            (order,) = await journey.lease()
        assert (await ledger.recover(at, 1)).interrupted == 0, "one that stands still is"
        assert await journey.lease() == []

    @in_loop
    async def test_a_new_server_spares_what_checkpoints_name(self, journey: Journey) -> None:
        ledger, at = journey.ledger, journey.clock.wall_ns()
        order, ended = await journey.running(2)
        for number in (0, 1):
            for each in (order, ended):
                assert await ledger.checkpoint([journey.checkpoint(each, number)]) == [True]
        last = journey.checkpoint(order, 1)
        assert await ledger.fail([journey.fail(ended, "dead")]) == [True]
        assert (await ledger.recover(at, 10)).kept_staged == last.staged
        assert len(await ledger.checkpoints(order.run)) == 2
        (again,) = await journey.lease()
        assert again.fence > order.fence
        assert await ledger.checkpoint([last]) == [False]
        await ledger.recover(at, 0)
        assert await ledger.checkpoints(order.run) == []
