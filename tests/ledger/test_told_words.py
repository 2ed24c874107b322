"""No list tells a sealed text as it is: people see the words of who opened the ledger for reading."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from filemill.durable import Durable, Failpoints
from filemill.encryption.texts import MARK
from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.ledgers.sqlite.reading import SqliteReading
from filemill.ports.access import Scope
from filemill.ports.reading import RunRow
from filemill.testing.clock import FakeClock
from filemill.testing.ids import SequentialIds
from filemill.testing.journey import Journey

SEALED = f"{MARK}0123abcd:bm90aGluZw=="


@pytest.fixture
def path(tmp_path):
    """A ledger with one run that waits for a retry and one that died, of sealed messages."""
    found = str(tmp_path / "ledger.db")

    async def go() -> None:
        ledger = await SqliteLedger.open(found, durable=Durable(Failpoints("test"), sync=False))
        journey = Journey(ledger, SequentialIds(), FakeClock())
        await journey.failed("retrying", after_s=60, message=SEALED)
        await journey.failed("dead", message=SEALED)
        await ledger.close()

    asyncio.run(go())
    return found


def lists(path, scope=None, words=None) -> list[list[msgspec.Struct]]:
    """What every way to list runs tells of these two."""
    with SqliteReading.open(path, scope, words) as reading:
        files = [row.no for row in reading.files_after(0, 10)]
        retrying = reading.runs_retrying(None, 10)
        found = [
            reading.runs(files),
            retrying,
            reading.runs_retrying(0, 10),
            reading.runs_ended(None, 10),
            reading.runs_ended(0, 10),
            reading.ended("dead", "", "", None, 10),
            reading.groups("", 0),
        ]
        assert all(isinstance(row, RunRow) for row in retrying)
        return [list(each) for each in found]


@pytest.mark.parametrize("scope", [None, Scope(sources=("inbox",)), Scope(pipelines=("orders",))])
def test_every_list_says_the_words_and_not_the_text(path, scope):
    plain = lists(path, scope)
    assert all(each and SEALED in repr(each) for each in plain), "the control: it is there"
    told = lists(path, scope, lambda text: "(general)" if text == SEALED else "?")
    assert all("(general)" in repr(each) and MARK not in repr(each) for each in told)
