"""The data directory's disk is full while runs are with workers: they are done all the same, and nothing new begins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
from program import Program, wait_for
from test_disk_full import fill

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(150),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system"),
]
CONFIG = """\
version: 1
workers: 2
sources:
  inbox: {folder: inbox, create: true, settle: 20ms}
tags: {all: {name: "*"}}
pipelines:
  slow: {when: all, steps: [read_lines, steps.wait, {write: out}]}
sinks:
  out: {folder: out}
"""
STEP = """\
import os, time

def wait(row: dict) -> dict:
    while not os.path.exists(GATE):
        time.sleep(0.05)
    return row
"""
FIRST, LATER = 4, 3


def states(root: Path) -> dict[str, int]:
    db = apsw.Connection(str(root / ".filemill" / "ledger.db"), flags=apsw.SQLITE_OPEN_READONLY)
    db.set_busy_timeout(5_000)
    try:
        return dict(db.execute("SELECT state, count(*) FROM run GROUP BY state").fetchall())
    finally:
        db.close()


def ask(root: Path, *words: str) -> str:
    told = subprocess.run(
        [sys.executable, "-m", "filemill", *words], cwd=root, capture_output=True, check=False
    )
    return told.stdout.decode()


def test_runs_with_workers_are_done_on_a_full_disk_and_nothing_begins(
    tmp_path: Path, small_disk: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    (root / "inbox").mkdir(parents=True)
    (root / ".filemill").symlink_to(small_disk)
    (root / "filemill.yaml").write_text(CONFIG)
    (root / "steps.py").write_text(STEP.replace("GATE", repr(str(root / "gate"))))
    program = start(root)
    log = root / "server.log"
    for number in range(FIRST):
        (root / "inbox" / f"first-{number}.log").write_text(f"line {number}\n")
    assert wait_for(lambda: "watching" in log.read_text(), 60), log.read_text()
    assert wait_for(lambda: states(root).get("running", 0) == FIRST, 60), log.read_text()
    fill(small_disk)
    for number in range(LATER):
        (root / "inbox" / f"later-{number}.log").write_text(f"line {number}\n")
    (root / "gate").touch()
    assert wait_for(lambda: states(root) == {"done": FIRST}, 60), (states(root), log.read_text())
    assert sorted(p.name for p in (root / "out").glob("*.log")) == [
        f"first-{number}.log" for number in range(FIRST)
    ]
    # However much more must be committed: at some point the log has no room left, and the reserve goes.
    for number in range(40):
        ask(root, "pause", "slow", "--reason", f"{number} " + "x" * 2_000)
        ask(root, "resume", "slow")
        if not (small_disk / "reserve").exists():
            break
    assert not (small_disk / "reserve").exists()
    server = json.loads(ask(root, "status", "--json"))["server"]
    assert any(
        "full" in each["message"] or "free" in each["message"] for each in server["troubles"]
    )
    assert "is given up" in ask(root, "doctor")
    assert states(root) == {"done": FIRST}
    (small_disk / ".ballast").unlink()
    assert wait_for(lambda: states(root) == {"done": FIRST + LATER}, 90), log.read_text()
    assert wait_for((small_disk / "reserve").exists, 60)
    assert program.stop() == 0
