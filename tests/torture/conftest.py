"""Runs only when it is asked for (`make torture`); shares the programs and judges of `tests/faults`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))

from starting import machine, recorded, start

__all__ = ["machine", "recorded", "start"]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave this folder out of a run over all tests."""
    if collection_path.name.startswith("test_"):
        return None if any("torture" in each for each in config.args) else True
    return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was measured: with xdist, what a test prints is not seen."""
    for report in terminalreporter.stats.get("passed", []):
        if "tests/torture" not in report.nodeid:
            continue
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {name} {value}")
