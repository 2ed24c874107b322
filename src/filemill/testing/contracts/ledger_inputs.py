"""Of the ledger's contract: what is kept of runs that wait for a person, and where they begin."""

from __future__ import annotations

import msgspec

from filemill.model.deeds import Chosen, Deed, Redrive, Release
from filemill.model.runs import RunResult
from filemill.ports.ledger import Fail
from filemill.testing.contracts.ledger_fixtures import LedgerFixtures, in_loop
from filemill.testing.journey import Journey


class InputContract(LedgerFixtures):
    """Kept input: named by the commit that ends the attempt, given to the next one, gone when the run is at an end."""

    @in_loop
    async def test_an_order_says_where_its_run_begins(self, journey: Journey) -> None:
        ledger = journey.ledger
        (order,) = await journey.running()
        assert (order.kept, order.from_step, order.released) == ("", "", {})
        fail = msgspec.structs.replace(journey.fail(order, "dead"), input="c/kept")
        await ledger.fail([fail])
        deed = Deed("ann", journey.clock.wall_ns())
        await ledger.redrive([Redrive(order.run, order.fence, from_input=True)], deed)
        (again,) = await journey.lease()
        assert (again.kept, bool(again.from_step)) == ("c/kept", True)
        # It dies there again: what it began with stays.
        await ledger.fail([journey.fail(again, "dead")])
        assert await ledger.known_content(["c/kept"]) == [True]
        await ledger.redrive([Redrive(again.run, again.fence)], deed)
        (start,) = await journey.lease()
        assert (start.kept, start.from_step) == ("c/kept", "")
        # It began with the file and nothing new is kept, so what was is not of this attempt.
        await ledger.fail([journey.fail(start, "dead")])
        assert await ledger.known_content(["c/kept"]) == [None]

    @in_loop
    async def test_nothing_is_kept_of_a_run_that_is_done_or_given_up(
        self, journey: Journey
    ) -> None:
        ledger = journey.ledger
        done, given_up = await journey.running(2)
        for order, reference in ((done, "c/one"), (given_up, "c/two")):
            fail = msgspec.structs.replace(journey.fail(order, "dead"), input=reference)
            await ledger.fail([fail])
        deed = Deed("ann", journey.clock.wall_ns())
        await ledger.discard([Chosen(given_up.run, given_up.fence)], deed)
        await ledger.redrive([Redrive(done.run, done.fence, from_input=True)], deed)
        (order,) = await journey.lease()
        await ledger.stage([journey.stage(order)])
        # What a run that is given up kept is named until it is removed.
        assert await ledger.known_content(["c/one", "c/two"]) == [True, False]
        await ledger.finish([journey.finish(order)])
        assert await ledger.known_content(["c/one", "c/two"]) == [None, False]

    @in_loop
    async def test_a_released_run_knows_the_answer_and_begins_where_it_was_held(
        self, journey: Journey
    ) -> None:
        ledger = journey.ledger
        (order,) = await journey.running()
        result = RunResult(order.run, order.fence, hold="right?", hold_step="ask")
        at = journey.clock.wall_ns()
        held = Fail(order.run, order.fence, at, "held", result, None, input="c/kept")
        assert await ledger.fail([held]) == [True]
        await ledger.release([Release(order.run, order.fence, "yes")], Deed("ann", at))
        (again,) = await journey.lease()
        assert (again.kept, again.from_step, again.released) == ("c/kept", "ask", {"ask": "yes"})
