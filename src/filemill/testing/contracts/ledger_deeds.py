"""Of the ledger's contract: the moves that people make, and what is remembered of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from filemill.model.deeds import Chosen, Deed, Redrive, Release, Replay
from filemill.model.files import Facts
from filemill.model.runs import RunOrder
from filemill.model.states import RunState, may_move_run
from filemill.ports.ledger import Routing, Stage
from filemill.ports.reading import Reading
from filemill.testing.contracts.ledger_fixtures import LedgerFixtures, Reopen, in_loop
from filemill.testing.journey import Journey

Move = Callable[[Chosen], Awaitable[list[bool]]]
_STATES = (
    RunState.QUEUED,
    RunState.RUNNING,
    RunState.PUBLISHING,
    RunState.DONE,
    RunState.RETRYING,
    RunState.DEAD,
    RunState.HELD,
)


class DeedContract(LedgerFixtures):
    """A person's moves are those of the table, made once, under the fence that the person saw."""

    @in_loop
    async def test_people_make_exactly_their_moves(self, journey: Journey) -> None:
        for before in _STATES:
            for name, after, mine in (
                ("redrive", RunState.QUEUED, {RunState.DEAD}),
                ("release", RunState.QUEUED, {RunState.HELD}),
                ("discard", RunState.DISCARDED, {RunState.DEAD, RunState.HELD}),
                (
                    "cancel",
                    RunState.CANCELLED,
                    {RunState.QUEUED, RunState.RETRYING, RunState.RUNNING},
                ),
            ):
                chosen = await _brought_to(journey, before)
                (moved,) = await _moves(journey)[name](chosen)
                assert moved == (before in mine), f"{name} of a run that is {before}"
                assert not moved or may_move_run(before, after)
                assert await _moves(journey)[name](chosen) == [False], "nothing moves twice"
                await _drain(journey)

    @in_loop
    async def test_who_saw_an_older_run_moves_nothing(self, journey: Journey) -> None:
        order = await journey.failed("dead")
        stale = Redrive(order.run, order.fence - 1)
        seen = Redrive(order.run, order.fence)
        assert await journey.ledger.redrive([stale, seen, seen], _deed(journey)) == [
            False,
            True,
            False,
        ]

    @in_loop
    async def test_a_redriven_run_has_all_its_attempts_and_a_new_fence(
        self, journey: Journey
    ) -> None:
        order = await journey.failed("dead")
        await journey.ledger.redrive([Redrive(order.run, order.fence)], _deed(journey))
        (again,) = await journey.lease()
        assert again.run == order.run
        assert again.attempt == 1
        assert again.fence > order.fence
        assert await journey.ledger.fail([journey.fail(order, "dead")]) == [False], "stale"
        assert await journey.ledger.stage([journey.stage(again)]) == [True]

    @in_loop
    async def test_a_run_that_died_publishing_publishes_what_is_missing(
        self, journey: Journey
    ) -> None:
        (order,) = await journey.running()
        (staged,) = [journey.stage(order, ("first", "second"))]
        await journey.ledger.stage([staged])
        first, second = (each.publication for each in staged.result.outputs)
        await journey.ledger.fail([journey.refused(order, "second", published=(first,))])
        deed = _deed(journey)
        assert await journey.ledger.redrive([Redrive(order.run, order.fence)], deed) == [True]
        assert await journey.lease() == [], "no worker does it again"
        orders, missing = await journey.ledger.publishing([order.run])
        assert [each.run for each in orders] == [order.run]
        assert [each.publication for each in missing] == [second]
        assert await journey.ledger.finish([journey.finish(order)]) == [True]

    @in_loop
    async def test_a_cancelled_run_is_nobodys(self, journey: Journey) -> None:
        (order,) = await journey.running()
        assert await journey.ledger.cancel([Chosen(order.run, order.fence)], _deed(journey)) == [
            True
        ]
        assert await journey.ledger.stage([journey.stage(order)]) == [False]
        assert await journey.ledger.live() == 0

    @in_loop
    async def test_an_ended_run_is_replayed_by_a_new_one(self, journey: Journey) -> None:
        (order,) = await journey.done()
        asked = [Replay(order.run, journey.ids.new(), revision=1)]
        assert await journey.ledger.replay(asked, _deed(journey)) == [True]
        (again,) = await journey.lease()
        assert (again.run, again.file.file) == (asked[0].run, order.file.file)
        other = await journey.failed("dead")
        refused = [Replay(other.run, journey.ids.new(), revision=1)]
        assert await journey.ledger.replay(refused, _deed(journey)) == [False]

    @in_loop
    async def test_a_superseding_run_knows_what_the_runs_before_it_published(
        self, journey: Journey
    ) -> None:
        ledger, deed = journey.ledger, _deed(journey)
        (first,) = await journey.done()

        async def again(of: str, *, supersede: bool = True) -> RunOrder:
            asked = Replay(of, journey.ids.new(), revision=1, supersede=supersede)
            assert await ledger.replay([asked], deed) == [True]
            if supersede:  # only one run can take the places of another's outputs
                twice = msgspec.structs.replace(asked, run=journey.ids.new())
                assert await ledger.replay([twice], deed) == [False]
            (order,) = await journey.lease()
            return order

        beside = await again(first.run, supersede=False)
        assert beside.supersedes == ()
        await ledger.cancel([Chosen(beside.run, beside.fence)], deed)
        # The one called back published nothing: what is to be taken over is what stood before it.
        second = await again(beside.run)
        (earlier,) = second.supersedes
        assert (earlier.run, earlier.sink) == (first.run, "out")
        output = msgspec.structs.replace(
            journey.result(second).outputs[0],
            name=earlier.name,
            mode="supersede",
            over_size=earlier.size,
            over_digest=earlier.digest,
        )
        result = msgspec.structs.replace(journey.result(second), outputs=(output,))
        await ledger.stage([Stage(result, journey.clock.wall_ns())])
        _, (waiting,) = await ledger.publishing([second.run])
        assert (waiting.mode, waiting.over_size, waiting.over_digest) == (
            "supersede",
            earlier.size,
            earlier.digest,
        )
        await ledger.finish([journey.finish(second)])
        third = await again(second.run)
        assert [each.run for each in third.supersedes] == [second.run, first.run]

    @in_loop
    async def test_who_insists_on_what_is_kept_is_remembered(self, journey: Journey) -> None:
        deed = _deed(journey)
        order = await journey.failed("dead")
        asked = Redrive(order.run, order.fence, from_input=True, insists=True)
        assert await journey.ledger.redrive([asked], deed) == [True]
        (again,) = await journey.lease()
        assert (again.insists, again.kept) == (True, "")
        assert again.from_step
        await journey.ledger.fail([journey.fail(again, "dead")])
        await journey.ledger.redrive([Redrive(again.run, again.fence, from_input=True)], deed)
        (plain,) = await journey.lease()
        assert (plain.insists, plain.from_step) == (False, "")

    @in_loop
    async def test_a_file_whose_content_is_gone_is_not_replayed(self, journey: Journey) -> None:
        (file,) = await journey.claimed(journey.claim(after="delete"))
        await journey.ledger.ingest([file], journey.clock.wall_ns())
        await journey.ledger.route([journey.routing(file, "orders")])
        (order,) = await journey.lease()
        await journey.ledger.stage([journey.stage(order)])
        await journey.ledger.finish([journey.finish(order)])
        asked = [Replay(order.run, journey.ids.new(), revision=1)]
        await journey.ledger.disposed([file], journey.clock.wall_ns())
        assert await journey.ledger.replay(asked, _deed(journey)) == [False]

    @in_loop
    async def test_a_held_file_is_inspected_and_routed_again(self, journey: Journey) -> None:
        (file,) = await journey.ingested()
        await journey.ledger.route([journey.routing(file, held="unrouted")])
        assert await journey.ledger.readmit([file, "unknown"], _deed(journey)) == [True, False]
        (ref,) = await journey.ledger.uninspected([file])
        assert (ref.file, ref.tags) == (file, ("from:inbox",))
        assert await journey.ledger.route([journey.routing(file, "orders")]) == [True]
        assert await journey.ledger.discard_files([file], _deed(journey)) == [False]

    @in_loop
    async def test_a_quarantined_file_is_released_only_as_unsafe_and_says_so_for_good(
        self, journey: Journey
    ) -> None:
        ledger = journey.ledger
        (file,) = await journey.ingested()
        await ledger.route([_quarantined(journey, file)])
        assert await ledger.readmit([file], _deed(journey)) == [False]
        assert await ledger.readmit([file], _deed(journey), unsafe=True) == [True]
        (ref,) = await ledger.uninspected([file])
        assert ref.attributes == {"released": "ana"}
        await ledger.route([journey.routing(file, held="unrouted")])
        (other,) = await journey.ingested()
        await ledger.route([journey.routing(other, held="unrouted")])
        assert await ledger.readmit([other], _deed(journey)) == [True]
        (ref,) = await ledger.uninspected([other])
        assert ref.attributes == {}

    @in_loop
    async def test_two_people_release_what_one_may_not(self, journey: Journey) -> None:
        ledger = journey.ledger
        (file,) = await journey.ingested()
        (held,) = await journey.ingested()
        await ledger.route([_quarantined(journey, file)])
        ana = _deed(journey)
        bo = Deed("bo", ana.at_ns)
        await ledger.route([journey.routing(held, held="unrouted")])
        both = [file, held]
        assert await ledger.readmit(both, ana, unsafe=True, people=2) == [False, True]
        assert await ledger.readmit([file], ana, unsafe=True, people=2) == [False]
        assert await ledger.readmit([file], bo, people=2) == [False]
        assert await ledger.readmit([file], bo, unsafe=True, people=2) == [True]
        # In quarantine once more, it needs two once more.
        later = Deed("bo", ana.at_ns + 10**9)
        await ledger.route([_quarantined(journey, file, 10**9)])
        assert await ledger.readmit([file], later, unsafe=True, people=2) == [False]

    @in_loop
    async def test_a_file_without_runs_is_given_up(self, journey: Journey) -> None:
        (file,) = await journey.ingested()
        await journey.ledger.route([journey.routing(file, held="unrouted")])
        assert await journey.ledger.discard_files([file], _deed(journey)) == [True]
        assert await journey.ledger.readmit([file], _deed(journey)) == [False]

    @in_loop
    async def test_what_is_at_work_is_not_erased_and_what_is_leaves_its_id(
        self, journey: Journey
    ) -> None:
        ledger, deed = journey.ledger, _deed(journey)
        (held,) = await journey.ingested()
        await ledger.route([journey.routing(held, held="unrouted")])
        dead = await journey.failed("dead")
        (working,) = await journey.queued(pipelines=("orders",))
        files = [working, held, dead.file.file, "unknown"]
        assert await ledger.erase(files, deed) == [False, True, True, False]
        assert await ledger.erase(files, deed) == [False] * 4
        assert await ledger.discard_files([held], deed) == [False], "nothing is known of it"
        assert await ledger.redrive([Redrive(dead.run, dead.fence)], deed) == [False]
        assert {order.file.file for order in await journey.lease()} == {working}

    @in_loop
    async def test_a_paused_pipeline_is_not_leased(self, journey: Journey) -> None:
        ledger = journey.ledger
        await journey.queued(pipelines=("orders", "logs"))
        waiting = await journey.queued(pipelines=("orders",))
        deed = _deed(journey)
        assert await ledger.pause(["orders", "orders"], deed) == [True, True]
        assert await ledger.pause(["orders"], deed) == [False]
        (other,) = await journey.lease()
        assert other.pipeline == "logs"
        await ledger.fail([journey.fail(other, "retrying", after_s=60)])
        await ledger.pause(["logs"], deed)
        assert await ledger.next_due() is None, "nobody wakes for what is paused"
        assert await ledger.live() == 0
        assert await ledger.resume(["orders", "unknown"], deed) == [True, False]
        assert {order.file.file for order in await journey.lease()} > set(waiting)

    def test_a_pause_outlives_its_server(
        self, runner: asyncio.Runner, journey: Journey, reopen: Reopen | None
    ) -> None:
        if reopen is None:
            pytest.skip("this ledger does not outlive its closing")

        async def go() -> None:
            await journey.queued()
            await journey.ledger.pause(["orders"], _deed(journey))
            journey.ledger = await reopen()
            try:
                assert await journey.lease() == []
            finally:
                await journey.ledger.close()

        runner.run(go())

    def test_everything_done_is_in_the_audit(
        self, runner: asyncio.Runner, journey: Journey, reading: Callable[[], Reading] | None
    ) -> None:
        if reading is None:
            pytest.skip("this ledger cannot be read beside its server")

        async def go() -> None:
            order = await journey.failed("dead")
            deed = Deed("ana", journey.clock.wall_ns(), "schema mended")
            await journey.ledger.redrive([Redrive(order.run, order.fence)], deed)
            await journey.ledger.redrive([Redrive(order.run, order.fence)], deed)
            await journey.ledger.note("edit", [order.file.file], "as abc", deed)
            seen = reading()
            try:
                rows = seen.audit([order.run, order.file.file])
            finally:
                seen.close()
            assert [(row.principal, row.action, row.object) for row in rows] == [
                ("ana", "redrive", order.run),
                ("ana", "edit", order.file.file),
            ]
            assert rows[0].detail == {"from": "start", "reason": "schema mended"}

        runner.run(go())


def _deed(journey: Journey) -> Deed:
    return Deed("ana", journey.clock.wall_ns())


def _quarantined(journey: Journey, file: str, later_ns: int = 0) -> Routing:
    facts = Facts(file, refused="a virus", unsafe=True, attributes={"scan": "infected"})
    return Routing(facts, _deed(journey).at_ns + later_ns)


def _moves(journey: Journey) -> dict[str, Move]:
    ledger, deed = journey.ledger, _deed(journey)
    return {
        "redrive": lambda run: ledger.redrive([Redrive(run.run, run.fence)], deed),
        "release": lambda run: ledger.release([Release(run.run, run.fence)], deed),
        "discard": lambda run: ledger.discard([run], deed),
        "cancel": lambda run: ledger.cancel([run], deed),
    }


async def _brought_to(journey: Journey, state: RunState) -> Chosen:
    order: RunOrder
    if state is RunState.QUEUED:
        (order,) = await journey.running()
        await journey.ledger.fail([journey.fail(order, "queued")])
    elif state is RunState.RUNNING:
        (order,) = await journey.running()
    elif state is RunState.PUBLISHING:
        (order,) = await journey.publishing()
    elif state is RunState.DONE:
        (order,) = await journey.done()
    else:
        order = await journey.failed(state)
    return Chosen(order.run, order.fence)


async def _drain(journey: Journey) -> None:
    """End whatever still waits, so that the next lease finds only its own."""
    while orders := await journey.lease():
        await journey.ledger.fail([journey.fail(order, "dead") for order in orders])
