"""Of the ledger's contract: files that come out of files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from filemill.ports.reading import Reading
from filemill.testing.contracts.ledger_fixtures import LedgerFixtures, in_loop
from filemill.testing.journey import Journey


class ChildContract(LedgerFixtures):
    """Children are claims of the commit that stages their run, each once."""

    @in_loop
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

    @in_loop
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

    @in_loop
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
