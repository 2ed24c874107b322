"""What people do while the server fails: every action of it is killed, fails, or loses the power just before it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import pytest
from deeds import World
from machine import Machine
from walking import LEGS, half, rules, walk

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(3_000)]
Record = Callable[[str, object], None]


SERVER = "server.*"
PATTERNS = [SERVER, "command.*"]
APART = {"kill": 0, "EIO": 15, "ENOSPC": 15}
"""Actions of the server between two faults of one run."""


def _walk(world: World, pattern: str, action: str, leg: int, record_property: Record) -> None:
    runs = 0

    def strike(numbers: Sequence[int]) -> Collection[int]:
        nonlocal runs
        runs += 1
        return world.strike(rules(pattern, numbers, action))

    apart = APART.get(action, 0) if pattern == SERVER else 0
    leg, legs = half(leg)
    walked = walk(strike, apart=apart, leg=leg, legs=legs)
    record_property("actions walked", walked)
    record_property("runs", runs)
    assert walked > (50 if pattern == SERVER else 3)


@pytest.mark.parametrize("leg", range(LEGS))
@pytest.mark.parametrize("action", list(APART))
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_deed_is_done_whole_and_once_or_not_at_all(
    tmp_path: Path, pattern: str, action: str, leg: int, record_property: Record
) -> None:
    _walk(World(tmp_path), pattern, action, leg, record_property)


@pytest.mark.parametrize("leg", range(LEGS))
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_deed_that_was_answered_is_done_when_the_power_goes(
    tmp_path: Path, machine: Machine, pattern: str, leg: int, record_property: Record
) -> None:
    _walk(World(tmp_path, machine=machine), pattern, "stop", leg, record_property)
