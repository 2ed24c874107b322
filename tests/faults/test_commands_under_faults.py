"""Faults within a migration, `gc`, `backup` and `restore`: what they leave is whole, or known not to be.

Each of their durable actions is killed, fails, or loses the power just before it: every third in `make torture`.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

import apsw
import pytest
from commands import (
    ACTIONS,
    CLI,
    POWER,
    UNSYNCED,
    Folders,
    backing_up,
    collecting,
    migrating,
    restoring,
    walk,
)
from cutting import NORMAL
from machine import Machine

from filemill.model.errors import FilemillError

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]
every_action = pytest.mark.parametrize("action", ACTIONS)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path, action: str) -> Iterator[Machine]:
    """Where a command works: a machine whose power is cut, or else folders."""
    if action == POWER:
        yield request.getfixturevalue("machine")
        return
    folders = Folders(tmp_path / "folders")
    folders.build()
    yield folders


class Steps(TypedDict):
    """Where a walk begins, and how far its steps go."""

    first: int
    stride: int


def _steps(action: str, usual: int) -> Steps:
    """Power cuts take the shorter steps; in `make torture` all take short ones, from anywhere on."""
    if stride := int(os.environ.get("FILEMILL_STRIDE", "0")):
        return Steps(first=random.randint(1, stride), stride=stride)
    return Steps(first=1, stride=(4 if action == POWER else 8) * usual)


@pytest.mark.slow
@pytest.mark.parametrize("disk", ["data", "sinks"])
@every_action
def test_a_backup_is_whole_or_refused(place: Machine, action: str, disk: str) -> None:
    """Linked on the same disk, copied to another."""
    assert walk(*backing_up(place, action, disk), **_steps(action, 6)) > 2


def test_a_backup_that_syncs_nothing_is_noticed(machine: Machine) -> None:
    entry = (sys.executable, "-c", UNSYNCED + CLI)
    strike, judge = backing_up(machine, POWER, "sinks", entry)
    _, done = strike(1_000)
    assert done
    assert judge(done), "told, and gone"


@pytest.mark.slow
@every_action
def test_a_restore_leaves_the_old_data_directory_or_the_new_one(
    place: Machine, action: str
) -> None:
    strike, judge = restoring(place, action)
    assert walk(strike, judge, **_steps(action, 3)) > 2
    for point in ("exchange", "rename"):  # the walk may step over where the two change places
        fired, done = strike(1, point)
        assert fired
        assert not judge(done), point


@pytest.mark.slow
@every_action
def test_gc_leaves_no_row_without_bytes_and_the_next_one_ends_it(
    place: Machine, action: str
) -> None:
    assert walk(*collecting(place, action), **_steps(action, 4)) > 2


def test_gc_whose_ledger_does_not_sync_is_noticed(machine: Machine) -> None:
    strike, judge = collecting(machine, POWER, (sys.executable, "-c", NORMAL))
    with pytest.raises(AssertionError, match="struck at action"):
        walk(strike, judge)


@pytest.mark.slow
@every_action
def test_a_migration_that_is_cut_off_is_done_at_the_next_start(place: Machine, action: str) -> None:
    assert walk(*migrating(place, action), **_steps(action, 16)) > 20


def test_a_migration_without_a_transaction_is_noticed(machine: Machine) -> None:
    strike, judge = migrating(machine, POWER, "naked")
    with pytest.raises((apsw.Error, FilemillError, AssertionError)) as caught:
        walk(strike, judge, stride=5)
    print(caught.value)
