"""Measuring with a real contestant, small."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from contestants import ALL, Place, Survival
from contestants.contestant import Start
from disk import measuring_disk
from measuring import Measuring, Size
from results import Result
from table import table, write_section

BARE = next(one for one in ALL if one.name == "bare Python loop")
LOSES = """
import os, sys, time
print("Ready", flush=True)
left = 2
while left:
    for name in os.listdir("inbox")[:left]:
        os.rename("inbox/" + name, "out/" + name)
        left -= 1
"""


@dataclass(frozen=True)
class Loser:
    """Moves two files unprocessed and ends."""

    name: str = "loser"
    survives: str = "nothing"
    survival: Survival = Survival.NOTHING
    does: frozenset[str] = frozenset({"W1"})
    ordered: bool = True

    def install(self) -> str:
        return ""

    def prepare(self, place: Place, workload: str) -> Start:
        return Start([sys.executable, "-c", LOSES], ready="Ready")


@pytest.fixture
def measuring(tmp_path: Path) -> Measuring:
    size = Size(files=50, events=300_000, drops=5, settled=5, calm=0.2)
    return Measuring(tmp_path, size, compiled=tmp_path / "compiled")


@pytest.mark.parametrize("workload", ["W1", "W2", "W2-csv", "W3", "W4"])
def test_a_sound_contestant_is_measured_and_leaves_nothing(
    measuring: Measuring, workload: str
) -> None:
    measuring.warm_up(BARE, workload)
    result = measuring.run(BARE, workload)
    assert result.problems == []
    assert result.done >= 5
    assert result.seconds > 0
    assert 1_000_000 < result.peak < result.peak_resident
    assert len(result.latencies) == (5 if workload == "W3" else 0)
    assert (result.first > 0) == (result.idle_memory > 0) == (workload == "W4")
    assert list(measuring.root.glob("run-*")) == []


def test_a_contestant_that_loses_files_is_told_on(measuring: Measuring) -> None:
    result = measuring.run(Loser(), "W1")
    assert result.problems == [
        "ended by itself with exit code 0",
        "48 outputs lost",
        "2 outputs wrong",
    ]
    assert any("48 outputs lost" in line for line in table("W1", [Loser()], [result]))


def test_ratios_are_taken_within_a_round() -> None:
    rates = {"bare Python loop": {0: 100, 1: 10, 2: 1000}, "loser": {2: 500, 1: 5}}
    results = [
        Result("W1", name, turn, seconds=1.0, done=done)
        for name, many in rates.items()
        for turn, done in many.items()
    ]
    [_, _, row] = table("W1", [Loser()], results)
    assert row.startswith("| loser | 252 (5 - 500) | 0.50 |")


def test_a_section_is_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- bench W1 -->\nold\n<!-- end W1 -->\nb\n")
    write_section(page, "W1", ["| new \\1 |"])
    assert page.read_text() == "a\n<!-- bench W1 -->\n| new \\1 |\n<!-- end W1 -->\nb\n"
    with pytest.raises(ValueError, match="no section `W2`"):
        write_section(page, "W2", [])


def test_a_disk_is_gone_at_exit(tmp_path: Path) -> None:
    with measuring_disk(0, tmp_path) as disk:
        (disk.root / "x").write_text("y")
        assert disk.words.startswith("a temporary folder on ")
    assert os.listdir(tmp_path) == []
