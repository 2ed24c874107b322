"""Signals, second servers and lost workers under load: everything told clearly, nothing lost, nobody charged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
from killing import published
from oracle import CONFIG, drop, judge, make_project
from program import Program, wait_for, workers

FILES = 600
SLOW = """\
import time

def slowly(lines):
    for line in lines:
        time.sleep(0.01)
        yield line
"""
SLOW_CONFIG = CONFIG.replace(
    "    steps:\n      - read_lines\n",
    "    retry: {min: 50ms, max: 200ms}\n    steps:\n      - read_lines\n      - slow.slowly\n",
)
pytestmark = [pytest.mark.timeout(120)]


def make_slow_project(root: Path) -> None:
    """A project in which each file takes a worker at least 120 ms."""
    make_project(root)
    (root / "filemill.yaml").write_text(SLOW_CONFIG)
    (root / "slow.py").write_text(
        "from collections.abc import Iterable, Iterator\n"
        + SLOW.replace("(lines)", "(lines: Iterable[dict]) -> Iterator[dict]")
    )


def runs(root: Path) -> list[tuple[str, int, int]]:
    """State, attempt and interruptions of every run."""
    db = apsw.Connection(str(root / ".filemill" / "ledger.db"), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        return list(db.execute("SELECT state, attempt, interruptions FROM run").fetchall())
    finally:
        db.close()


def once(root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "filemill", "run", "--once"],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(root: Path, total: int) -> str:
    """A one-shot run that has to end well; answers what it said."""
    process = once(root)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert judge(root, total) == []
    return said


def test_a_second_server_leaves_and_names_the_first(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    make_project(root)
    program = start(root)
    drop(root, range(1))
    assert wait_for(lambda: published(root) == 3, 30)
    second = subprocess.run(
        [sys.executable, "-m", "filemill", "run"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 75
    assert str(program.process.pid) in second.stderr
    assert "help: " in second.stderr
    assert program.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_under_load_drains(
    tmp_path: Path, start: Callable[..., Program], number: signal.Signals
) -> None:
    root = tmp_path / "project"
    make_project(root)
    program = start(root)
    drop(root, range(FILES))
    assert wait_for(lambda: published(root) > 30, 30)
    program.process.send_signal(number)
    assert program.process.wait(timeout=30) == 0
    after = runs(root)
    assert {state for state, _, _ in after} <= {"done", "queued"}
    assert all(attempt == (state == "done") for state, attempt, _ in after)
    assert not any(interruptions for _, _, interruptions in after)
    finish(root, FILES)
    assert {(s, a, i) for s, a, i in runs(root)} == {("done", 1, 0)}


def test_a_second_signal_stops_at_once(tmp_path: Path, start: Callable[..., Program]) -> None:
    root = tmp_path / "project"
    make_slow_project(root)
    program = start(root)
    drop(root, range(50))
    assert wait_for(lambda: "running" in {s for s, _, _ in ledger_or_nothing(root)}, 30)
    program.process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    began = time.monotonic()
    program.process.send_signal(signal.SIGTERM)
    code = program.process.wait(timeout=30)
    took = time.monotonic() - began
    said = (root / "server.log").read_text()
    assert code == 130, said
    assert took < 5, said
    assert "Traceback" not in said
    assert " lost: " not in said
    finish(root, 50)
    assert {(s, a) for s, a, _ in runs(root)} == {("done", 1)}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_comes_when_all_is_drained_is_nothing(
    tmp_path: Path, start: Callable[..., Program], number: signal.Signals
) -> None:
    """Service managers send one to whatever is still there behind a drain; it ended well."""
    root = tmp_path / "project"
    make_project(root)
    process = start(root).process
    log = root / "server.log"
    assert wait_for(lambda: "Ready in" in log.read_text(), 30)
    process.send_signal(signal.SIGTERM)
    while process.poll() is None:
        if "done in" in log.read_text():
            process.send_signal(number)
    assert process.returncode == 0, log.read_text()


def test_one_signal_is_no_second_one_where_a_command_asked_for_the_drain(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    make_slow_project(root)
    process = start(root).process
    drop(root, range(50))
    assert wait_for(lambda: "running" in {s for s, _, _ in ledger_or_nothing(root)}, 30)
    subprocess.run(
        [sys.executable, "-m", "filemill", "drain"], cwd=root, capture_output=True, check=True
    )
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0, (root / "server.log").read_text()
    finish(root, 50)
    assert {(s, a, i) for s, a, i in runs(root)} == {("done", 1, 0)}


def ledger_or_nothing(root: Path) -> list[tuple[str, int, int]]:
    """As `runs`, before there is a ledger, too."""
    try:
        return runs(root)
    except apsw.Error:
        return []


@pytest.mark.parametrize("delay", [0.0, 0.2, 0.5, 1.2])
def test_control_c_of_a_one_shot_run_keeps_what_it_took(tmp_path: Path, delay: float) -> None:
    """At moments from before the start of the interpreter's own work to the middle of the files."""
    root = tmp_path / "project"
    make_slow_project(root)
    drop(root, range(30))
    process = once(root)
    assert wait_for((root / ".filemill" / "lock").exists, 30)
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "defect" not in said
    finish(root, 30)
    assert {(s, a) for s, a, _ in runs(root)} == {("done", 1)}


def unfinished(root: Path) -> list[str]:
    """What is wrong with the outputs, but for what a worker left behind that was killed while it staged some."""
    return [each for each in judge(root, 60) if "left in staging" not in each]


@pytest.mark.crash
def test_a_killed_worker_costs_at_most_its_own_run_an_attempt(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    make_slow_project(root)
    program = start(root)
    drop(root, range(60))
    assert wait_for(lambda: "running" in {s for s, _, _ in ledger_or_nothing(root)}, 30)
    kills = 0
    for _ in range(3):
        there = workers(program.process.pid)
        if not there or published(root) >= 180:
            break
        os.kill(there[-1], signal.SIGKILL)
        kills += 1
        time.sleep(0.5)
    assert kills
    assert wait_for(lambda: not unfinished(root), 60), unfinished(root)[:5]
    assert program.stop() == 0
    finish(root, 60)  # a start sweeps what a killed worker had staged
    after = runs(root)
    assert {state for state, _, _ in after} == {"done"}
    assert sum(attempt - 1 for _, attempt, _ in after) <= kills
