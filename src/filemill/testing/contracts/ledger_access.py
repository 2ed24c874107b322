"""Of the ledger's contract: keys, who sent a file, and an audit whose rows are chained."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from filemill.model.auditing import GENESIS, chained
from filemill.model.deeds import Deed, Redrive
from filemill.model.keys import Access, StoredKey
from filemill.ports.access import AuditSelection
from filemill.ports.reading import Reading, Selection
from filemill.testing.contracts.ledger_fixtures import LedgerFixtures, in_loop
from filemill.testing.journey import Journey

Seen = Callable[[], Reading]


class AccessContract(LedgerFixtures):
    """Keys are kept as they were made and revoked once; whatever was done is in the audit, row upon row."""

    @pytest.fixture
    def seen(self, reading: Seen | None) -> Seen:
        if reading is None:
            pytest.skip("this ledger cannot be read beside its server")
        return reading

    @in_loop
    async def test_of_one_name_one_key_is_in_force(self, journey: Journey) -> None:
        ledger, deed = journey.ledger, _deed(journey)
        soon = journey.clock.wall_ns() + 1_000
        assert await ledger.create_key(_key("a", expires_ns=soon), deed) == "made"
        assert await ledger.create_key(_key("b"), deed) == "named"
        assert await ledger.create_key(_key("a", name="bo"), deed) == "taken"
        later = msgspec.structs.replace(deed, at_ns=soon)
        assert await ledger.create_key(_key("b"), later) == "made", "the first is expired by then"
        assert await ledger.revoke_keys(["b", "b", "nobody"], later) == [True, False, False]
        assert await ledger.create_key(_key("c"), later) == "made"
        assert await ledger.revoke_keys(["acme"], later) == [True], "by name: what is not revoked"
        assert await ledger.revoke_keys(["a", "c"], later) == [False, False]

    def test_a_key_is_read_as_it_was_made(
        self, runner: asyncio.Runner, journey: Journey, seen: Seen
    ) -> None:
        async def go() -> None:
            key = _key("a", sources=("in box",), pipelines=("orders", "audit"), expires_ns=2**62)
            await journey.ledger.create_key(key, _deed(journey))
            await journey.ledger.note_uses({"a": 50, "unknown": 60})
            await journey.ledger.note_uses({"a": 40})
            reading = seen()
            assert reading.key("b") is None
            assert reading.key("a") == msgspec.structs.replace(key, used_ns=50)
            await journey.ledger.revoke_keys(
                ["a"], msgspec.structs.replace(_deed(journey), at_ns=70)
            )
            (revoked,) = reading.keys()
            assert (revoked.id, revoked.revoked_ns) == ("a", 70)
            reading.close()

        runner.run(go())

    def test_a_file_is_its_senders_and_so_is_what_is_made_from_it(
        self, runner: asyncio.Runner, journey: Journey, seen: Seen
    ) -> None:
        async def go() -> None:
            ledger, now = journey.ledger, journey.clock.wall_ns()
            sent = journey.claim(principal="key:acme")
            files = await journey.claimed(sent, journey.claim())
            await ledger.ingest(files, now)
            await ledger.route([journey.routing(files[0], "orders")])
            (order,) = await journey.lease()
            child = journey.child(order)
            assert await ledger.stage([journey.emitting(order, child)]) == [True]
            reading = seen()
            mine = reading.select(Selection(principal="key:acme"))
            assert {row.file for row in mine} == {sent.file, child.file}
            assert {row.principal for row in reading.select(Selection())} == {"", "key:acme"}
            assert reading.select(Selection(principal="key:bo")) == []
            reading.close()

        runner.run(go())

    def test_the_audit_is_a_chain(
        self, runner: asyncio.Runner, journey: Journey, seen: Seen
    ) -> None:
        async def go() -> None:
            ledger, deed = journey.ledger, _deed(journey)
            await ledger.create_key(_key("a"), deed)
            order = await journey.failed("dead")
            await ledger.redrive([Redrive(order.run, order.fence)], deed)
            odd = Access("key:a", 5, "denied", "/files/\udcff\u00e9", {"status": 403})
            await ledger.note_access([odd, Access("key:a", 6, "login", "http")])
            await ledger.note("edit", [order.file.file], "as abc", deed)
            reading = seen()
            rows = reading.chain(0, 100)
            assert [row.action for row in rows] == [
                "create-key", "redrive", "denied", "login", "edit",
            ]  # fmt: skip
            former = GENESIS
            for row in rows:
                *told, chain = msgspec.structs.astuple(row)
                former = chained(former, *told)
                assert chain == former, row
            assert reading.chain(rows[1].number, 1) == [rows[2]]
            assert reading.deeds(AuditSelection(action="login")) == [rows[3]]
            assert reading.deeds(AuditSelection(object=order.run)) == [rows[1]]
            assert reading.deeds(AuditSelection(principal="key:a", limit=1)) == [rows[3]]
            reading.close()

        runner.run(go())


def _deed(journey: Journey) -> Deed:
    return Deed("ana", journey.clock.wall_ns())


def _key(
    id_: str,
    *,
    name: str = "acme",
    sources: tuple[str, ...] = (),
    pipelines: tuple[str, ...] = (),
    expires_ns: int | None = None,
) -> StoredKey:
    return StoredKey(
        id=id_,
        name=name,
        roles=("uploader", "viewer-meta"),
        hash=b"\x00\xff" * 16,
        created_ns=7,
        created_by="ana",
        sources=sources,
        pipelines=pipelines,
        expires_ns=expires_ns,
    )
