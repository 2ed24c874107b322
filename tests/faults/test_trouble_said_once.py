"""A trouble that comes and goes, or that several parts meet, is one line at its beginning and one at its end."""

from __future__ import annotations

import asyncio

import pytest

from filemill.model.events import Event, SystemRecovered, SystemTrouble
from filemill.service import calming
from filemill.service.calming import Calm


def trouble(what: str) -> SystemTrouble:
    return SystemTrouble(at_ns=1, what=what, message="full")


def over(what: str) -> SystemRecovered:
    return SystemRecovered(at_ns=2, what=what)


def test_coming_and_going_is_one_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calming, "CALM", 0.05)
    said: list[Event] = []

    async def story() -> None:
        calm = Calm(said.append)
        for _ in range(5):
            calm(trouble("ledger"))
            calm(over("ledger"))
        calm(trouble("publish"))
        assert [type(each) for each in said] == [SystemTrouble, SystemTrouble]
        await asyncio.sleep(0.2)
        assert said[2:] == [over("ledger")]
        calm(trouble("ledger"))
        assert said[3:] == [trouble("ledger")]

    asyncio.run(story())


def test_it_is_over_when_the_last_who_met_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calming, "CALM", 0.0)
    said: list[Event] = []

    async def story() -> None:
        calm = Calm(said.append)
        calm(trouble("ledger"))
        calm(trouble("ledger"))
        calm(over("ledger"))
        await asyncio.sleep(0.05)
        assert len(said) == 1
        calm(over("ledger"))
        await asyncio.sleep(0.05)
        assert said[1:] == [over("ledger")]

    asyncio.run(story())
