"""The contract of `ports.ledger.Ledger`: derive a test class from `LedgerContract` and give it a `ledger` fixture.

    class TestMyLedger(LedgerContract):
        @pytest.fixture
        def ledger(self, runner): ...          # an empty ledger, opened inside `runner`; closed afterwards

Two more fixtures widen what is tested: `reopen` (an async function that closes the ledger without ceremony and opens
what it left) and `reading` (a function that opens a `ports.reading.Reading` beside it). Where they answer None,
their tests are skipped.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec
import pytest

from filemill.model.errors import FilemillError, NotFound, SystemFault
from filemill.model.files import Claim, Facts, Identity
from filemill.model.states import FileState, RunState, may_move_file, may_move_run
from filemill.ports.ledger import Ledger, Routing
from filemill.ports.reading import Reading
from filemill.testing.clock import FakeClock
from filemill.testing.ids import SequentialIds
from filemill.testing.journey import Journey

Reopen = Callable[[], Awaitable[Ledger]]
HOSTILE = (
    b"\xff\xfe not utf-8.csv",
    b"a" * 255,
    b"new\nline\ttab.csv",
    b"-rf *",
    b"   ",
    "\u202egnp.exe".encode(),
    b"quote'\"; DROP TABLE file; --",
    b"deep/er/\xe4.csv",
)


def _in_loop(test: Callable[..., Any]) -> Callable[..., None]:
    """Run an async test in the fixture `runner`; no plugin needed."""

    def run(self: Any, runner: asyncio.Runner, journey: Journey) -> None:
        runner.run(test(self, journey))

    functools.update_wrapper(run, test)
    del run.__dict__["__wrapped__"]  # pytest would read the fixtures' names from it
    return run


class LedgerContract:
    """What every ledger must do."""

    __test__ = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.__test__ = True

    @pytest.fixture
    def runner(self) -> Iterator[asyncio.Runner]:
        with asyncio.Runner() as runner:
            yield runner

    @pytest.fixture
    def ledger(self, runner: asyncio.Runner) -> Any:
        raise NotImplementedError("the subclass opens its ledger here")

    @pytest.fixture
    def reopen(self) -> Reopen | None:
        return None

    @pytest.fixture
    def reading(self) -> Callable[[], Reading] | None:
        return None

    @pytest.fixture
    def journey(self, ledger: Ledger) -> Journey:
        return Journey(ledger, SequentialIds(), FakeClock())

    # -- the whole way ------------------------------------------------------------------------------

    @_in_loop
    async def test_a_file_goes_all_the_way_and_each_step_only_once(self, journey: Journey) -> None:
        ledger, at = journey.ledger, journey.clock.wall_ns()
        claim = journey.claim(b"sub/a.csv")
        assert await ledger.begin_claims([claim]) == [True]
        assert await ledger.live() == 1
        assert await ledger.ingest([claim.file], at) == [True]
        assert await ledger.ingest([claim.file], at) == [False]
        routing = journey.routing(claim.file, "orders")
        assert await ledger.route([routing]) == [True]
        assert await ledger.route([routing]) == [False]
        (order,) = await journey.lease()
        assert await journey.lease() == []
        assert (order.run, order.pipeline, order.revision) == (routing.runs[0].run, "orders", 1)
        assert (order.attempt, order.fence, order.solo) == (1, 1, False)
        file = order.file
        assert (file.file, file.relative, file.size) == (claim.file, b"sub/a.csv", 100)
        assert file.path == claim.content.encode()
        assert file.tags == ("from:inbox", "orders")
        assert (file.attributes, file.media) == ({"rows": "3"}, "text/csv")
        assert (file.digest, file.arrived_ns) == (routing.facts.digest, claim.claimed_ns)
        assert await ledger.stage([journey.stage(order)]) == [True]
        assert await ledger.stage([journey.stage(order)]) == [False]
        assert await ledger.disposable([claim.file]) == []
        assert await ledger.disposed([claim.file], at) == [False]
        assert await ledger.finish([journey.finish(order)]) == [True]
        assert await ledger.finish([journey.finish(order)]) == [False]
        assert await ledger.live() == 0
        (disposal,) = await ledger.disposable([claim.file, "unknown"])
        assert (disposal.file, disposal.content) == (claim.file, claim.content)
        assert (disposal.path, disposal.after, disposal.how) == (claim.path, "archive", "rename")
        assert await ledger.disposed([claim.file], at) == [True]
        assert await ledger.disposed([claim.file], at) == [False]
        assert await ledger.disposable([claim.file]) == []

    @_in_loop
    async def test_lists_are_answered_in_their_order_and_empty_ones_with_nothing(
        self, journey: Journey
    ) -> None:
        ledger, at = journey.ledger, journey.clock.wall_ns()
        for answer in (
            await ledger.begin_claims([]),
            await ledger.ingest([], at),
            await ledger.abandon([]),
            await ledger.route([]),
            await ledger.stage([]),
            await ledger.finish([]),
            await ledger.fail([]),
            await ledger.disposable([]),
            await ledger.disposed([], at),
            await ledger.known_content([]),
            await ledger.claims([]),
            await ledger.lease(0, at, 1),
        ):
            assert answer == []
        assert await ledger.find_digests([]) == {}
        a, b = await journey.claimed(journey.claim(), journey.claim())
        assert await ledger.ingest([b, "unknown", a, b], at) == [True, False, True, False]

    @_in_loop
    async def test_a_file_with_two_runs_is_disposable_when_both_are_done(
        self, journey: Journey
    ) -> None:
        (file,) = await journey.queued(1, ("orders", "audit"))
        first, second = await journey.lease()
        await journey.ledger.stage([journey.stage(first), journey.stage(second)])
        await journey.ledger.finish([journey.finish(first)])
        assert await journey.ledger.disposable([file]) == []
        await journey.ledger.finish([journey.finish(second)])
        assert len(await journey.ledger.disposable([file])) == 1

    @_in_loop
    async def test_a_run_without_outputs_goes_the_same_way(self, journey: Journey) -> None:
        (order,) = await journey.running()
        assert await journey.ledger.stage([journey.stage(order, sinks=())]) == [True]
        left = await journey.ledger.recover(journey.clock.wall_ns(), 10)
        assert left.publishing_empty == ((order.run, order.fence),)
        assert [each.run for each in left.publishing_runs] == [order.run]
        assert await journey.ledger.finish([journey.finish(order)]) == [True]

    @_in_loop
    async def test_hostile_names_come_back_as_they_went_in(self, journey: Journey) -> None:
        claims = [journey.claim(name) for name in HOSTILE]
        files = await journey.claimed(*claims)
        left = await journey.ledger.recover(journey.clock.wall_ns(), 10)
        assert left.claiming == tuple(claims)
        await journey.ledger.ingest(files, journey.clock.wall_ns())
        left = await journey.ledger.recover(journey.clock.wall_ns(), 10)
        assert tuple(ref.relative for ref in left.uninspected) == HOSTILE
        await journey.ledger.route([journey.routing(file, "orders") for file in files])
        orders = await journey.lease()
        assert tuple(order.file.relative for order in orders) == HOSTILE
        await journey.ledger.stage([journey.stage(order) for order in orders])
        left = await journey.ledger.recover(journey.clock.wall_ns(), 10)
        names = {publication.run: publication.name for publication in left.publishing}
        assert [names[order.run] for order in orders] == [o.file.name for o in orders]

    @_in_loop
    async def test_device_and_inode_numbers_may_use_all_64_bits(self, journey: Journey) -> None:
        identity = Identity(2**64 - 1, 2**63, 1, 2**62)
        claim = journey.claim(identity=identity)
        await journey.claimed(claim)
        left = await journey.ledger.recover(journey.clock.wall_ns(), 10)
        assert left.claiming == (claim,)

    @_in_loop
    async def test_text_that_is_no_unicode_is_recorded_escaped(self, journey: Journey) -> None:
        (order,) = await journey.running()
        fail = journey.fail(order, "dead", message="cannot open '\udcff.csv'")
        assert await journey.ledger.fail([fail]) == [True]

    # -- chunks -------------------------------------------------------------------------------------

    @_in_loop
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

    @_in_loop
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

    @_in_loop
    async def test_a_run_that_comes_further_is_not_suspected(self, journey: Journey) -> None:
        ledger, at = journey.ledger, journey.clock.wall_ns()
        (order,) = await journey.running()
        for number in range(5):
            assert await ledger.checkpoint([journey.checkpoint(order, number)]) == [True]
            assert (await ledger.recover(at, 1)).interrupted == 1
            (order,) = await journey.lease()
        assert (await ledger.recover(at, 1)).interrupted == 0, "one that stands still is"
        assert await journey.lease() == []

    @_in_loop
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

    # -- children -----------------------------------------------------------------------------------

    @_in_loop
    async def test_children_are_claims_of_the_commit_that_stages_their_run(
        self, journey: Journey
    ) -> None:
        ledger = journey.ledger
        claim = msgspec.structs.replace(
            journey.claim(b"in/feed.zip", after="delete"),
            tags=("from:inbox", "partner:x"),
            priority=3,
        )
        (file,) = await journey.claimed(claim)
        await ledger.ingest([file], journey.clock.wall_ns())
        await ledger.route([journey.routing(file, "orders")])
        (order,) = await journey.lease()
        children = [journey.child(order, "a.csv"), journey.child(order, "b.csv", ("from:inbox",))]
        assert await ledger.stage([journey.emitting(order, *children)]) == [True]
        claims = await ledger.claims([children[1].file, "unknown", children[0].file, file])
        assert [each.file for each in claims] == [children[1].file, children[0].file]
        (second, first) = claims
        assert first == msgspec.structs.replace(
            claim,
            file=children[0].file,
            path=children[0].staged,
            relative=b"in/feed.zip/a.csv",
            identity=children[0].identity,
            content=f"c/{children[0].file}",
            claimed_ns=journey.clock.wall_ns(),
            tags=("from:inbox", "partner:x", "part"),
            parent=file,
            depth=1,
            after="delete",
        )
        assert second.tags == ("from:inbox", "partner:x"), "a rule's tags are not inherited"
        left = await ledger.recover(journey.clock.wall_ns(), 10)
        assert set(left.claiming) == set(claims)
        assert await ledger.live() == 3
        assert await ledger.ingest([each.file for each in children], 1) == [True, True]
        assert await ledger.claims([each.file for each in children]) == []
        left = await ledger.recover(journey.clock.wall_ns(), 10)
        assert {(ref.file, ref.depth) for ref in left.uninspected} == {
            (each.file, 1) for each in children
        }

    @_in_loop
    async def test_a_child_is_noted_once_whatever_attempts_there_are(
        self, journey: Journey
    ) -> None:
        ledger = journey.ledger
        (stale,) = await journey.running()
        await ledger.fail([journey.fail(stale, "queued")])
        (order,) = await journey.lease()
        old, new = journey.child(stale), journey.child(order)
        assert old.file == new.file
        assert await ledger.stage([journey.emitting(stale, old)]) == [False]
        assert await ledger.claims([old.file]) == [], "a stale worker's children never count"
        assert await ledger.stage([journey.emitting(order, new)]) == [True]
        ((claim,),) = [await ledger.claims([new.file])]
        assert claim.path == new.staged
        (other,) = await journey.running()
        twice = journey.emitting(other, new, journey.child(other))
        assert await ledger.stage([twice]) == [True]
        (again,) = await ledger.claims([new.file])
        assert again == claim, "what is known stays as it is"
        assert len(await ledger.claims([child.file for child in twice.result.children])) == 2

    @_in_loop
    async def test_children_of_children_know_their_depth_and_their_first_forebears_source(
        self, journey: Journey
    ) -> None:
        ledger = journey.ledger
        (order,) = await journey.running()
        for depth in range(1, 4):
            assert order.file.depth == depth - 1
            child = journey.child(order, "x", (f"depth:{depth}",))
            assert await ledger.stage([journey.emitting(order, child)]) == [True]
            (claim,) = await ledger.claims([child.file])
            assert claim.tags == ("from:inbox", f"depth:{depth}")
            assert (claim.parent, claim.after) == (order.file.file, "archive")
            assert claim.depth == depth
            await ledger.ingest([child.file], journey.clock.wall_ns())
            await ledger.route([journey.routing(child.file, "orders")])
            (order,) = await journey.lease()
        assert order.file.relative == b"a.csv/x/x/x"

    def test_a_reader_sees_parents_and_children(
        self,
        runner: asyncio.Runner,
        journey: Journey,
        reading: Callable[[], Reading] | None,
    ) -> None:
        if reading is None:
            pytest.skip("this ledger cannot be read beside its server")

        async def go() -> tuple[str, list[str]]:
            (order,) = await journey.running()
            children = [journey.child(order, name) for name in ("a", "b")]
            await journey.ledger.stage([journey.emitting(order, *children)])
            return order.file.file, [child.file for child in children]

        parent, children = runner.run(go())
        beside = reading()
        assert beside.relatives(parent) == (children, [])
        assert [row.parent for row in beside.files(children)] == [parent, parent]
        assert beside.file_counts()["live"] == 3
        beside.close()

    # -- moves --------------------------------------------------------------------------------------

    @_in_loop
    async def test_runs_make_exactly_the_moves_of_the_table(self, journey: Journey) -> None:
        """Every state a run can be brought to, and from there every move a worker or server can ask for."""
        ledger = journey.ledger
        for before in (
            RunState.QUEUED,
            RunState.RUNNING,
            RunState.PUBLISHING,
            RunState.DONE,
            RunState.RETRYING,
            RunState.DEAD,
            RunState.HELD,
        ):
            for after in (
                RunState.RUNNING,
                RunState.PUBLISHING,
                RunState.DONE,
                RunState.RETRYING,
                RunState.DEAD,
                RunState.HELD,
                RunState.QUEUED,
            ):
                order = await self._brought_to(journey, before)
                if after is RunState.RUNNING:
                    moved = order.run in {each.run for each in await journey.lease()}
                elif after is RunState.PUBLISHING:
                    (moved,) = await ledger.stage([journey.stage(order)])
                elif after is RunState.DONE:
                    (moved,) = await ledger.finish([journey.finish(order)])
                else:
                    (moved,) = await ledger.fail([journey.fail(order, after)])
                people = {
                    RunState.DEAD,
                    RunState.HELD,
                }  # their moves are a person's: redrive, release
                allowed = may_move_run(before, after) and before not in people
                if before is RunState.RETRYING:
                    allowed = after is RunState.RUNNING  # its other moves are a person's too
                assert moved == allowed, f"{before} -> {after}"
                await self._drain(journey)

    async def _brought_to(self, journey: Journey, state: RunState) -> Any:
        if state is RunState.QUEUED:
            (order,) = await journey.running()
            await journey.ledger.fail([journey.fail(order, "queued")])
            return order
        if state is RunState.RUNNING:
            (order,) = await journey.running()
            return order
        if state is RunState.PUBLISHING:
            (order,) = await journey.publishing()
            return order
        if state is RunState.DONE:
            (order,) = await journey.done()
            return order
        return await journey.failed(state)

    async def _drain(self, journey: Journey) -> None:
        """End whatever still waits, so that the next lease finds only its own."""
        while orders := await journey.lease():
            await journey.ledger.fail([journey.fail(order, "dead") for order in orders])

    @_in_loop
    async def test_files_make_exactly_the_moves_of_the_table(self, journey: Journey) -> None:
        targets: dict[FileState, dict[str, Any]] = {
            FileState.INSPECTED: {"runs": True},
            FileState.HELD: {"held": "unrouted"},
            FileState.DISCARDED: {"discarded": "duplicate"},
            FileState.REJECTED: {"refused": "too big"},
            FileState.QUARANTINED: {"refused": "a virus", "unsafe": True},
        }
        for before in (FileState.CLAIMING, FileState.INGESTED, *targets):
            for after in (FileState.INGESTED, *targets):
                (file,) = await journey.claimed(journey.claim())
                if before is not FileState.CLAIMING:
                    await journey.ledger.ingest([file], journey.clock.wall_ns())
                if before in targets:
                    assert await journey.ledger.route([_to(journey, file, targets[before])])
                if after is FileState.INGESTED:
                    (moved,) = await journey.ledger.ingest([file], journey.clock.wall_ns())
                    allowed = before is FileState.CLAIMING  # other ways back are a person's
                else:
                    (moved,) = await journey.ledger.route([_to(journey, file, targets[after])])
                    allowed = may_move_file(before, after) and before is FileState.INGESTED
                assert moved == allowed, f"{before} -> {after}"
                assert await journey.ledger.abandon([file]) == [
                    before is FileState.CLAIMING and not moved
                ]

    @_in_loop
    async def test_a_file_whose_inspection_failed_stays_ingested(self, journey: Journey) -> None:
        (file,) = await journey.ingested()
        failed = Routing(Facts(file, error="read error"), journey.clock.wall_ns())
        assert await journey.ledger.route([failed]) == [False]
        left = await journey.ledger.recover(journey.clock.wall_ns(), 10)
        assert [ref.file for ref in left.uninspected] == [file]

    # -- leases, fences, attempts -------------------------------------------------------------------

    @_in_loop
    async def test_concurrent_callers_share_no_run(self, journey: Journey) -> None:
        files = await journey.queued(60)
        shares = await asyncio.gather(*[journey.lease(7) for _ in range(12)])
        got = [order.file.file for share in shares for order in share]
        assert sorted(got) == sorted(files)

    @_in_loop
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

    @_in_loop
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

    @_in_loop
    async def test_a_limit_takes_the_oldest(self, journey: Journey) -> None:
        files = await journey.queued(5)
        assert [order.file.file for order in await journey.lease(2)] == files[:2]
        assert [order.file.file for order in await journey.lease(9)] == files[2:]

    @_in_loop
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

    @_in_loop
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

    @_in_loop
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

    @_in_loop
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

    @_in_loop
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

    @_in_loop
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

    @_in_loop
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

    @_in_loop
    async def test_a_crash_asks_for_solitude_and_keeps_it(self, journey: Journey) -> None:
        (order,) = await journey.running()
        fail = msgspec.structs.replace(journey.fail(order, "retrying"), solo=True)
        await journey.ledger.fail([fail])
        (order,) = await journey.lease()
        assert order.solo

    @_in_loop
    async def test_a_run_that_may_have_ended_servers_is_tried_alone(self, journey: Journey) -> None:
        await journey.queued()
        alone = []
        for _ in range(4):
            (order,) = await journey.lease()
            alone.append(order.solo)
            await journey.ledger.recover(journey.clock.wall_ns(), 4)
        assert alone == [False, False, True, True], "from half of what it may suffer on"

    @_in_loop
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

    @_in_loop
    async def test_a_run_interrupted_too_often_is_dead(self, journey: Journey) -> None:
        await journey.queued()
        for time in range(3):
            assert len(await journey.lease()) == 1
            left = await journey.ledger.recover(journey.clock.wall_ns(), 2)
            assert left.interrupted == (1 if time < 2 else 0)
        assert await journey.lease() == []
        assert await journey.ledger.live() == 0

    # -- publications -------------------------------------------------------------------------------

    @_in_loop
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

    @_in_loop
    async def test_another_name_is_fixed_before_the_rename(self, journey: Journey) -> None:
        (order,) = await journey.publishing()
        publication = journey.output(order).publication
        await journey.ledger.rename_output(publication, b"a-2.csv")
        left = await journey.ledger.recover(journey.clock.wall_ns(), 10)
        assert [p.name for p in left.publishing] == [b"a-2.csv"]
        await journey.ledger.finish([journey.finish(order)])
        with pytest.raises(NotFound):
            await journey.ledger.rename_output(publication, b"a-3.csv")

    @_in_loop
    async def test_what_counts_is_what_the_latest_attempt_staged(self, journey: Journey) -> None:
        (first,) = await journey.running()
        await journey.ledger.fail([journey.fail(first, "queued")])
        (again,) = await journey.lease()
        await journey.ledger.stage([journey.stage(again)])
        left = await journey.ledger.recover(journey.clock.wall_ns(), 10)
        assert [p.staged for p in left.publishing] == [journey.output(again).staged]

    @_in_loop
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

    # -- claims -------------------------------------------------------------------------------------

    @_in_loop
    async def test_a_file_that_stays_in_place_is_taken_once(self, journey: Journey) -> None:
        first = journey.claim(b"k.csv", how="copy", after="keep")
        same = journey.claim(b"k.csv", how="copy", after="keep", identity=first.identity)
        assert await journey.ledger.begin_claims([first, same]) == [True, False]
        assert await journey.ledger.begin_claims([same]) == [False]
        # The device's number is another one after the machine was started anew.
        number = first.identity.device + 1
        identity = msgspec.structs.replace(first.identity, device=number)
        renumbered = journey.claim(b"k.csv", how="copy", after="keep", identity=identity)
        assert await journey.ledger.begin_claims([renumbered]) == [False]
        changed = journey.claim(b"k.csv", how="copy", after="keep")
        other = journey.claim(b"l.csv", how="copy", after="keep", identity=first.identity)
        elsewhere = journey.claim(
            b"k.csv", source="two", how="copy", after="keep", identity=first.identity
        )
        assert await journey.ledger.begin_claims([changed, other, elsewhere]) == [True] * 3
        assert await journey.ledger.abandon([first.file, "unknown"]) == [True, False]
        assert await journey.ledger.begin_claims([same]) == [True]

    @_in_loop
    async def test_a_path_claimed_by_rename_before_is_never_refused(self, journey: Journey) -> None:
        """The file system gives a freed inode to the next file, and copies may keep times."""
        first = journey.claim(b"a.csv")
        twin = journey.claim(b"a.csv", identity=first.identity)
        copied = journey.claim(b"a.csv", how="copy", identity=first.identity)
        copied_twin = journey.claim(b"a.csv", how="copy", identity=first.identity)
        assert await journey.ledger.begin_claims([first, twin]) == [True, True]
        assert await journey.ledger.begin_claims([copied]) == [True]
        assert await journey.ledger.begin_claims([copied_twin]) == [False]

    @_in_loop
    async def test_digests_lead_to_the_first_file_that_had_them(self, journey: Journey) -> None:
        first, second, third = await journey.ingested(3)
        same = Facts(first, digest="ab" * 32)
        for file in (first, second):
            facts = msgspec.structs.replace(same, file=file)
            await journey.ledger.route([Routing(facts, journey.clock.wall_ns(), held="unrouted")])
        await journey.ledger.route([journey.routing(third, "orders")])
        found = await journey.ledger.find_digests(["ab" * 32, "cd" * 32, "ab" * 32])
        assert found == {"ab" * 32: first}

    @_in_loop
    async def test_content_is_needed_until_its_file_is_disposed_of(self, journey: Journey) -> None:
        claims = [journey.claim(after=after) for after in ("archive", "delete", "keep")]
        files = await journey.claimed(*claims)
        references = [claim.content for claim in claims]
        assert await journey.ledger.known_content([*references, "c/none"]) == [True] * 3 + [None]
        await journey.ledger.ingest(files, journey.clock.wall_ns())
        await journey.ledger.route([journey.routing(file, "orders") for file in files])
        orders = await journey.lease()
        await journey.ledger.stage([journey.stage(order) for order in orders])
        await journey.ledger.finish([journey.finish(order) for order in orders])
        assert await journey.ledger.known_content(references) == [True] * 3
        await journey.ledger.disposed(files, journey.clock.wall_ns())
        assert await journey.ledger.known_content(references) == [True, False, False]

    @_in_loop
    async def test_a_failed_steps_kept_input_is_known_content(self, journey: Journey) -> None:
        (order,) = await journey.running()
        fail = msgspec.structs.replace(journey.fail(order, "dead"), input="c/kept")
        await journey.ledger.fail([fail])
        assert await journey.ledger.known_content(["c/kept"]) == [True]

    @_in_loop
    async def test_a_configuration_is_stored_once(self, journey: Journey) -> None:
        add = journey.ledger.add_revision
        first = await add("aa", "version: 1", 1)
        assert await add("bb", "version: 1 # new", 2) == first + 1
        assert await add("aa", "version: 1", 3) == first

    # -- groups, ends -------------------------------------------------------------------------------

    @_in_loop
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

    @_in_loop
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

    @_in_loop
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
            assert left.undisposed == (done.file.file,)
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


def _to(journey: Journey, file: str, target: dict[str, Any]) -> Routing:
    """A routing of an inspected file to one of its next states."""
    if "refused" in target:
        facts = Facts(file, refused=target["refused"], unsafe=target.get("unsafe", False))
        return Routing(facts, journey.clock.wall_ns())
    if "runs" in target:
        return journey.routing(file, "orders")
    return journey.routing(file, **target)
