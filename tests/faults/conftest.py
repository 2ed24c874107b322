"""What all fault tests share."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from starting import machine, recorded, start

__all__ = ["machine", "recorded", "start"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what is covered, and what the record of it should say."""
    for report in terminalreporter.stats.get("passed", []):
        if "tests/faults" in report.nodeid:
            for name, value in report.user_properties:
                terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {name} {value}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB, and 4,000 files, of its own; it stays when one of its other mounts goes."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m,nr_inodes=4000", "tmpfs", place],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"mount: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)
