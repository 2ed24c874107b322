"""A disk that turns read-only under the server: of a source or a sink work waits, of the ledger the server ends."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from machine import Machine, run
from oracle import drop, judge, make_project
from program import Program, wait_for
from test_disk_full import drop_into, ledger, outputs

FILES = 60
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(150),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system"),
]


def turn(place: Path, how: str) -> None:
    """Mount it read-only or writable; while somebody writes there the kernel refuses."""

    def turned() -> bool:
        words = ("mount", "-o", f"remount,{how}", place)
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    assert wait_for(turned, 20)


@pytest.mark.parametrize("place", ["sink", "source"])
def test_work_waits_for_a_disk_that_is_read_only(
    tmp_path: Path, small_disk: Path, start: Callable[..., Program], place: str
) -> None:
    root = tmp_path / "project"
    make_project(root)
    config = root / "filemill.yaml"
    # What could not be taken is tried again when its folder is scanned again, which is a minute where events tell.
    config.write_text(config.read_text().replace("{folder: inbox,", "{folder: inbox, poll: 2s,"))
    link = {"sink": root / "out", "source": root / "inbox"}[place]
    if link.is_dir():
        link.rmdir()
    link.symlink_to(small_disk)
    program = start(root)
    log = root / "server.log"
    drop_into(root, range(FILES // 2))
    assert wait_for(lambda: len(outputs(root)) >= FILES // 2, 30), log.read_text()

    if place == "source":
        program.process.send_signal(19)
        drop_into(root, range(FILES // 2, FILES))
        turn(small_disk, "ro")
        program.process.send_signal(18)
    else:
        turn(small_disk, "ro")
        drop(root, range(FILES // 2, FILES))
    assert wait_for(lambda: "Read-only file system" in log.read_text(), 30), log.read_text()
    time.sleep(2)
    assert program.process.poll() is None, log.read_text()
    turn(small_disk, "rw")
    done = wait_for(lambda: len(outputs(root)) >= FILES, 60)
    done = done and wait_for(lambda: not judge(root, FILES), 60)
    said = log.read_text()
    assert done, (judge(root, FILES)[:5], said[-3_000:])
    assert program.stop() == 0
    states = ledger(root, "SELECT state, max(attempt), count(*) FROM run GROUP BY state")
    assert states == [("done", 1, FILES)], (states, said[-3_000:])


def test_a_ledger_on_a_disk_that_turns_read_only_ends_the_server_and_loses_nothing(
    machine: Machine, start: Callable[..., Program]
) -> None:
    """As a kernel does with a disk that fails (`errors=remount-ro`): at once, whoever writes."""
    root = machine.place / "data/project"
    make_project(root)
    (root / "out").symlink_to(machine.place / "sinks")
    (root / "inbox").rmdir()
    (machine.place / "far/inbox").mkdir()
    (root / "inbox").symlink_to(machine.place / "far/inbox")
    machine.sync()
    log = machine.place / "server.log"
    program = start(root, log=log)
    drop_into(root, range(FILES // 2))
    assert wait_for(lambda: len(outputs(root)) >= 3, 30), log.read_text()
    run("mount", "-o", "remount,abort", machine.place / "data")
    drop_into(root, range(FILES // 2, FILES))
    code = program.process.wait(20)
    said = log.read_text()
    assert code == 1, (code, said[-3_000:])
    assert "error: " in said
    assert "help: " in said
    assert "Traceback" not in said, said[-3_000:]

    machine.sync("far")
    machine.cut()
    machine.on()
    program = start(root, log=log)
    done = wait_for(lambda: len(outputs(root)) >= FILES, 60)
    done = done and wait_for(lambda: not judge(root, FILES), 60)
    assert done, (judge(root, FILES)[:5], log.read_text()[-3_000:])
    assert program.stop() == 0
