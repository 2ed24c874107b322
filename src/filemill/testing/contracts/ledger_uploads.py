"""Of the ledger's contract: uploads that come in parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from filemill.model.uploads import PartialUpload
from filemill.ports.reading import Reading
from filemill.testing.contracts.ledger_fixtures import LedgerFixtures, in_loop
from filemill.testing.journey import Journey


def _upload(file: str, principal: str = "ann", **more: Any) -> PartialUpload:
    begun = PartialUpload(
        file=file, principal=principal, source="up", relative=b"\xff.csv", at_ns=1, expires_ns=100
    )
    return PartialUpload(**{name: getattr(begun, name) for name in begun.__struct_fields__} | more)


class UploadContract(LedgerFixtures):
    """What was noted stays, of whoever began it, until it is taken or over."""

    @in_loop
    async def test_an_upload_is_known_by_its_id_and_its_key(self, journey: Journey) -> None:
        ledger: Any = journey.ledger
        assert await ledger.open_upload(_upload("u1", key="k"))
        assert not await ledger.open_upload(_upload("u1"))
        assert not await ledger.open_upload(_upload("u2", key="k"))
        assert await ledger.open_upload(_upload("u2", "bob", key="k"))
        assert await ledger.open_upload(_upload("u3"))
        assert await ledger.open_upload(_upload("u4"))
        assert sorted(await ledger.open_uploads()) == ["u1", "u2", "u3", "u4"]

    @in_loop
    async def test_an_offset_moves_from_where_it_was_by_whoever_began(
        self, journey: Journey
    ) -> None:
        ledger: Any = journey.ledger
        await ledger.open_upload(_upload("u1"))

        async def note(before: int, offset: int, who: str = "ann") -> bool:
            return bool(
                await ledger.note_offset(
                    "u1", who, before=before, offset=offset, length=None, expires_ns=200
                )
            )

        assert await note(0, 10)
        assert not await note(0, 5)
        assert not await note(10, 20, "bob")
        assert not await ledger.end_upload("u1", "bob", taken=False)
        assert await note(10, 20)
        assert await ledger.end_upload("u1", "ann", taken=True, length=30)
        assert not await note(20, 25)
        assert not await ledger.end_upload("u1", "ann", taken=False)
        assert await ledger.open_uploads() == []

    @in_loop
    async def test_what_nobody_goes_on_with_is_forgotten(self, journey: Journey) -> None:
        ledger: Any = journey.ledger
        for file in ("u1", "u2", "u3"):
            await ledger.open_upload(_upload(file, key=file))
        await ledger.note_offset("u2", "ann", before=0, offset=1, length=9, expires_ns=500)
        await ledger.end_upload("u3", "ann", taken=True, length=0)
        assert await ledger.expire_uploads(99) == []
        assert sorted(await ledger.expire_uploads(100)) == ["u1", "u3"]
        assert await ledger.open_uploads() == ["u2"]
        assert await ledger.end_upload("u2", "ann", taken=False)
        assert await ledger.open_upload(_upload("u4", key="u2"))

    def test_a_reading_tells_all_of_it(
        self, runner: Any, ledger: Any, reading: Callable[[], Reading] | None
    ) -> None:
        if reading is None:
            pytest.skip("nothing reads beside this ledger")
        begun = _upload("u1", key="k", tags=("a", "b"), digest="ab" * 32)
        runner.run(ledger.open_upload(begun))
        eyes = reading()
        try:
            assert eyes.upload("u1") == eyes.upload_of_key("ann", "k") == begun
            assert eyes.upload("u2") is None
            assert eyes.upload_of_key("bob", "k") is None
            runner.run(
                ledger.note_offset("u1", "ann", before=0, offset=7, length=9, expires_ns=200)
            )
            found = eyes.upload("u1")
            assert found is not None
            assert (found.offset, found.length, found.expires_ns) == (7, 9, 200)
            runner.run(ledger.end_upload("u1", "ann", taken=True, length=9))
            found = eyes.upload("u1")
            assert found is not None
            assert (found.offset, found.taken) == (9, True)
        finally:
            eyes.close()
