"""A soak of some seconds, and what it is worth: damaged outputs and things that grow are told."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest
from soaking import world
from soaking.consuming import Consumer
from soaking.drawing import draw
from soaking.growing import grown, slope
from soaking.running import FILEMILL, Outcome, Soak, for_minutes
from soaking.sampling import Sample

pytestmark = [pytest.mark.crash, pytest.mark.timeout(400)]
LEAKS = """
import os, sys
from filemill.engine.publishing import Publisher
put, kept = Publisher.put, []

def leak(self, staged):
    staged = list(staged)
    kept.extend((os.open("/dev/null", os.O_RDONLY), bytearray(b"x" * 1_000_000)) for _ in staged)
    return put(self, staged)

Publisher.put = leak
from filemill.cli.main import main
sys.argv[0] = "filemill"
main()
"""


def soak(root: Path, minutes: float, *entry: str) -> Outcome:
    return Soak(root, for_minutes(minutes, seed=1, entry=entry or FILEMILL)).run()


@pytest.mark.slow
def test_twenty_seconds_of_everything(tmp_path: Path) -> None:
    outcome = soak(tmp_path / "soak", 20 / 60)
    assert outcome.judge() == []
    assert outcome.done > 50
    kinds = Counter(what for _, what in outcome.events)
    assert kinds["server"] + kinds["tree"] >= 1, kinds
    assert "</svg>" in draw(outcome, "20 seconds")


@pytest.mark.slow
def test_a_server_that_leaks_is_noticed(tmp_path: Path) -> None:
    """The negative control: a descriptor and a megabyte for each file."""
    wrong = soak(tmp_path / "soak", 20 / 60, sys.executable, "-c", LEAKS).judge()
    assert any("the server's memory rose" in each for each in wrong), wrong
    assert any("the server's open files rose" in each for each in wrong), wrong


def test_the_consumer_sees_what_is_there_twice_wrong_or_by_two_versions(tmp_path: Path) -> None:
    def out(sink: str, name: str, text: str) -> None:
        folder = tmp_path / "out" / sink
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    def stamped(number: int, sink: str, version: int) -> str:
        lines = world.wanted(number)[sink].splitlines()
        return "".join(f"{line} config={version} module={version}\n" for line in lines)

    consumer = Consumer(tmp_path)
    consumer.dropped = dict.fromkeys(range(5), 0.0)
    for number, version in ((0, 2), (1, 3)):
        out("odd", f"{number}.log", stamped(number, "odd", 2))
        out("even", f"{number}.log", stamped(number, "even", version))
    out("tables", "3.csv", world.wanted(3)["tables"].replace("3,39,117\n", ""))
    consumer.take(at_once=True)
    assert consumer.done == 3
    assert len(consumer.wrong) == 2
    assert "file 1 was made by versions" in "".join(consumer.wrong)
    assert "is not what file 3 makes" in "".join(consumer.wrong)
    assert consumer.missing() == ["in-000002.log", "in-000004.log"]
    out("odd", "0-2.log", stamped(0, "odd", 2))
    consumer.take(at_once=True)
    assert "of file 0, once more" in consumer.wrong[-1]


def test_only_what_rises_all_the_time_grows() -> None:
    flat = [Sample(at, server=60e6 + (50e6 if at % 7 == 0 else 0)) for at in range(100)]
    rising = [Sample(at, server=60e6 + at * 1e6) for at in range(100)]
    assert grown(flat, 50) == []
    assert [each for each in grown(rising, 50) if "the server's memory rose by 49.0 MB" in each]
    assert slope([(0, 1)]) == 0


def test_a_chart_of_nothing_can_be_drawn() -> None:
    assert draw(Outcome(for_minutes(1, seed=1)), "nothing").startswith("<svg")
