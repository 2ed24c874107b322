"""What people do while the server fails: each deed is done whole, once, with its row in the audit, or not at all.

`tests/torture` walks through every action; here a random start and a stride keep it short.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from deeds import BLIND, SILENT, World
from machine import Machine

pytestmark = pytest.mark.crash
WALKS = [
    ("server", "kill", 41),
    ("server", "EIO", 61),
    ("server", "ENOSPC", 97),
    ("command", "kill", 4),
    ("command", "EIO", 4),
]


def sampled(world: World, role: str, action: str, stride: int) -> None:
    last = world.actions(role)
    seed = int(os.environ.get("FILEMILL_SEED", str(random.randrange(1 << 30))))
    print(f"seed {seed}, {last} actions")
    numbers = range(1 + random.Random(seed).randrange(min(stride, last)), last + 1, stride)
    struck = [number for number in numbers if world.strike(f"{role}.*:{number}:{action}")]
    assert len(struck) >= len(numbers) // 2, (struck, last)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("role", "action", "stride"), WALKS)
def test_a_deed_is_done_whole_and_once_or_not_at_all(
    tmp_path: Path, role: str, action: str, stride: int
) -> None:
    sampled(World(tmp_path), role, action, stride)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_deed_that_was_answered_is_done_when_the_power_goes(
    tmp_path: Path, machine: Machine
) -> None:
    sampled(World(tmp_path, machine=machine), "server", "stop", 47)


@pytest.mark.timeout(600)
def test_the_judge_sees_a_deed_without_a_row(tmp_path: Path) -> None:
    world = World(tmp_path, ("-c", SILENT))
    with pytest.raises(AssertionError, match="not in the audit"):
        world.strike("")


@pytest.mark.timeout(600)
def test_the_judge_sees_an_output_that_is_not_known_again(tmp_path: Path) -> None:
    """Killed when everything is renamed and not yet known to be done."""
    world = World(tmp_path, ("-c", BLIND))
    with pytest.raises(AssertionError, match="unverified"):
        _strike_at_syncs(world)


def _strike_at_syncs(world: World) -> None:
    for number in (*range(10, 14), *range(9, 4, -1)):  # the likely ones first
        world.strike(f"server.sync_directory:{number}:kill")
