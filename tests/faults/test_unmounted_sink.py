"""A sink's file system that is not mounted when the server starts again: told, kept, never taken for published."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
from oracle import SINKS, content_of, drop, make_project
from program import Program, wait_for

pytestmark = [
    pytest.mark.crash,
    pytest.mark.timeout(120),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount"),
]


def test_outputs_staged_on_an_unmounted_disk_are_not_called_published(
    tmp_path: Path, small_disk: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    make_project(root)
    config = (root / "filemill.yaml").read_text()
    (root / "filemill.yaml").write_text(
        config.replace("settle: 20ms", "after: delete, settle: 20ms")
    )
    (root / "out").mkdir()
    subprocess.run(["mount", "--bind", small_disk, root / "out"], check=True)
    try:
        # Three renames prove the sinks, three claim; here nothing staged is published yet.
        program = start(root, FILEMILL_FAIL="server.rename:7:kill")
        drop(root, range(3))
        program.process.wait(timeout=60)
        program.kill_tree()
    finally:
        subprocess.run(["umount", "-l", root / "out"], check=True)

    program = start(root)
    log = root / "server.log"
    wait_for(lambda: log.read_text().count("not mounted") >= 3, 20)
    assert program.stop() == 0
    db = apsw.Connection(str(root / ".filemill/ledger.db"), flags=apsw.SQLITE_OPEN_READWRITE)
    states = db.execute("SELECT state, step FROM run").fetchall()
    db.close()
    assert len(states) == 3, log.read_text()
    assert {state for state, _ in states} == {"dead"}, log.read_text()
    assert all(step.startswith("publish:") for _, step in states)
    # The input is kept although its source says `after: delete`, and so is what was staged.
    kept = sorted(p.read_text() for p in (root / ".filemill/content").rglob("*") if p.is_file())
    assert kept == sorted(content_of(number) for number in range(3))
    staged = [p for sink in SINKS for p in (small_disk / SINKS[sink] / ".filemill").iterdir()]
    assert len(staged) == 9
