"""Claims that the disk let neither finish nor undo: tried again, but never on a ledger whose commits nobody knows."""

import asyncio

import pytest

from filemill.intake import unfinished
from filemill.intake.recovery import Settled
from filemill.model.errors import LedgerSyncError, SystemFault


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(unfinished, "FIRST_PAUSE", 0.01)


async def settled_by(*answers):
    """What is settled by these answers, one after the other; the troubles told; how it was over."""
    given, finished, troubles, over = [], [], [], asyncio.Queue()
    left = list(answers)

    async def settle(claims):
        given.append(list(claims))
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    claims = unfinished.Unfinished(settle, finished.extend, troubles.append, over.put_nowait)
    claims.put(["a", "b"])
    task = await asyncio.wait_for(over.get(), 60)
    return given, finished, troubles, task.exception(), len(claims)


def test_they_are_tried_until_none_is_left():
    fault = SystemFault("full")
    given, finished, troubles, error, left = asyncio.run(
        settled_by(fault, Settled(["a"], ["b"]), Settled([], []))
    )
    assert given == [["a", "b"], ["a", "b"], ["b"]]
    assert (finished, troubles, error, left) == (["a"], [fault], None, 0)


def test_a_ledger_that_cannot_sync_ends_it():
    fault = LedgerSyncError("nobody knows")
    given, finished, troubles, error, left = asyncio.run(settled_by(fault))
    assert error is fault, "the server has to end, and the next start reads what the disk holds"
    assert (len(given), finished, troubles, left) == (1, [], [], 2)
