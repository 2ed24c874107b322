"""Kill -9 of the whole process tree under load: each input has exactly one right output per sink."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from killing import kill_under_load, published
from oracle import drop, judge, make_project
from program import Program, wait_for

FILES = 1_500
KILLS = 20


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_twenty_kills_under_load_leave_exactly_one_output_per_sink(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    kill_under_load(tmp_path / "project", start, files=FILES, kills=KILLS, portions=5)


FORGETFUL = """
import apsw, os, sys
from filemill.ledgers.sqlite.ledger import SqliteLedger
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


def killed_while_publishing(root: Path, start: Callable[..., Program]) -> Path:
    """A project whose server died between the renames and the DONE commit: the moment the record exists for.

    Three renames prove the sinks, three claim the inputs; the tenth is the fourth of nine that publish.
    """
    make_project(root)
    program = start(root, FILEMILL_FAIL="server.rename:10:kill")
    drop(root, range(3))
    program.process.wait(timeout=60)
    program.kill_tree()
    assert 0 < published(root) < 9, (root / "server.log").read_text()
    return root


@pytest.mark.crash
@pytest.mark.timeout(120)
def test_without_the_publication_record_the_same_kill_doubles_outputs(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    """The negative control: forget what STAGED recorded, and the oracle must go red."""
    root = killed_while_publishing(tmp_path / "project", start)

    program = start(root, entry=[sys.executable, "-c", FORGETFUL])
    assert wait_for(lambda: published(root) >= 9, 60)
    wait_for(lambda: published(root) > 9, 60)
    program.stop()
    # Not merely unfinished: outputs came twice.
    assert published(root) > 9
    assert judge(root, 3) != []


@pytest.mark.crash
@pytest.mark.timeout(120)
def test_with_the_publication_record_that_kill_costs_nothing(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    """The same moment as the negative control, with the record kept."""
    root = killed_while_publishing(tmp_path / "project", start)

    program = start(root)
    assert wait_for(lambda: not judge(root, 3), 60), judge(root, 3)
    program.stop()
    assert judge(root, 3) == []
