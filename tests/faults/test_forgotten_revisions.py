"""`gc` forgets old configurations, and when they came into force, but never the one that runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import versions
from program import Program, wait_for
from test_reloading import filemill

pytestmark = [pytest.mark.timeout(300)]
NUMBERS = "SELECT number FROM revision ORDER BY number"


def test_gc_goes_on_after_a_reload_and_keeps_what_a_rollback_put_in_force(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    versions.make(root)
    for name, text in versions.texts(1).items():
        (root / name).unlink()
        (root / name).write_text(text)
    program = start(root)
    assert wait_for(lambda: "Ready in" in (root / "server.log").read_text(), 60)
    for number in (2, 3):
        for name, text in versions.texts(number).items():
            (root / name).write_text(text)
        assert filemill(root, "reload").returncode == 0
    assert filemill(root, "config", "rollback", "2", "--yes").returncode == 0
    assert program.stop() == 0
    time.sleep(0.1)
    done = filemill(root, "gc", "--older-than", "1ms", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    # The first is forgotten; the second runs, though a later one is known.
    assert versions.ledger(root, NUMBERS) == [(2,), (3,)]
    log = filemill(root, "config", "log")
    assert log.returncode == 0, log.stderr
    assert "2*" in log.stdout
    program = start(root)
    versions.drop(root, 0)
    assert wait_for(lambda: versions.outputs(root) == 2, 60)
    assert program.stop() == 0
    assert versions.judge(root, 1) == ([], {2})
