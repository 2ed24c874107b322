"""Kill -9 of the whole process tree at random moments, again and again, while files keep coming."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

from oracle import SINKS, drop, judge, make_project
from program import Program, wait_for


def published(root: Path) -> int:
    """How many outputs consumers can see."""
    return sum(
        1
        for sink in SINKS.values()
        if (root / "out" / sink).is_dir()
        for entry in os.scandir(root / "out" / sink)
        if entry.is_file()
    )


def under_way(root: Path, start: Callable[..., Program], *, files: int = 10) -> Program:
    """A project and its program, which has published the first `files` in-files by now."""
    make_project(root)
    program = start(root)
    drop(root, range(files))
    assert wait_for(lambda: published(root) == 3 * files, 30), (root / "server.log").read_text()
    return program


def kill_under_load(
    root: Path, start: Callable[..., Program], *, files: int, kills: int, portions: int
) -> None:
    """Drop `files` in `portions`, kill `kills` times, let a last start finish, and judge."""
    make_project(root)
    seed = int(os.environ.get("FILEMILL_SEED", str(random.randrange(1 << 30))))
    print(f"seed {seed}")
    began = time.monotonic()
    chance = random.Random(seed)
    dropped = 0
    killed_in_flight = 0

    for round_ in range(kills):
        before = published(root)
        program = start(root)
        if round_ % (kills // portions) == 0:
            drop(root, range(dropped, dropped + files // portions))
            dropped += files // portions
        # Wait for work to be under way (files leave the inbox, or outputs appear), then strike within it.
        busy = before < 3 * dropped
        waiting = len(os.listdir(root / "inbox"))
        if busy and waiting and chance.random() < 0.5:
            wait_for(lambda waiting=waiting: len(os.listdir(root / "inbox")) < waiting, 20)
        elif busy:
            wait_for(lambda before=before: published(root) > before, 20)
        time.sleep(chance.uniform(0, 0.03 if busy else 1.0))
        in_flight = published(root) < 3 * dropped
        program.kill_tree()
        killed_in_flight += in_flight
        print(round_, before, published(root), f"{time.monotonic() - began:.1f}s")

    program = start(root)
    finished = wait_for(lambda: published(root) >= 3 * files, 120)
    finished = finished and wait_for(lambda: not judge(root, files), 60)
    wrong = judge(root, files)
    program.stop()
    assert finished, (seed, len(wrong), wrong[:10], (root / "server.log").read_text()[-3_000:])
    assert judge(root, files) == []
    assert killed_in_flight >= kills // 4, "the kills must strike while work is in flight"
