"""Children of files under faults: each exactly one file with exactly its outputs, whatever dies and when.

`tests/torture` walks through every action; here a random start and a stride keep it short.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import boxes
import pytest
from machine import Machine

# The actions of the world of boxes: from ... to about.
SERVER, WORKER = 116, 26
WALKS = [("server.*", "kill", SERVER, 41), ("worker.*", "kill", WORKER, 13)]
HEEDLESS = """
import sys
from filemill.intake.recovery import Found, Recovery

# What recovery did before there were children: what is not in content yet has vanished.
Recovery._place_ours = lambda self, claim, left: (
    Found.WHOLE if self._content.exists(claim.content) else Found.GONE
)
from filemill.cli.main import main
sys.exit(main())
"""


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("role", "action", "last", "stride"), WALKS)
def test_each_child_is_one_file_after_any_kill(
    tmp_path: Path, role: str, action: str, last: int, stride: int
) -> None:
    seed = int(os.environ.get("FILEMILL_SEED", str(random.randrange(1 << 30))))
    first = 1 + random.Random(seed).randrange(stride)
    print(f"seed {seed}")
    struck = 0
    for number in range(first, last + 1, stride):
        struck += len(boxes.strike(tmp_path / str(number), f"{role}:{number}:{action}").fired)
    assert struck, "no fault struck: does the world of boxes still do anything?"


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_each_child_is_one_file_after_a_power_cut(machine: Machine) -> None:
    stride = 50
    seed = int(os.environ.get("FILEMILL_SEED", str(random.randrange(1 << 30))))
    first = 1 + random.Random(seed).randrange(stride)
    print(f"seed {seed}")
    for number in range(first, SERVER + 1, stride):
        boxes.strike_power(machine, f"server.*:{number}")


MOVING_A_CHILD = "server.rename:4:kill"
"""Two renames prove the sinks, the third takes the archive into content, the next its children, rows already."""


@pytest.mark.crash
@pytest.mark.timeout(120)
def test_the_judge_sees_a_recovery_that_takes_children_for_vanished(tmp_path: Path) -> None:
    """The negative control: the very moment at which a child is a row and still where it was staged."""
    with pytest.raises(AssertionError, match=r"acme/feed\.zip/a\.csv: 0 files"):
        boxes.strike(tmp_path / "red", MOVING_A_CHILD, entry=("-c", HEEDLESS))
    assert boxes.strike(tmp_path / "green", MOVING_A_CHILD).fired
