"""Of the ledger's contract: the whole way of a file."""

from __future__ import annotations

from filemill.model.files import Identity
from filemill.testing.contracts.ledger_fixtures import LedgerFixtures, in_loop
from filemill.testing.journey import Journey

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


class JourneyContract(LedgerFixtures):
    """Claimed, acknowledged, routed, leased, staged, done, disposed of."""

    @in_loop
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

    @in_loop
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

    @in_loop
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

    @in_loop
    async def test_a_run_without_outputs_goes_the_same_way(self, journey: Journey) -> None:
        (order,) = await journey.running()
        assert await journey.ledger.stage([journey.stage(order, sinks=())]) == [True]
        left = await journey.ledger.recover(journey.clock.wall_ns(), 10)
        assert left.publishing_empty == ((order.run, order.fence),)
        assert [each.run for each in left.publishing_runs] == [order.run]
        assert await journey.ledger.finish([journey.finish(order)]) == [True]

    @in_loop
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

    @in_loop
    async def test_device_and_inode_numbers_may_use_all_64_bits(self, journey: Journey) -> None:
        identity = Identity(2**64 - 1, 2**63, 1, 2**62)
        claim = journey.claim(identity=identity)
        await journey.claimed(claim)
        left = await journey.ledger.recover(journey.clock.wall_ns(), 10)
        assert left.claiming == (claim,)

    @in_loop
    async def test_text_that_is_no_unicode_is_recorded_escaped(self, journey: Journey) -> None:
        (order,) = await journey.running()
        fail = journey.fail(order, "dead", message="cannot open '\udcff.csv'")
        assert await journey.ledger.fail([fail]) == [True]
