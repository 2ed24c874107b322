"""The page about files that arrive does what it says, with a real server."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "arriving.md"
CONFIG = """\
version: 1
sources: {inbox: {folder: inbox}}
tags: {csv: {name: "*.csv"}}
pipelines: {all: {when: csv, steps: [{write: out}]}}
sinks: {out: {folder: out}}
"""
LONG = 60


def wait(condition):
    ends = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < ends, "it never came about"
        time.sleep(0.05)


@pytest.fixture
def project(tmp_path):
    """The page's scripts beside a small project, and its server."""
    scripts = re.findall(r"^```sh\n# (\S+)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert [name for name, _ in scripts] == ["slow.sh", "careful.sh"]
    for name, text in scripts:
        (tmp_path / name).write_text(text)
    (tmp_path / "inbox").mkdir()
    (tmp_path / "filemill.yaml").write_text(CONFIG)
    (tmp_path / "orders.csv").write_text("order_id,amount\nB-1,5\n")
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "filemill", "run"],
            cwd=tmp_path,
            stdout=log,
            stderr=log,
            env=os.environ | {"PYTHONUTF8": "1"},
        )
    wait(lambda: "Ready in" in (tmp_path / "server.log").read_text())
    yield tmp_path
    server.terminate()
    assert server.wait(LONG) == 0


def test_a_slow_writers_file_is_taken_once_and_whole(project):
    slow = subprocess.Popen(["sh", "slow.sh"], cwd=project)
    subprocess.run(["sh", "careful.sh"], cwd=project, check=True)
    wait((project / "out" / "orders.csv").exists)
    assert slow.poll() is not None or not (project / "out" / "slow.csv").exists()
    assert slow.wait(LONG) == 0
    wait((project / "out" / "slow.csv").exists)
    assert (project / "out" / "slow.csv").read_text() == "order_id,amount\nA-1,5\nA-2,7\n"
    assert sorted(path.name for path in (project / "out").glob("[!.]*")) == [
        "orders.csv",
        "slow.csv",
    ]
