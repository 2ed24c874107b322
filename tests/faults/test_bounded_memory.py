"""A file far larger than a worker's share: memory stays bounded. `tests/torture` does the same with 300 MB."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.timeout(120)]
CONFIG = """\
version: 1
workers: 1
worker_memory: 256MiB
chunk_size: 1MiB
max_record: 1MiB
sources: {inbox: {folder: inbox, settle: 5ms, settle_unproven: 20ms}}
tags: {log: {name: "*.log"}}
pipelines:
  lines:
    when: log
    tolerance: 1
    steps: [read_lines, tag_records: {odd: "line LIKE '%1 %'"}, write: out]
sinks: {out: {folder: out}}
"""
LINES = 400_000


def test_a_file_and_a_line_larger_than_a_workers_memory(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "filemill.yaml").write_text(CONFIG)
    # 200 MB of lines, then one line of 100 MB: together more than the kernel lets the worker hold.
    block = b"".join(b"%06d " % number + b"x" * 493 + b"\n" for number in range(1_000))
    with open(tmp_path / "inbox/big.log", "wb") as out:
        out.writelines(block for _ in range(LINES // 1_000))
        out.writelines(b"y" * (1 << 20) for _ in range(100))
        out.write(b"\n")
    done = subprocess.run(
        [sys.executable, "-m", "filemill", "run", "--once"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 bad" in done.stdout + done.stderr
    assert os.path.getsize(tmp_path / "out/big.log") == LINES * 501
