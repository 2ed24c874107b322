"""Power cuts under load on real file systems: what was told is true afterwards, and all ends exactly once."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import covered
import pytest
import scenario
from cutting import CONTROLS, World, broken_by, cut_under_load, finish
from machine import Machine
from program import Program

pytestmark = [pytest.mark.crash, pytest.mark.timeout(180)]


@pytest.mark.slow
def test_power_cuts_under_load_lose_and_double_nothing(
    machine: Machine, start: Callable[..., Program]
) -> None:
    world = World(machine, files=480)
    assert cut_under_load(world, start, cuts=4) == []
    assert finish(world, start) == []


@pytest.mark.parametrize("control", list(CONTROLS))
def test_a_sync_that_is_left_out_is_noticed(
    machine: Machine, start: Callable[..., Program], control: str
) -> None:
    """The negative controls: what is told with one kind of sync left out is not true after a cut."""
    world = World(machine, files=360, durability=CONTROLS[control].get("durability", "power"))
    wrong = broken_by(world, start, control, cuts=6)
    print(len(wrong), *wrong[:4], sep="\n")
    assert wrong


@pytest.mark.slow
@pytest.mark.parametrize(("role", "stride"), [("server.*", 50), ("worker.*", 7)])
def test_the_power_goes_just_before_some_actions(machine: Machine, role: str, stride: int) -> None:
    """All promises hold after a cut at a durable action; `tests/torture` walks through every one."""
    seed = int(os.environ.get("FILEMILL_SEED", str(random.randrange(1 << 30))))
    first = 1 + random.Random(seed).randrange(stride)
    print(f"seed {seed}")
    for number in range(first, covered.least(role) + 1, stride):
        assert scenario.strike_power(machine, f"{role}:{number}"), f"no action {number}"
