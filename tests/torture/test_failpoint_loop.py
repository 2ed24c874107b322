"""Fail durable action n = 1, 2, ... until a run has no failure left; after each, a clean start mends everything."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import boxes
import covered
import pytest
import scenario

MOST = 1_000


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(3_000)
@pytest.mark.parametrize("action", ["kill", "EIO", "ENOSPC"])
@pytest.mark.parametrize("role", ["server.*", "worker.*", "server.commit"])
def test_every_action_fails_once_and_a_restart_mends_all(
    tmp_path: Path, role: str, action: str, record_property: Callable[[str, object], None]
) -> None:
    by_itself = 0
    broken: list[str] = []
    for number in itertools.count(1):
        root = tmp_path / str(number)
        try:
            struck = scenario.strike(root, f"{role}:{number}:{action}")
        except AssertionError as error:
            broken.append(str(error))  # what else is broken is worth knowing, too
        else:
            if not struck.fired:
                break
            by_itself += struck.code == 1 and "error: " not in struck.said
            shutil.rmtree(root)
        assert number < MOST, "the program never runs out of actions"
    walked = number - 1
    record_property("actions covered", walked)
    record_property("runs that went on by themselves", by_itself)
    assert not broken, f"{len(broken)} of {walked}:\n" + "\n\n".join(broken)
    assert walked >= covered.least(role)


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(3_000)
@pytest.mark.parametrize("action", ["kill", "EIO", "ENOSPC"])
@pytest.mark.parametrize("role", ["server.*", "worker.*"])
def test_children_of_files_survive_every_action(
    tmp_path: Path, role: str, action: str, record_property: Callable[[str, object], None]
) -> None:
    for number in itertools.count(1):
        root = tmp_path / str(number)
        if not boxes.strike(root, f"{role}:{number}:{action}").fired:
            break
        shutil.rmtree(root)
        assert number < MOST, "the program never runs out of actions"
    record_property("actions covered", number - 1)
    assert number > 20
