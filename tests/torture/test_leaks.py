"""Steps that leak, over many jobs: workers are replaced in time, and the server's own memory stays flat."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from measuring import MEGABYTE, resident
from program import Program, wait_for

CONFIG = """\
version: 1
workers: 2
worker_memory: 400MiB
sources: {inbox: {folder: inbox, settle: 5ms, settle_unproven: 20ms}}
tags: {log: {name: "*.log"}}
pipelines:
  leaky:
    when: log
    steps: [read_lines, leaky.leak, write: out]
sinks: {out: {folder: out}}
"""
STEPS = """\
import os, subprocess, threading, time
KEPT = []

def leak(row: dict) -> dict:
    KEPT.append(bytearray(256 << 10))
    KEPT.append(os.open("/dev/null", os.O_RDONLY))
    if len(KEPT) % 100 == 0:
        KEPT.append(subprocess.Popen(["sleep", "3600"]))
        thread = threading.Thread(target=time.sleep, args=(3600,), daemon=True)
        thread.start()
    return row
"""
FILES = 10_000
PORTION = 250


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_thousand_files_through_a_leaking_step(
    tmp_path: Path,
    start: Callable[..., Program],
    record_property: Callable[[str, object], None],
) -> None:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "filemill.yaml").write_text(CONFIG)
    (tmp_path / "leaky.py").write_text(STEPS)
    program = start(tmp_path)
    out = tmp_path / "out"
    peak = early = 0
    for first in range(0, FILES, PORTION):
        for number in range(first, first + PORTION):
            part = tmp_path / "inbox" / f"{number}.log.part"
            part.write_text("line\n")
            part.rename(tmp_path / "inbox" / f"{number}.log")
        wanted = first + PORTION
        assert wait_for(lambda wanted=wanted: len(list(out.glob("*.log"))) >= wanted, 60), (
            tmp_path / "server.log"
        ).read_text()[-2_000:]
        peak = max(peak, resident(program.process.pid))
        statm = Path(f"/proc/{program.process.pid}/statm").read_text().split()
        own = int(statm[1]) * 4096
        early = early or own
    record_property("tree's peak MB", peak // MEGABYTE)
    record_property("server MB, early and late", f"{early // MEGABYTE}, {own // MEGABYTE}")
    assert peak < 1_200 * MEGABYTE
    assert own < early + 60 * MEGABYTE
    assert program.stop() == 0
    said = (tmp_path / "server.log").read_text()
    assert "lost" not in said, "workers are replaced between jobs, not killed in them"
