"""A hundred kills of the whole process tree under load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from killing import kill_under_load
from program import Program


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_a_hundred_kills_under_load(tmp_path: Path, start: Callable[..., Program]) -> None:
    kill_under_load(tmp_path / "project", start, files=15_000, kills=100, portions=25)
