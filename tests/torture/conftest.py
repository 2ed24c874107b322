"""Runs only when it is asked for (`make torture`); shares the programs and judges of `tests/faults`."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))

from starting import machine, recorded, start

__all__ = ["machine", "recorded", "start"]


@pytest.fixture(autouse=True)
def processor_time(record_property: Callable[[str, object], None]) -> Iterator[None]:
    """Tells what a test took of a processor, however busy the machine is: what ended before it did, to be exact."""

    def used() -> float:
        each = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(one.ru_utime + one.ru_stime for one in each)

    before = used()
    yield
    record_property("CPU s", round(used() - before))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave this folder out of a run over all tests."""
    if collection_path.name.startswith("test_"):
        return None if any("torture" in each for each in config.args) else True
    return None


LONGEST = (
    "test_hundreds_of_thousands",
    "test_slow_clients",
    "test_every_action",
    "test_thirty_kills",
    "test_a_hundred_kills",
    "test_the_power_goes",
    "test_forty_pictures",
)
"""They begin first, so that none of them is left alone at the end.

What cuts the power syncs the whole disk again and again. Beside three of these many small files take eight times as
long as beside others.
"""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest first."""

    def place(item: pytest.Item) -> int:
        named = (i for i, each in enumerate(LONGEST) if item.name.startswith(each))
        return next(named, len(LONGEST))

    items.sort(key=place)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was measured: with xdist, what a test prints is not seen."""
    # What is recorded behind a test is in the report of its end, which has no category.
    for report in (*terminalreporter.stats.get("passed", []), *terminalreporter.stats.get("", [])):
        if "tests/torture" not in report.nodeid or not report.passed:
            continue
        told = report.user_properties
        if report.when == "teardown":
            told = [each for each in told if each[0] == "CPU s"]
        for name, value in told:
            terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {name} {value}")
