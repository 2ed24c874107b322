"""Kill -9 of the whole process tree under load: each input has exactly one right output per sink."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from oracle import SINKS, drop, judge, make_project
from program import Program, wait_for

FILES = 1_500
KILLS = 20


def published(root: Path) -> int:
    """How many outputs consumers can see."""
    return sum(
        1
        for sink in SINKS.values()
        if (root / "out" / sink).is_dir()
        for entry in os.scandir(root / "out" / sink)
        if entry.is_file()
    )


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_twenty_kills_under_load_leave_exactly_one_output_per_sink(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    make_project(root)
    seed = int(os.environ.get("FILEMILL_SEED", str(random.randrange(1 << 30))))
    print(f"seed {seed}")
    began = time.monotonic()
    chance = random.Random(seed)
    portions = 5
    dropped = 0
    killed_in_flight = 0

    for round_ in range(KILLS):
        before = published(root)
        program = start(root)
        if round_ % (KILLS // portions) == 0:
            drop(root, range(dropped, dropped + FILES // portions))
            dropped += FILES // portions
        # Wait for work to be under way, then strike at a random moment within it.
        wait_for(lambda before=before: published(root) > before, 20)
        time.sleep(chance.uniform(0, 0.03))
        in_flight = published(root) < 3 * dropped
        program.kill_tree()
        killed_in_flight += in_flight
        print(round_, before, published(root), f"{time.monotonic() - began:.1f}s")

    program = start(root)
    finished = wait_for(lambda: published(root) >= 3 * FILES, 120)
    finished = finished and wait_for(lambda: not judge(root, FILES), 10)
    wrong = judge(root, FILES)
    program.stop()
    assert finished, (seed, len(wrong), wrong[:10], (root / "server.log").read_text()[-3_000:])
    assert judge(root, FILES) == []
    assert killed_in_flight >= KILLS // 4, "the kills must strike while work is in flight"


FORGETFUL = """
import apsw, os, sys
from filemill.ledgers.sqlite import SqliteLedger
open_ledger = SqliteLedger.open.__func__

async def open_and_forget(cls, path, **rest):
    # What a system without a publication record does after a crash: it runs unfinished work again.
    if os.path.exists(path):
        connection = apsw.Connection(path)
        connection.execute("UPDATE run SET state = 'queued' WHERE state = 'publishing'")
        connection.execute(
            "DELETE FROM publication WHERE run IN (SELECT id FROM run WHERE state = 'queued')"
        )
        connection.close()
    return await open_ledger(cls, path, **rest)

SqliteLedger.open = classmethod(open_and_forget)
from filemill.cli.main import main
sys.argv[0] = "filemill"
main()
"""


@pytest.mark.crash
@pytest.mark.timeout(120)
def test_without_the_publication_record_the_same_kill_doubles_outputs(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    """The negative control: forget what STAGED recorded, and the oracle must go red."""
    root = tmp_path / "project"
    make_project(root)
    # Killed between the renames and the DONE commit: the moment the record exists for. (Three renames
    # prove the sinks, three claim the inputs; the tenth is the fourth of nine that publish.)
    program = start(root, FILEMILL_FAIL="server.rename:10:kill")
    drop(root, range(3))
    program.process.wait(timeout=60)
    program.kill_tree()
    assert published(root) > 0, (root / "server.log").read_text()

    program = start(root, entry=[sys.executable, "-c", FORGETFUL])
    assert wait_for(lambda: published(root) >= 9, 60)
    wait_for(lambda: published(root) > 9, 5)
    program.stop()
    assert judge(root, 3) != []


@pytest.mark.crash
@pytest.mark.timeout(120)
def test_with_the_publication_record_that_kill_costs_nothing(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    """The same moment as the negative control, with the record kept."""
    root = tmp_path / "project"
    make_project(root)
    program = start(root, FILEMILL_FAIL="server.rename:10:kill")
    drop(root, range(3))
    program.process.wait(timeout=60)
    program.kill_tree()
    assert 0 < published(root) < 9

    program = start(root)
    assert wait_for(lambda: not judge(root, 3), 60), judge(root, 3)
    program.stop()
    assert judge(root, 3) == []
