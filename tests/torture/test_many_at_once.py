"""More files at once than the kernel's queue of events holds, in folders that are new."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from program import Program
from test_watched_folders import drop_while_stopped

QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_twenty_thousand_files_overflow_the_queue_of_events(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    flat = min(int(QUEUE.read_text()) + 1_000, 40_000)
    root = tmp_path / "project"
    drop_while_stopped(root, start, flat=flat, nested=3_000, limit=300)
    said = (root / "server.log").read_text()
    assert "missed" in said or "overflow" in said, said[-2_000:]
