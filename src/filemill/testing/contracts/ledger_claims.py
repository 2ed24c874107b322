"""Of the ledger's contract: claims, content and configurations that are known already."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

import msgspec

from filemill.model.files import Facts
from filemill.ports.ledger import Routing
from filemill.testing.contracts.ledger_fixtures import LedgerFixtures, in_loop
from filemill.testing.journey import Journey


class ClaimContract(LedgerFixtures):
    """What was taken is not taken twice, what is needed is known."""

    @in_loop
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

    @in_loop
    async def test_a_path_claimed_by_rename_before_is_never_refused(self, journey: Journey) -> None:
        """The file system gives a freed inode to the next file, and copies may keep times."""
        first = journey.claim(b"a.csv")
        twin = journey.claim(b"a.csv", identity=first.identity)
        copied = journey.claim(b"a.csv", how="copy", identity=first.identity)
        copied_twin = journey.claim(b"a.csv", how="copy", identity=first.identity)
        assert await journey.ledger.begin_claims([first, twin]) == [True, True]
        assert await journey.ledger.begin_claims([copied]) == [True]
        assert await journey.ledger.begin_claims([copied_twin]) == [False]

    @in_loop
    async def test_digests_lead_to_the_first_file_that_had_them(self, journey: Journey) -> None:
        first, second, third = await journey.ingested(3)
        same = Facts(first, digest="ab" * 32)
        for file in (first, second):
            facts = msgspec.structs.replace(same, file=file)
            await journey.ledger.route([Routing(facts, journey.clock.wall_ns(), held="unrouted")])
        await journey.ledger.route([journey.routing(third, "orders")])
        found = await journey.ledger.find_digests(["ab" * 32, "cd" * 32, "ab" * 32])
        assert found == {"ab" * 32: first}

    @in_loop
    async def test_who_decides_a_routing_is_told_of_the_first_file(self, journey: Journey) -> None:
        first, second = await journey.ingested(2)
        digests = ["ab" * 32]
        told: list[dict[str, str]] = []

        def decide(file: str) -> Callable[[Mapping[str, str]], list[Routing]]:
            def decided(known: Mapping[str, str]) -> list[Routing]:
                told.append(dict(known))
                facts = Facts(file, digest=digests[0])
                return [Routing(facts, journey.clock.wall_ns(), held="unrouted")]

            return decided

        for file in (first, second):
            assert await journey.ledger.route_by(digests, decide(file)) == [True]
        assert told == [{}, {digests[0]: first}]

    @in_loop
    async def test_what_is_asked_behind_an_acknowledgement_stands_on_it(
        self, journey: Journey
    ) -> None:
        for more in (False, True):
            taken, not_taken = await journey.claimed(journey.claim(), journey.claim())
            decide = _always(journey.routing(file, "orders") for file in (taken, not_taken))
            ingested, routed, leased = await asyncio.gather(
                journey.ledger.ingest([taken], journey.clock.wall_ns(), more=more),
                journey.ledger.route_by([], decide, more=more),
                journey.lease(),
            )
            assert (ingested, routed) == ([True], [True, False])
            assert [order.file.file for order in leased] == [taken]

    @in_loop
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

    @in_loop
    async def test_a_failed_steps_kept_input_is_known_content(self, journey: Journey) -> None:
        (order,) = await journey.running()
        fail = msgspec.structs.replace(journey.fail(order, "dead"), input="c/kept")
        await journey.ledger.fail([fail])
        assert await journey.ledger.known_content(["c/kept"]) == [True]

    @in_loop
    async def test_a_configuration_is_stored_once(self, journey: Journey) -> None:
        add = journey.ledger.add_revision
        first = await add("aa", "version: 1", 1)
        assert await add("bb", "version: 1 # new", 2) == first + 1
        assert await add("aa", "version: 1", 3) == first
        assert await journey.ledger.revision_text(first) == ("aa", "version: 1")
        assert await journey.ledger.revision_text(first + 2) is None


def _always(routings: Iterable[Routing]) -> Callable[[Mapping[str, str]], list[Routing]]:
    """What decides the same, whatever it is told."""
    decided = list(routings)
    return lambda _known: decided
