"""Seeds of the simulated world are green, play the same twice, and see what is broken on purpose."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulation.controls import CONTROLS

TESTS = Path(__file__).resolve().parents[1]
SEEDS = int(os.environ.get("FILEMILL_SEEDS", "40"))
FIRST = int(os.environ.get("FILEMILL_SEED", "1"))
PARTS = 4
TIME_LIMIT = 100.0 + 4.0 * SEEDS / PARTS


def simulate(*words: str) -> subprocess.CompletedProcess[str]:
    """`python -m simulation`, in a process of its own: what a seed does must not hang on what was done before."""
    return subprocess.run(
        [sys.executable, "-m", "simulation", *words],
        env=os.environ | {"PYTHONPATH": str(TESTS)},
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )


@pytest.mark.timeout(TIME_LIMIT + 10)
@pytest.mark.parametrize("part", range(PARTS))
def test_seeds(part: int) -> None:
    count = SEEDS // PARTS
    ended = simulate(str(FIRST + part * count), str(count))
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.timeout(TIME_LIMIT + 10)
def test_a_seed_plays_the_same_in_another_process() -> None:
    first, second = (simulate("7", "--trace").stdout.splitlines()[:-1] for _ in range(2))
    assert len(first) > 100
    assert first == second


@pytest.mark.timeout(TIME_LIMIT + 10)
@pytest.mark.parametrize("control", CONTROLS)
def test_a_broken_guarantee_is_seen(control: str) -> None:
    ended = simulate("1", "30", "--control", control, "--until-red")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "again: PYTHONPATH=tests .venv/bin/python -m simulation" in ended.stdout
