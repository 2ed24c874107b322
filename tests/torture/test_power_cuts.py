"""A hundred power cuts under load."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cutting import World, cut_under_load, finish
from machine import Machine
from program import Program


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_a_hundred_power_cuts_under_load(machine: Machine, start: Callable[..., Program]) -> None:
    world = World(machine, files=4_000)
    assert cut_under_load(world, start, cuts=100) == []
    assert finish(world, start) == []
