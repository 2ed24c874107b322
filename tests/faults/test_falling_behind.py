"""Files are finished faster than their bytes go: what waits in memory is bounded, and all go in the end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FILES = 300
CONFIG = """\
version: 1
sources: {inbox: {folder: inbox, settle: 5ms, settle_unproven: 20ms, after: delete}}
tags: {log: {name: "*.log"}}
pipelines: {logs: {when: log, steps: [read_lines, write: out]}}
sinks: {out: {folder: out}}
"""
BOUNDED = """
import sys
from collections import deque
from filemill.service import disposing

class Watched(deque):
    def extend(self, files):
        super().extend(files)
        assert len(self) <= 2 * disposing.MOST, len(self)

disposing.GROUP, disposing.MOST, disposing.deque = 3, 5, Watched
"""
FORGETFUL = """
disposing.Disposer._look_on = lambda self: forget(self)
async def forget(self):
    self._behind = False
"""
MAIN = """
from filemill.cli.main import main
sys.argv[0] = "filemill"
sys.exit(main())
"""


def left_in_content(root: Path, entry: str) -> int:
    """Run until nothing is left to do; how many files have their bytes still."""
    (root / "inbox").mkdir(parents=True)
    (root / "filemill.yaml").write_text(CONFIG)
    for number in range(FILES):
        (root / "inbox" / f"{number}.log").write_text(f"{number}\n")
    words = [sys.executable, "-c", entry + MAIN, "run", "--once"]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((root / "out").glob("*.log"))) == FILES
    return sum(len(files) for _, _, files in os.walk(root / ".filemill/content"))


def test_what_waits_is_bounded_and_goes_when_there_is_time(tmp_path: Path) -> None:
    assert left_in_content(tmp_path / "bounded", BOUNDED) == 0


def test_who_forgets_what_was_too_much_is_noticed(tmp_path: Path) -> None:
    assert left_in_content(tmp_path / "forgetful", BOUNDED + FORGETFUL) > 0
