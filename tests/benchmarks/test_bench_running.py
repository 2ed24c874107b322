"""Measuring with a real contestant, small."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from contestants import ALL, Place
from contestants.contestant import Start
from disk import measuring_disk
from measuring import Measuring, Result
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
    does: frozenset[str] = frozenset({"W1"})

    def prepare(self, place: Place, workload: str) -> Start:
        return Start([sys.executable, "-c", LOSES], ready="Ready")


@pytest.fixture
def measuring(tmp_path: Path) -> Measuring:
    return Measuring(tmp_path, files=50, events=300_000, drops=5)


@pytest.mark.parametrize("workload", ["W1", "W2", "W3"])
def test_a_sound_contestant_is_measured_and_leaves_nothing(
    measuring: Measuring, workload: str
) -> None:
    measuring.warm_up(BARE, workload)
    result = measuring.run(BARE, workload)
    assert result.problems == []
    assert result.done >= 5
    assert result.seconds > 0
    assert result.peak > 1_000_000
    assert len(result.latencies) == (5 if workload == "W3" else 0)
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
    rates = {"bare Python loop": [100, 10, 1000], "loser": [50, 5, 500]}
    results = [
        Result("W1", name, seconds=1.0, done=done) for name, many in rates.items() for done in many
    ]
    [_, _, row] = table("W1", [Loser()], results)
    assert row.startswith("| loser | 50 (5 - 500) | 0.50 |")


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
