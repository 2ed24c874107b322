"""A hundred power cuts under load, and one at every durable action."""

from __future__ import annotations

from collections.abc import Callable

import covered
import pytest
import scenario
from cutting import World, cut_under_load, finish
from machine import Machine
from program import Program


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_a_hundred_power_cuts_under_load(machine: Machine, start: Callable[..., Program]) -> None:
    world = World(machine, files=3_000)
    assert cut_under_load(world, start, cuts=100) == []
    assert finish(world, start) == []


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(3_000)
@pytest.mark.parametrize("role", ["server.*", "worker.*"])
def test_the_power_goes_just_before_every_action(
    machine: Machine, role: str, record_property: Callable[[str, object], None]
) -> None:
    walked = 0
    while scenario.strike_power(machine, f"{role}:{walked + 1}"):
        walked += 1
    record_property("cuts", walked)
    assert walked >= covered.least(role)
