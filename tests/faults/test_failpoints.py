"""The failpoint loop, sampled: kill, EIO or ENOSPC at durable actions, and a clean start mends everything.

`tests/torture` walks through every action; here a random start and a stride keep it short.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import covered
import pytest
import scenario
from test_kill_tree import FORGETFUL

WALKS = [
    ("server.*", "kill", 37),
    ("server.*", "EIO", 47),
    ("server.*", "ENOSPC", 61),
    ("server.commit", "kill", 12),
    ("worker.*", "kill", 9),
    ("worker.*", "EIO", 13),
]


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("role", "action", "stride"), WALKS)
def test_some_actions_fail_and_a_restart_mends_all(
    tmp_path: Path, role: str, action: str, stride: int
) -> None:
    seed = int(os.environ.get("FILEMILL_SEED", str(random.randrange(1 << 30))))
    first = 1 + random.Random(seed).randrange(stride)
    print(f"seed {seed}")
    for number in range(first, covered.least(role) + 1, stride):
        struck = scenario.strike(tmp_path / str(number), f"{role}:{number}:{action}")
        assert struck.fired, f"no fault struck at {number}: does the scenario still do anything?"


@pytest.mark.crash
@pytest.mark.timeout(120)
def test_the_judge_sees_a_server_that_forgets_what_was_staged(tmp_path: Path) -> None:
    """The negative control: killed between renames, and started again without the publication record."""
    rule = "server.rename:{}:kill"
    red = []
    for number in range(17, 40, 4):
        root = tmp_path / str(number)
        try:
            scenario.strike(root, rule.format(number), entry=("-c", FORGETFUL))
        except AssertionError as error:
            red.append((number, str(error)))
            break
    assert red, "forgetting went unnoticed"
