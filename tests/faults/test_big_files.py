"""A big file under kill -9: it goes on behind its last checkpoint, and its outputs are right, once."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from chunked import checkpoints
from program import Program, wait_for

CONFIG = """\
version: 1
workers: 2
chunk_size: 64KiB
sources: {inbox: {folder: inbox, settle: 5ms, settle_unproven: 20ms}}
tags: {log: {name: "*.log"}, table: {name: "*.csv"}}
pipelines:
  logs:
    when: log
    steps:
      - read_lines
      - steps.slowly
      - tag_records: {error: "line LIKE '%ERROR%'", warn: "line LIKE '%WARN%'"}
      - route: {error: errors, warn: warnings, else: rest}
sinks: {errors: {folder: out/errors}, warnings: {folder: out/warnings}, rest: {folder: out/rest}}
"""
STEPS = """\
import time
import polars

def slowly(lines: polars.DataFrame) -> polars.DataFrame:
    time.sleep(0.03)
    return lines
"""
LEVELS = ("ERROR", "WARN", "INFO")
SINKS = {"ERROR": "errors", "WARN": "warnings", "INFO": "rest"}
LINES = [f"{LEVELS[i % 3]} line {i} {'x' * (i % 97)}\n" for i in range(60_000)]
"""About 4 MB, 60 chunks."""


def project(root: Path) -> None:
    (root / "inbox").mkdir(parents=True)
    (root / "filemill.yaml").write_text(CONFIG)
    (root / "steps.py").write_text(STEPS)


def outputs(root: Path) -> dict[str, str]:
    """Everything in the sinks, hidden files too, by digest."""
    return {
        str(path.relative_to(root / "out")): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (root / "out").rglob("*")
        if path.is_file()
    }


def wanted() -> dict[str, str]:
    return {
        f"{SINKS[level]}/big.log": hashlib.sha256(
            "".join(line for line in LINES if line.startswith(level)).encode()
        ).hexdigest()
        for level in LEVELS
    }


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_kills_cost_no_more_than_the_chunks_in_hand(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    project(root)
    (root / "big.log").write_text("".join(LINES))
    os.rename(root / "big.log", root / "inbox/big.log")
    for least in (5, 20, 40):
        program = start(root)
        assert wait_for(lambda least=least: checkpoints(root) >= least, 60), least
        program.kill_tree()
        assert set(outputs(root).values()).isdisjoint(wanted().values()), "published before its end"
    program = start(root)
    assert wait_for(lambda: outputs(root) == wanted(), 60), outputs(root)
    assert program.stop() == 0
    said = (root / "server.log").read_text()
    went_on = [int(done) for done in re.findall(r"goes on at \d+%, (\d+) of \d+ chunks", said)]
    assert len(went_on) == 3, said
    assert [done >= least for done, least in zip(went_on, (5, 20, 40), strict=True)] == [True] * 3
    assert checkpoints(root) == 0


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(120)
def test_ctrl_c_keeps_what_is_done(tmp_path: Path, start: Callable[..., Program]) -> None:
    root = tmp_path / "project"
    project(root)
    (root / "inbox/big.log").write_text("".join(LINES))
    program = start(root)
    assert wait_for(lambda: checkpoints(root) >= 5, 60)
    assert program.stop() == 0
    done = checkpoints(root)
    assert done >= 5
    program = start(root)
    assert wait_for(lambda: outputs(root) == wanted(), 60), outputs(root)
    program.stop()
    assert f"{done} of " in (root / "server.log").read_text()


IN_ORDER = """\
version: 1
workers: 2
chunk_size: 64KiB
sources: {inbox: {folder: inbox, settle: 5ms, settle_unproven: 20ms}}
tags: {csv: {name: "*.csv"}}
pipelines:
  totals: {when: csv, steps: [read_csv, {STEP}, {write: out}]}
sinks: {out: {folder: out}}
"""
REMEMBERING = """\
import json
import os
import time
from collections.abc import Iterable, Iterator

from filemill import step

PLACE = os.path.dirname(__file__)


@step
class Total:
    def __init__(self, *, of: str) -> None:
        self.of = of
        self.total = 0

    def __call__(self, row: dict) -> dict:
        self.total += row[self.of]
        return row | {"total": self.total}

    def state(self) -> bytes:
        time.sleep(0.2)
        return json.dumps(self.total).encode()

    def restore(self, state: bytes) -> None:
        self.total = json.loads(state)


def total(rows: Iterable[dict], *, of: str) -> Iterator[dict]:
    total = 0
    for number, row in enumerate(rows):
        if number == 150_000:
            with open(os.path.join(PLACE, "halfway"), "a") as out:
                out.write("x")
            time.sleep(0.5)
        total += row[of]
        yield row | {"total": total}
"""
ROWS = 300_000


def remembering(root: Path, step: str) -> bytes:
    """A project whose step adds up a column of a file of 5 MB, and the output that it must have."""
    project(root)
    (root / "filemill.yaml").write_text(IN_ORDER.replace("STEP", f"steps.{step}: {{of: amount}}"))
    (root / "steps.py").write_text(REMEMBERING)
    with open(root / "big.csv", "w") as out:
        out.write("id,amount\n")
        out.writelines(f"{number:09},{number % 1_000}\n" for number in range(ROWS))
    os.rename(root / "big.csv", root / "inbox/big.csv")
    sums = itertools.accumulate(number % 1_000 for number in range(ROWS))
    lines = (f"{number:09},{number % 1_000},{total}\n" for number, total in enumerate(sums))
    return ("id,amount,total\n" + "".join(lines)).encode()


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_what_a_step_has_added_up_survives_kills_and_goes_on_at_its_chunk(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    made = remembering(root, "Total")
    for least in (1, 3):
        program = start(root)
        assert wait_for(lambda least=least: checkpoints(root) >= least, 60), least
        program.kill_tree()
        assert "out/big.csv" not in outputs(root), "published before its end"
    program = start(root)
    assert wait_for((root / "out/big.csv").exists, 60), (root / "server.log").read_text()
    assert program.stop() == 0
    assert (root / "out/big.csv").read_bytes() == made
    assert len(outputs(root)) == 1
    went_on = re.findall(r"goes on at \d+%, (\d+) of \d+", (root / "server.log").read_text())
    assert [int(done) >= least for done, least in zip(went_on, (1, 3), strict=True)] == [True] * 2
    assert not os.listdir(root / ".filemill/states"), "nobody needs them any more"


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_function_of_the_whole_file_begins_anew_after_a_kill_and_its_output_is_there_once(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    made = remembering(root, "total")
    halfway = root / "halfway"
    for times in (1, 2):
        program = start(root)
        assert wait_for(
            lambda times=times: halfway.exists() and halfway.stat().st_size == times, 60
        ), (root / "server.log").read_text()
        program.kill_tree()
        assert not (root / "out/big.csv").exists(), "published before its end"
    program = start(root)
    assert wait_for((root / "out/big.csv").exists, 60), (root / "server.log").read_text()
    assert program.stop() == 0
    assert (root / "out/big.csv").read_bytes() == made
    assert len(outputs(root)) == 1
    assert halfway.stat().st_size == 3, "each time from its beginning"
    assert "goes on at" not in (root / "server.log").read_text()


@pytest.mark.crash
@pytest.mark.timeout(120)
def test_a_chunk_that_kills_its_worker_ends_its_own_file_only(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    project(root)
    (root / "steps.py").write_text(
        "import os\nimport polars\n\n"
        "def slowly(lines: polars.DataFrame) -> polars.DataFrame:\n"
        "    if (lines['line'] == 'poison').any():\n        os.abort()\n"
        "    return lines\n"
    )
    (root / "inbox/poison.log").write_text("".join([*LINES[:9_000], "poison\n", *LINES[9_000:]]))
    (root / "inbox/big.log").write_text("".join(LINES))
    program = start(root)
    assert wait_for(lambda: "dead at worker" in (root / "server.log").read_text(), 60)
    assert wait_for(lambda: outputs(root) == wanted(), 60), outputs(root)
    program.stop()
    said = (root / "server.log").read_text()
    assert "3 tries" in said, said
    assert "killed by SIGABRT" in said, said
    assert checkpoints(root) == 0
