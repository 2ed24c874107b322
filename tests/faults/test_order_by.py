"""Files of one key are worked on one after the other, as they arrived, whatever fails between them; keys at once."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from program import Program, wait_for

pytestmark = [pytest.mark.timeout(240)]
PARTNERS = ("acme", "bell", "core")
EACH = 8
CONFIG = """\
version: 1
workers: 2
defaults: {retry: {attempts: 500, min: 100ms, max: 200ms}}
sources:
  inbox: {folder: inbox, settle: 20ms, settle_unproven: 200ms, tags: ["partner:{dir}"]}
pipelines:
  all:
    when: partner:*
    ORDER
    steps: [read_lines, steps.work, {write: out}]
sinks:
  out: {folder: out}
"""
STEPS = """\
import os, time
from filemill import Retry

def note(text):
    with open("diary", "a") as diary:
        diary.write(text + "\\n")

def work(row: dict) -> dict:
    word, name = row["line"].split()
    note(f"begin {name}")
    time.sleep(0.05)
    note(f"end {name}")
    if word == "again" and not {"end bell-7", "end core-7"} <= set(open("diary").read().splitlines()):
        raise Retry("until the others are done")
    return row
"""


def diary(root: Path) -> list[tuple[str, str]]:
    """What the step noted: `begin` or `end`, and of whom."""
    lines = (root / "diary").read_text().splitlines()
    return [(word, name) for word, _, name in (line.partition(" ") for line in lines)]


def run(root: Path, start: Callable[..., Program], order: str) -> list[tuple[str, str]]:
    """Drop the files of all partners, in turn, and wait for all outputs."""
    (root / "filemill.yaml").write_text(CONFIG.replace("ORDER", order))
    (root / "steps.py").write_text(STEPS.replace('"diary"', repr(str(root / "diary"))))
    for partner in PARTNERS:
        (root / "inbox" / partner).mkdir(parents=True)
    program = start(root)
    log = root / "server.log"
    assert wait_for(lambda: "Ready in" in log.read_text(), 60), log.read_text()
    for number, partner in itertools.product(range(EACH), PARTNERS):
        name = f"{partner}-{number}"
        word = "again" if name == "acme-2" else "bad" if number == 4 else "well"
        (root / name).write_text("nothing" if word == "bad" else f"{word} {name}\n")
        os.rename(root / name, root / "inbox" / partner / f"{name}.log")
        time.sleep(0.015)  # the grain of a file system's clock
    done = (EACH - 1) * len(PARTNERS)
    assert wait_for(lambda: len(list((root / "out").rglob("*.log"))) == done, 60), log.read_text()
    assert program.stop() == 0
    return diary(root)


def keeps_order(noted: list[tuple[str, str]]) -> bool:
    """Whether each partner's files began and ended one by one, in the order in which they came."""
    for partner in PARTNERS:
        mine = [(word, name) for word, name in noted if name.startswith(partner)]
        begun, ended = mine[::2], mine[1::2]
        if begun != [("begin", name) for _, name in ended]:
            return False
        # One file is worked on more than once: it is tried again, or a neighbour in its batch made it go alone.
        names = [name for name, _ in itertools.groupby(name for _, name in begun)]
        if names != [f"{partner}-{number}" for number in (0, 1, 2, 3, 5, 6, 7)]:
            return False
    return True


def test_files_of_one_partner_are_worked_on_one_by_one(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    noted = run(tmp_path, start, 'order_by: "{tag:partner}"')
    assert keeps_order(noted), noted
    assert noted.count(("end", "acme-2")) > 1, "the others were done while it was tried again"


def test_without_it_a_retry_is_overtaken(tmp_path: Path, start: Callable[..., Program]) -> None:
    assert not keeps_order(run(tmp_path, start, "priority: 0"))
