"""Of the ledger's contract: browsers that are logged in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from filemill.model.deeds import Deed
from filemill.model.sessions import StoredSession
from filemill.ports.reading import Reading
from filemill.testing.contracts.ledger_fixtures import LedgerFixtures
from filemill.testing.journey import Journey

Seen = Callable[[], Reading]


class SessionContract(LedgerFixtures):
    """A session is kept as it was opened until it is ended or over; both are in the audit."""

    @pytest.fixture
    def sessions(self, reading: Seen | None) -> Seen:
        if reading is None:
            pytest.skip("this ledger cannot be read beside its server")
        return reading

    def test_a_session_is_read_as_it_was_opened(
        self, runner: asyncio.Runner, journey: Journey, sessions: Seen
    ) -> None:
        async def go() -> None:
            ledger, deed = journey.ledger, Deed("ana", journey.clock.wall_ns())
            kept = _session("s1", 1, sources=("in box",), pipelines=("orders",), key="k", trust="t")
            assert await ledger.open_session(kept, deed)
            assert not await ledger.open_session(_session("s1", 2), deed), "its id is taken"
            assert not await ledger.open_session(_session("s2", 1), deed), "its hash is taken"
            await ledger.use_sessions({"s1": 50, "unknown": 60})
            await ledger.use_sessions({"s1": 40})
            reading = sessions()
            assert reading.session(b"\x02" * 32) is None
            assert reading.session(b"\x01" * 32) == msgspec.structs.replace(kept, used_ns=50)
            assert [each.id for each in reading.sessions()] == ["s1"]
            reading.close()

        runner.run(go())

    def test_logging_in_and_out_are_deeds(
        self, runner: asyncio.Runner, journey: Journey, sessions: Seen
    ) -> None:
        async def go() -> None:
            ledger, deed = journey.ledger, Deed("ana", journey.clock.wall_ns(), "lost")
            for number in (1, 2, 3):
                assert await ledger.open_session(_session(f"s{number}", number), deed)
            assert await ledger.end_sessions(["s1", "s1", "nobody", "s3"], deed) == [
                True, False, False, True,
            ]  # fmt: skip
            assert await ledger.end_sessions([], deed) == []
            reading = sessions()
            assert [each.id for each in reading.sessions()] == ["s2"]
            rows = reading.chain(0, 100)
            assert [(row.action, row.object, row.principal) for row in rows] == [
                ("login", "s1", "ana"),
                ("login", "s2", "ana"),
                ("login", "s3", "ana"),
                ("logout", "s1", "ana"),
                ("logout", "s3", "ana"),
            ]
            assert msgspec.json.decode(rows[3].detail) == {"of": "ana", "reason": "lost"}
            reading.close()

        runner.run(go())

    def test_what_is_over_is_forgotten_when_the_next_one_logs_in(
        self, runner: asyncio.Runner, journey: Journey, sessions: Seen
    ) -> None:
        async def go() -> None:
            ledger, now = journey.ledger, journey.clock.wall_ns()
            await ledger.open_session(_session("old", 1, expires_ns=now + 10), Deed("ana", now))
            await ledger.open_session(_session("new", 2), Deed("ana", now + 10))
            reading = sessions()
            assert [each.id for each in reading.sessions()] == ["new"]
            reading.close()

        runner.run(go())


def _session(id_: str, hash_: int, **more: Any) -> StoredSession:
    made = StoredSession(
        id=id_,
        hash=bytes([hash_]) * 32,
        principal="ana",
        roles=("admin",),
        how="link",
        address="127.0.0.1",
        created_ns=7,
        used_ns=7,
        expires_ns=2**62,
    )
    return msgspec.structs.replace(made, **more)
