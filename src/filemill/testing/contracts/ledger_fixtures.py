"""What the ledger's contract stands on: its fixtures, and how its tests run in a loop."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from filemill.ports.ledger import Ledger
from filemill.ports.reading import Reading
from filemill.testing.clock import FakeClock
from filemill.testing.ids import SequentialIds
from filemill.testing.journey import Journey

Reopen = Callable[[], Awaitable[Ledger]]


def in_loop(test: Callable[..., Any]) -> Callable[..., None]:
    """An async test that runs in the fixture `runner`; no plugin needed."""

    def run(self: Any, runner: asyncio.Runner, journey: Journey) -> None:
        runner.run(test(self, journey))

    functools.update_wrapper(run, test)
    del run.__dict__["__wrapped__"]  # pytest would read the fixtures' names from it
    return run


class LedgerFixtures:
    """The fixtures that a ledger's tests ask for; parts of the contract are collected in its subclasses only."""

    __test__ = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.__test__ = not cls.__module__.startswith(f"{__package__}.")

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
