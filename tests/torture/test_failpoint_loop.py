"""Fail durable action n = 1, 2, ... until a run has no failure left; after each, a clean start mends everything.

A kill ends its run. After an error the program goes on, so several strike in one run, far from each other.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import boxes
import covered
import pytest
import scenario
from walking import LEGS, half, rules, walk

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(3_000)]
ACTIONS = ("kill", "EIO", "ENOSPC")
APART = {"server.*": 30, "worker.*": 3}
"""Actions between two errors of one run."""


def apart(role: str, action: str) -> int:
    return 0 if action == "kill" else APART[role]


@pytest.mark.parametrize("leg", range(LEGS))
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("role", list(APART))
def test_every_action_fails_once_and_a_restart_mends_all(
    tmp_path: Path,
    role: str,
    action: str,
    leg: int,
    record_property: Callable[[str, object], None],
) -> None:
    count = itertools.count(1)
    by_itself = 0
    broken: list[str] = []

    def strike(numbers: Sequence[int]) -> Sequence[int]:
        nonlocal by_itself
        root = tmp_path / str(next(count))
        try:
            struck = scenario.strike(root, rules(role, numbers, action))
        except AssertionError as error:
            broken.append(str(error))  # what else is broken is worth knowing, too
            return numbers[:1]
        by_itself += struck.code == 1 and "error: " not in struck.said
        shutil.rmtree(root)
        return sorted(struck.fired)

    # A full disk fails where a broken one does, and walks that way again: every other action is enough.
    leg, legs = half(leg) if action == "ENOSPC" else (leg, LEGS)
    walked = walk(strike, apart=apart(role, action), leg=leg, legs=legs)
    runs = next(count) - 1
    record_property("actions walked", walked)
    record_property("runs", runs)
    record_property("runs that went on by themselves", by_itself)
    assert not broken, f"{len(broken)} of {runs} runs:\n" + "\n\n".join(broken)
    assert walked >= covered.least(role)


@pytest.mark.parametrize("leg", range(LEGS))
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("role", list(APART))
def test_children_of_files_survive_every_action(
    tmp_path: Path,
    role: str,
    action: str,
    leg: int,
    record_property: Callable[[str, object], None],
) -> None:
    count = itertools.count(1)

    def strike(numbers: Sequence[int]) -> Sequence[int]:
        root = tmp_path / str(next(count))
        struck = boxes.strike(root, rules(role, numbers, action))
        shutil.rmtree(root)
        return sorted(struck.fired)

    leg, legs = half(leg)
    walked = walk(strike, apart=apart(role, action), leg=leg, legs=legs)
    record_property("actions walked", walked)
    record_property("runs", next(count) - 1)
    assert walked > 20
