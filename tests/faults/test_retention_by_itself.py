"""The server's own passes of retention: they come beside work, and go by no clock that jumps."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import versions
from oracle import drop, judge, make_project
from program import Program, wait_for

pytestmark = [pytest.mark.timeout(300)]
SOON = """
import os, sys
from filemill.ports.clock import SystemClock
from filemill.service import tidying
tidying.FIRST, tidying.EVERY = 0.3, 0.3
wall = SystemClock.wall_ns
SystemClock.wall_ns = lambda self: wall(self) + (3 * 365 * 86_400 * 10**9 if os.path.exists("ahead") else 0)
# {more}
from filemill.cli.main import main
sys.argv[0] = "filemill"
main()
"""
"""A server whose passes come soon, and whose clock is three years ahead as soon as the file `ahead` is there."""
BELIEVES = (
    "tidying.Steady = type('Wall', (), {'__init__': lambda s, c: setattr(s, 'ns', c.wall_ns)})"
)
HASTY = "tidying.AWAY = 1e12"
FILES = "SELECT count(*) FROM file"
ENDED = "SELECT count(*) FROM file WHERE disposed_ns IS NOT NULL"


def entry(more: str = "") -> list[str]:
    return [sys.executable, "-c", SOON.replace("# {more}", more)]


def kept(root: Path) -> int:
    """Files whose bytes are there."""
    return sum(path.is_file() for path in (root / ".filemill/content").rglob("*"))


def said(root: Path) -> str:
    return (root / "server.log").read_text()


def came_out(root: Path, total: int) -> bool:
    """Whether all outputs are there, and right."""
    return len(list(root.glob("out/*"))) == 3 and not judge(root, total)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    make_project(root)
    return root


def test_passes_come_by_themselves_one_behind_the_other_beside_work(
    root: Path, start: Callable[..., Program]
) -> None:
    with (root / "filemill.yaml").open("a") as config:
        config.write("retention: {content: 1s, ledger: 2s}\n")
    program = start(root, entry=entry())
    for portion in range(4):  # what came in behind one pass is for the next
        drop(root, range(portion * 20, portion * 20 + 20))
        assert wait_for(lambda n=portion: came_out(root, n * 20 + 20), 60), said(root)
        assert wait_for(lambda: kept(root) == 0, 60), said(root)
    assert wait_for(lambda: versions.ledger(root, FILES) == [(0,)], 60), said(root)
    assert said(root).count("retention: ") >= 4
    assert program.stop() == 0
    assert judge(root, 80) == []


def worked(root: Path, start: Callable[..., Program], more: str = "") -> Program:
    """A server that has done five files, under the usual retention."""
    program = start(root, entry=entry(more))
    drop(root, range(5))
    assert wait_for(lambda: came_out(root, 5), 60), said(root)
    # What is noted only after the clock was set is of that time, and not old by it.
    assert wait_for(lambda: versions.ledger(root, ENDED) == [(5,)], 60), said(root)
    return program


def passes(root: Path, program: Program, patience: float = 4) -> bool:
    """Give it time for some passes; whether one took anything away."""
    assert wait_for(lambda: "Ready in" in said(root), 60), said(root)
    gone = wait_for(lambda: kept(root) < 5, patience)
    assert program.stop() == 0
    return gone


def test_a_clock_that_is_set_ahead_removes_nothing(
    root: Path, start: Callable[..., Program]
) -> None:
    program = worked(root, start)
    (root / "ahead").touch()
    assert not passes(root, program)
    assert versions.ledger(root, FILES) == [(5,)]


def test_a_server_that_starts_under_a_wrong_clock_says_so_and_waits(
    root: Path, start: Callable[..., Program]
) -> None:
    assert worked(root, start).stop() == 0
    (root / "ahead").touch()
    program = start(root, entry=entry())
    assert wait_for(lambda: "retention waits: nothing was done here for" in said(root), 60)
    assert not passes(root, program)
    (root / "ahead").unlink()
    (root / "server.log").unlink()
    program = start(root, entry=entry())
    assert not passes(root, program)
    assert "retention waits" not in said(root)


@pytest.mark.parametrize("more", [BELIEVES, HASTY], ids=["in its life", "at its start"])
def test_a_server_that_believes_any_clock_is_noticed(
    root: Path, start: Callable[..., Program], more: str
) -> None:
    """The negative control."""
    program = worked(root, start, more)
    if more == HASTY:
        assert program.stop() == 0
        (root / "server.log").unlink()
    (root / "ahead").touch()
    if more == HASTY:
        program = start(root, entry=entry(more))
    assert passes(root, program, patience=60)
