"""A source with very many files does not keep another's single file waiting; what counts is order, not time."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
from program import Program, wait_for

pytestmark = [pytest.mark.timeout(240)]
MANY = 8_000
CONFIG = """\
version: 1
workers: 1
sources:
  bulk: {folder: bulk, settle: 20ms, settle_unproven: 50ms, tags: [x]}
  single: {folder: single, settle: 20ms, settle_unproven: 50ms, tags: [x], priority: PRIORITY}
pipelines:
  copy: {when: x, steps: [read_lines, {write: out}]}
sinks:
  out: {folder: out}
"""


def counts(root: Path) -> tuple[int, int]:
    """Runs that are done of the source with many files, and of the other."""
    db = apsw.Connection(str(root / ".filemill/ledger.db"), flags=apsw.SQLITE_OPEN_READWRITE)
    db.set_busy_timeout(30_000)
    try:
        found = dict(
            db.execute("SELECT source, count(*) FROM run WHERE state = 'done' GROUP BY source")
        )
    finally:
        db.close()
    return found.get("bulk", 0), found.get("single", 0)


@pytest.mark.parametrize("priority", [0, 5])
def test_a_single_file_does_not_wait_for_another_sources_thousands(
    tmp_path: Path, start: Callable[..., Program], priority: int
) -> None:
    root = tmp_path / "project"
    for folder in ("bulk", "single"):
        (root / folder).mkdir(parents=True)
    (root / "filemill.yaml").write_text(CONFIG.replace("PRIORITY", str(priority)))
    for number in range(MANY):
        (root / "bulk" / f"in-{number:05}.log").write_text(f"{number}\n")
    program = start(root, FILEMILL__DURABILITY="process")
    log = root / "server.log"
    assert wait_for(lambda: "Ready in" in log.read_text(), 60), log.read_text()
    assert wait_for(lambda: counts(root)[0] > 500, 60), log.read_text()
    (root / "one.log").write_text("one\n")
    before = counts(root)[0]
    os.rename(root / "one.log", root / "single/one.log")
    assert wait_for((root / "out/one.log").exists, 60), log.read_text()
    after = counts(root)[0]
    print(f"{before:,} of {MANY:,} were done when the single file came, {after:,} when it was done")
    assert after < MANY * 3 // 4, (before, after)
    program.kill_tree()
