"""The page about files that arrive does what it says, with a real server."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from serving import LONG, serving, until

PAGE = Path(__file__).resolve().parents[2] / "docs" / "arriving.md"
CONFIG = """\
version: 1
sources: {inbox: {folder: inbox}}
tags: {csv: {name: "*.csv"}}
pipelines: {all: {when: csv, steps: [{write: out}]}}
sinks: {out: {folder: out}}
"""


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
    with serving(tmp_path, os.environ | {"PYTHONUTF8": "1"}):
        yield tmp_path


def test_a_slow_writers_file_is_taken_once_and_whole(project):
    slow = subprocess.Popen(["sh", "slow.sh"], cwd=project)
    subprocess.run(["sh", "careful.sh"], cwd=project, check=True)
    until((project / "out" / "orders.csv").exists)
    assert slow.poll() is not None or not (project / "out" / "slow.csv").exists()
    assert slow.wait(LONG) == 0
    until((project / "out" / "slow.csv").exists)
    assert (project / "out" / "slow.csv").read_text() == "order_id,amount\nA-1,5\nA-2,7\n"
    assert sorted(path.name for path in (project / "out").glob("[!.]*")) == [
        "orders.csv",
        "slow.csv",
    ]
