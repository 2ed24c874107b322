"""Limits of the queue and the reserve of the disk: intake waits, files stay where they are, all are done in the end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
from program import Program, wait_for

pytestmark = [pytest.mark.timeout(240)]
CONFIG = """\
version: 1
workers: 1
LIMITS
sources:
  inbox: {folder: inbox, settle: 20ms, settle_unproven: 50ms, tags: [x]}
pipelines:
  slow: {when: x, steps: [read_lines, steps.wait, {write: out}]}
sinks:
  out: {folder: out}
"""
STEP = """\
import os, time
from filemill import step

@step
def wait(row: dict) -> dict:
    while not os.path.exists("go"):
        time.sleep(0.02)
    return row
"""


def make(root: Path, limits: str) -> None:
    """A project whose one step waits until it is let go."""
    (root / "inbox").mkdir(parents=True)
    (root / "filemill.yaml").write_text(CONFIG.replace("LIMITS", limits))
    (root / "steps.py").write_text(STEP)


def drop(root: Path, numbers: range) -> None:
    """Files of 1,000 bytes."""
    for number in numbers:
        part = root / "inbox" / f"in-{number:05}.part"
        part.write_text(f"{number:999}\n")
        part.rename(part.with_suffix(".log"))


def taken(root: Path) -> int:
    """Files that the ledger knows."""
    db = apsw.Connection(str(root / ".filemill/ledger.db"), flags=apsw.SQLITE_OPEN_READWRITE)
    db.set_busy_timeout(30_000)
    try:
        return int(db.execute("SELECT count(*) FROM file").get)
    finally:
        db.close()


@pytest.mark.parametrize(
    ("limits", "most"), [("queue: {files: 40}", 40), ("queue: {bytes: 40kB}", 40 + 2 * 256)]
)
def test_above_its_limit_the_queue_takes_no_more(
    tmp_path: Path, start: Callable[..., Program], limits: str, most: int
) -> None:
    root = tmp_path / "project"
    make(root, limits)
    program = start(root)
    log = root / "server.log"
    assert wait_for(lambda: "Ready in" in log.read_text(), 60), log.read_text()
    drop(root, range(40))
    assert wait_for(lambda: "the queue is full" in log.read_text(), 60), log.read_text()
    drop(root, range(40, 900))
    assert not wait_for(lambda: taken(root) > most, 3), taken(root)
    assert len(os.listdir(root / "inbox")) >= 900 - most
    (root / "go").touch()
    out = root / "out"
    assert wait_for(lambda: len(list(out.glob("*.log"))) == 900, 120), log.read_text()[-2_000:]
    assert "the queue has room again" in log.read_text()
    assert program.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_below_the_disks_reserve_nothing_is_taken_and_what_was_is_done(
    tmp_path: Path, small_disk: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    make(root, "reserve: 8MiB")
    (root / ".filemill").symlink_to(small_disk)
    program = start(root)
    log = root / "server.log"
    assert wait_for(lambda: "Ready in" in log.read_text(), 60), log.read_text()
    drop(root, range(20))
    assert wait_for(lambda: taken(root) == 20, 60), log.read_text()
    ballast = small_disk / "ballast"
    disk = os.statvfs(small_disk)
    ballast.write_bytes(bytes(disk.f_bavail * disk.f_frsize - (6 << 20)))
    drop(root, range(20, 60))
    assert wait_for(lambda: "intake waits: the data directory's disk" in log.read_text(), 60), (
        log.read_text()
    )
    (root / "go").touch()
    out = root / "out"
    assert wait_for(lambda: len(list(out.glob("*.log"))) == 20, 60), log.read_text()
    assert taken(root) == 20
    assert len(list((root / "inbox").glob("*.log"))) == 40
    ballast.unlink()
    assert wait_for(lambda: len(list(out.glob("*.log"))) == 60, 60), log.read_text()
    assert "the disk has room again" in log.read_text()
    assert program.stop() == 0
