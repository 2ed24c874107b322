"""The commands of docs/operations.md, run in its order by a mill that has something to keep."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text()
CONFIG = """\
version: 1
workers: 1
sources:
  inbox: {folder: inbox, settle: 5ms, settle_unproven: 20ms}
tags:
  log: {name: "*.log"}
pipelines:
  logs: {when: log, steps: [read_lines, write: out]}
sinks:
  out: {folder: out}
"""


def commands():
    return re.findall(r"^\$ (filemill [^#\n]*)", PAGE, re.MULTILINE)


@pytest.mark.timeout(300)
def test_the_commands_of_the_page_do_what_it_says(tmp_path):
    (tmp_path / "inbox").mkdir()
    (tmp_path / "filemill.yaml").write_text(CONFIG)
    for name in ("a.log", "b.log"):
        (tmp_path / "inbox" / name).write_text(f"{name}\n")
    said = [run(tmp_path, "filemill run --once")]
    for each in commands():
        # A server would not end by itself; the page's places are this test's.
        line = (
            each.strip()
            .replace("/backup/", f"{tmp_path}/backup/")
            .replace("/srv/", f"{tmp_path}/srv/")
        )
        if line == "filemill run":
            line += " --once"
        said.append(run(tmp_path, line))
    told = "\n".join(said)
    for wanted in (
        r"^would free .* of 0 files|^nothing is old enough to go",
        r"^ledger: .* before, .* now",
        r"^backup of 2 files .*, read back",
        r"^the backup is whole: 2 files",
        r"^restored 2 files and the ledger",
        r"^what was there is in .*before-restore",
        r"^sound: the ledger, and 2 contents looked at and read",
    ):
        assert re.search(wanted, told, re.MULTILINE), f"{wanted}\n{told}"
    assert len(commands()) >= 11


def test_the_unit_runs_commands_that_exist():
    (unit,) = re.findall(r"^# filemill.service\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    lines = re.findall(r"^Exec\w+=/opt/filemill/bin/(filemill .*)$", unit, re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        words = shlex.split(line)
        helped = run(Path.cwd(), f"filemill {words[1]} --help")
        assert all(word in helped for word in words if word.startswith("--"))


def test_what_to_watch_are_events_that_there_are():
    from filemill.model import events

    rows = re.findall(r"^\| (`[A-Z]\w+`.*?) \|.*\| (.*?) \|$", PAGE, re.MULTILINE)
    named = {name for row in rows for cell in row for name in re.findall(r"`([A-Z]\w+)`", cell)}
    assert len(named) >= 15
    assert not [name for name in named if not hasattr(events, name)]


def run(folder, line):
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(line)],
        cwd=folder,
        env=os.environ | {"PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{line}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout
