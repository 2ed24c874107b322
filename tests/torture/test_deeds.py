"""What people do while the server fails: every action of it is killed, fails, or loses the power just before it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import pytest
from deeds import World
from machine import Machine
from walking import rules, walk

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(3_000)]
Record = Callable[[str, object], None]


def _walk(world: World, role: str, action: str, apart: int, record_property: Record) -> None:
    runs = 0

    def strike(numbers: Sequence[int]) -> Collection[int]:
        nonlocal runs
        runs += 1
        return world.strike(rules(f"{role}.*", numbers, action))

    walked = walk(strike, apart=apart)
    record_property("actions covered", walked)
    record_property("runs", runs)
    assert walked > (50 if role == "server" else 3)


@pytest.mark.parametrize(("action", "apart"), [("kill", 0), ("EIO", 15), ("ENOSPC", 15)])
@pytest.mark.parametrize("role", ["server", "command"])
def test_a_deed_is_done_whole_and_once_or_not_at_all(
    tmp_path: Path, role: str, action: str, apart: int, record_property: Record
) -> None:
    _walk(World(tmp_path), role, action, apart if role == "server" else 0, record_property)


@pytest.mark.parametrize("role", ["server", "command"])
def test_a_deed_that_was_answered_is_done_when_the_power_goes(
    tmp_path: Path, machine: Machine, role: str, record_property: Record
) -> None:
    _walk(World(tmp_path, machine=machine), role, "stop", 0, record_property)
