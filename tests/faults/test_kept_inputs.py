"""What is kept of a run that failed, under kills: no row names bytes that are not there, and nothing is left over.

The run dies at its third step, so its input is captured, made content, and named by the commit that says that it is
dead. A server is killed at one durable action after the other; the next start must end with exactly one kept input.
"""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = """
version: 1
sources: {box: {folder: in}}
tags: {orders: {name: "*.csv"}}
pipelines:
  orders:
    when: orders
    steps: [read_csv, steps.first, steps.second, {write: out}]
sinks: {out: {folder: out}}
workers: 1
"""
STEPS = """
def first(row: dict) -> dict:
    return row | {"more": 1}

def second(row: dict) -> dict:
    raise SystemExit("broken")
"""
ONCE = ("-m", "filemill")
NAMED_FIRST = """
import sys
from filemill.engine.keeping_inputs import Inputs

# The order the other way round: the commit names the input, and only then is it put there.
late = []
def named(self, found, asked):
    new = [each for each in found.values() if each.path]
    references = self._content.reserve([f"{each.run}.1.input" for each in new])
    late.extend(zip([each.path for each in new], references))
    return {each.run: reference for each, reference in zip(new, references)}
async def settle(self, fails, took):
    while late:
        self._content.adopt(*late.pop())
Inputs._take_in, Inputs.settle = named, settle
from filemill.cli.main import main
sys.exit(main())
"""
LEFT_OVER = """
import sys
from filemill.intake import recovery
recovery.is_spare = lambda reference: False
from filemill.cli.main import main
sys.exit(main())
"""


def make(root: Path) -> Path:
    """A project with one file in its inbox."""
    (root / "in").mkdir(parents=True)
    (root / "filemill.yaml").write_text(CONFIG)
    (root / "steps.py").write_text(STEPS)
    (root / "in" / "a.csv").write_bytes(b"id\n1\n2\n")
    return root


def once(root: Path, fail: str = "", entry: tuple[str, ...] = ONCE) -> int:
    """Run what waits, and end; answers the exit code."""
    return subprocess.run(
        [sys.executable, *entry, "run", "--once", "--no-web"],
        cwd=root,
        env=os.environ | {"FILEMILL_FAIL": fail, "FILEMILL_FAIL_COUNTS": str(root / "counts")},
        capture_output=True,
        timeout=120,
        check=False,
    ).returncode


def named(root: Path) -> list[str]:
    """The kept inputs that rows name, and how the runs stand."""
    ledger = sqlite3.connect(root / ".filemill" / "ledger.db")
    try:
        return [row[0] for row in ledger.execute("SELECT input FROM run WHERE input IS NOT NULL")]
    except sqlite3.OperationalError:
        return []  # killed before there were tables
    finally:
        ledger.close()


def there(root: Path) -> list[str]:
    """The kept inputs that have bytes."""
    content = root / ".filemill" / "content"
    return sorted(str(path.relative_to(content)) for path in content.rglob("*.input"))


def strike(root: Path, fail: str, entry: tuple[str, ...] = ONCE) -> bool:
    """Kill the server there, look, start again, judge; answers whether it was killed at all."""
    make(root)
    killed = once(root, fail, entry) == -9
    if (root / ".filemill" / "ledger.db").exists():
        assert set(named(root)) <= set(there(root)), "a row names bytes that are not there"
    once(root, entry=entry)
    assert len(named(root)) == 1, "the run is dead, with its input"
    assert there(root) == named(root), "something is left over"
    assert list((root / ".filemill" / "inputs").glob("*")) == []
    return killed


def strike_at_the_end(root: Path, entry: tuple[str, ...]) -> None:
    """Strike at each of the last actions, the very last first: those of the end, the commit, and the capture."""
    last = actions(root / "whole")
    # How many commits there are differs by a few from one run to the next.
    for number in range(last + 2, last - 15, -1):
        strike(root / str(number), f"server.*:{number}:kill", entry)


def strike_at_renames(root: Path, entry: tuple[str, ...]) -> None:
    """Strike at each of the first renames: the claim's, the capture's, and that of the input into content."""
    for number in range(1, 5):
        strike(root / str(number), f"server.rename:{number}:kill", entry)


def actions(root: Path) -> int:
    """How many durable actions a server does that nobody kills."""
    make(root)
    once(root)
    lines = (root / "counts").read_text().split("\n")
    return sum(int(line.split()[1]) for line in lines if line.startswith("server."))


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_input_is_named_when_it_is_there_and_goes_when_it_is_not(tmp_path: Path) -> None:
    seed = int(os.environ.get("FILEMILL_SEED", str(random.randrange(1 << 30))))
    print(f"seed {seed}")
    last = actions(tmp_path / "whole")
    # The last ten are those of the capture, the commit, and the end: every other one; before them a stride is enough.
    chance = random.Random(seed)
    numbers = [
        *range(1 + chance.randrange(25), last - 9, 25),
        *range(last - 9 + chance.randrange(2), last + 1, 2),
    ]
    killed = [
        number for number in numbers if strike(tmp_path / str(number), f"server.*:{number}:kill")
    ]
    assert len(killed) >= 5, killed


@pytest.mark.crash
@pytest.mark.timeout(600)
def test_the_judge_sees_an_input_that_is_named_before_it_is_there(tmp_path: Path) -> None:
    # One of its renames puts the input into content, behind the commit that names it.
    with pytest.raises(AssertionError, match="names bytes that are not there"):
        strike_at_renames(tmp_path, ("-c", NAMED_FIRST))


@pytest.mark.crash
@pytest.mark.timeout(600)
def test_the_judge_sees_an_input_that_nobody_names_and_nobody_sweeps(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="something is left over"):
        strike_at_the_end(tmp_path, ("-c", LEFT_OVER))
