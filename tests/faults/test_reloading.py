"""Another configuration while files flow: nothing lost, nothing doubled, each file the work of one version."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import versions
from program import Program, children, wait_for

CHANGES = 20
pytestmark = [pytest.mark.timeout(400)]


def filemill(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "filemill", *words],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def flowing(root: Path) -> Iterator[list[int]]:
    """Files keep arriving; the list holds the numbers dropped so far."""
    dropped: list[int] = []
    enough = threading.Event()

    def work() -> None:
        for number in itertools.count():
            versions.drop(root, number)
            dropped.append(number)
            if enough.wait(0.05):
                return

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield dropped
    finally:
        enough.set()
        thread.join()


def ready(root: Path) -> bool:
    return wait_for(lambda: "Ready in" in said(root), 30)


def said(root: Path) -> str:
    return (root / "server.log").read_text()


def test_twenty_changes_under_load(tmp_path: Path, start: Callable[..., Program]) -> None:
    root = tmp_path / "project"
    versions.make(root)
    program = start(root, options=("--reload",))
    with flowing(root) as dropped:
        assert ready(root)
        for number in range(2, CHANGES + 2):
            versions.swap(root, number)
            assert wait_for(lambda n=number: versions.reloads(root) == n, 60), said(root)
            before = versions.outputs(root)
            assert wait_for(lambda many=before: versions.outputs(root) > many + 2, 30)
    total = len(dropped)
    assert wait_for(lambda: versions.outputs(root) == 2 * total, 60), said(root)
    assert program.stop() == 0
    wrong, made = versions.judge(root, total)
    assert wrong == []
    assert len(made) > CHANGES * 3 // 4
    assert versions.reloads(root) == CHANGES + 1  # each swap was one reload


def test_a_bad_configuration_keeps_the_old_one_and_what_mends_it_is_taken(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    versions.make(root)
    program = start(root, options=("--reload",))
    versions.drop(root, 0)
    assert wait_for(lambda: versions.outputs(root) == 2, 30)
    versions.swap(root, 2, stamp="import nothing_of_this_name\n")
    assert wait_for(lambda: "config not reloaded" in said(root), 30)
    assert "nothing_of_this_name" in said(root)
    versions.drop(root, 1)
    assert wait_for(lambda: versions.outputs(root) == 4, 30)
    status = filemill(root, "status").stdout
    assert "configuration on disk is not the one that runs (rev 1); refused" in status
    assert "nothing_of_this_name" in status
    versions.swap(root, 3)
    assert wait_for(lambda: versions.reloads(root) == 2, 30)
    versions.drop(root, 2)
    assert wait_for(lambda: versions.outputs(root) == 6, 30)
    assert "not the one that runs" not in filemill(root, "status").stdout
    assert said(root).count("config not reloaded") == 1
    assert program.stop() == 0
    wrong, made = versions.judge(root, 3)
    assert (wrong, made) == ([], {1, 3})


def test_what_is_the_same_is_never_reloaded(tmp_path: Path, start: Callable[..., Program]) -> None:
    root = tmp_path / "project"
    versions.make(root)
    program = start(root, options=("--reload",))
    versions.drop(root, 0)
    assert wait_for(lambda: versions.outputs(root) == 2, 30)
    (root / "filemill.yaml").touch()
    (root / "stamp.py").touch()
    versions.swap(root, 1)  # other files, the same bytes
    time.sleep(7)  # longer than it takes to look at the content
    assert versions.reloads(root) == 1
    program.process.send_signal(signal.SIGHUP)
    assert wait_for(lambda: "config rev 1  unchanged" in said(root), 30)
    versions.swap(root, 2)
    assert wait_for(lambda: versions.reloads(root) == 2, 30)
    assert program.stop() == 0


def test_what_was_asked_for_is_not_noticed_once_more(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    versions.make(root)
    program = start(root, options=("--reload",))
    versions.drop(root, 0)
    assert wait_for(lambda: versions.outputs(root) == 2, 30)
    for version in (2, 3):
        versions.swap(root, version)
        program.process.send_signal(signal.SIGHUP)
        assert wait_for(lambda version=version: versions.reloads(root) == version, 30)
        time.sleep(2)  # a few looks
    assert "unchanged" not in said(root)
    assert program.stop() == 0


def test_hup_and_the_command_reload_without_being_asked_to_watch(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    versions.make(root)
    program = start(root)
    versions.drop(root, 0)
    assert wait_for(lambda: versions.outputs(root) == 2, 30)
    versions.swap(root, 2)
    time.sleep(2)
    assert versions.reloads(root) == 1
    program.process.send_signal(signal.SIGHUP)
    assert wait_for(lambda: versions.reloads(root) == 2, 30)
    versions.swap(root, 3, filemill="version: 2\n")
    refused = filemill(root, "reload")
    assert refused.returncode == 2
    assert "rev 2 runs on" in refused.stderr
    versions.swap(root, 3)
    taken = filemill(root, "reload")
    assert (taken.returncode, versions.reloads(root)) == (0, 3)
    assert "rev 3 runs now" in taken.stdout
    assert "source extra added" in taken.stdout
    fixed = versions.texts(4)["filemill.yaml"].replace("workers: 2", "durability: process")
    versions.swap(root, 4, filemill=fixed)
    refused = filemill(root, "reload")
    assert "`durability` cannot change while the server runs" in refused.stderr
    assert program.stop() == 0


def test_kills_in_the_middle_of_reloads(tmp_path: Path, start: Callable[..., Program]) -> None:
    root = tmp_path / "project"
    versions.make(root)
    with flowing(root) as dropped:
        for number in range(2, 8):
            program = start(root, options=("--reload",))
            seen = versions.outputs(root)
            assert wait_for(lambda many=seen: versions.outputs(root) > many, 60), said(root)
            before = versions.reloads(root)
            versions.swap(root, number)
            # Somewhere between the swap and the end of the reload; the later ones mostly right behind it.
            wait_for(lambda n=before: versions.reloads(root) > n, 0.4 * (number - 1))
            program.kill_tree()
    total = len(dropped)
    program = start(root)
    assert wait_for(lambda: versions.outputs(root) == 2 * total, 60), said(root)
    assert program.stop() == 0
    wrong, _ = versions.judge(root, total)
    assert wrong == []


def test_what_changes_while_a_server_starts_is_taken_whole(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    versions.make(root)
    slow = versions.MODULE.format(number=1) + "time.sleep(3)\n"
    versions.swap(root, 1, stamp=slow)
    program = start(root)
    # A child imports the module: the configuration beside it is read already.
    assert wait_for(lambda: bool(children(program.process.pid)), 60)
    time.sleep(1)
    versions.swap(root, 2)
    versions.drop(root, 0)
    assert wait_for(lambda: versions.outputs(root) == 2, 60), said(root)
    assert program.stop() == 0
    assert versions.judge(root, 1) == ([], {2})


def test_a_long_run_finishes_on_its_version_and_drain_waits_for_it(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    versions.make(root)
    slow = versions.MODULE.format(number=1).replace("0.001", "0.4")
    versions.swap(root, 1, stamp=slow)
    start(root)
    assert ready(root)
    versions.drop(root, 0)
    running = "SELECT count(*) FROM run WHERE state = 'running'"
    assert wait_for(lambda: versions.ledger(root, running)[0][0] == 1, 30)
    versions.swap(root, 2)
    assert filemill(root, "reload").returncode == 0
    versions.drop(root, 1)  # overtakes the one that began before
    assert wait_for(lambda: versions.outputs(root) == 2, 30)
    drained = filemill(root, "drain", "--wait")
    assert drained.returncode == 0, drained.stderr
    assert "has ended" in drained.stdout
    wrong, made = versions.judge(root, 2)
    assert (wrong, made) == ([], {1, 2})


def test_a_replay_at_the_old_revision_is_made_by_its_files(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    versions.make(root)
    program = start(root)
    versions.drop(root, 0)
    assert wait_for(lambda: versions.outputs(root) == 2, 30)
    versions.swap(root, 2)
    assert filemill(root, "reload").returncode == 0
    assert (
        filemill(
            root, "files", "replay", "in-00000.log", "--revision", "old", "--beside"
        ).returncode
        == 0
    )
    assert wait_for(lambda: versions.outputs(root) == 4, 30), said(root)
    assert program.stop() == 0
    texts = [path.read_text() for path in sorted(root.glob("out/even/*.log"))]
    assert len(texts) == 2
    assert texts[0] == texts[1]
    assert "config=1 module=1" in texts[0]


def test_rollback_puts_the_files_back_and_reloads(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    versions.make(root)
    for name, text in versions.texts(1).items():
        (root / name).unlink()
        (root / name).write_text(text)
    program = start(root)
    versions.drop(root, 0)
    assert wait_for(lambda: versions.outputs(root) == 2, 30)
    for name, text in versions.texts(2).items():
        (root / name).write_text(text)
    assert "+MARK = 2" in filemill(root, "config", "diff").stdout
    assert filemill(root, "reload").returncode == 0
    os.mkdir(root / "conf.d")
    (root / "conf.d" / "new.yaml").write_text('tags:\n  big: {size: "> 1MB"}\n')
    asked = filemill(root, "config", "rollback", "1")
    assert asked.returncode == 2
    assert "nobody to ask" in asked.stderr
    back = filemill(root, "config", "rollback", "1", "--yes")
    assert back.returncode == 0, back.stderr
    assert {n: (root / n).read_text() for n in versions.texts(1)} == versions.texts(1)
    assert [path.name for path in (root / "conf.d").iterdir()] == ["new.yaml.off"]
    kept = list((root / ".filemill" / "replaced").glob("*/stamp.py"))
    assert [path.read_text() for path in kept] == [versions.texts(2)["stamp.py"]]
    versions.drop(root, 1)
    assert wait_for(lambda: versions.outputs(root) == 4, 30)
    log = filemill(root, "config", "log").stdout.splitlines()
    assert log[1].startswith("2 ")
    assert log[2].startswith("1* ")
    assert program.stop() == 0
    wrong, made = versions.judge(root, 2)
    assert (wrong, made) == ([], {1})


def test_held_files_that_would_be_routed_now_are_counted(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    versions.make(root)
    program = start(root)
    assert ready(root)
    for number in range(3):
        (root / "inbox" / f"{number}.txt").write_text(f"{number}\n")
    held = "SELECT count(*) FROM file WHERE state = 'held'"
    assert wait_for(lambda: versions.ledger(root, held)[0][0] == 3, 30)
    wider = versions.texts(2)["filemill.yaml"].replace('"*.log"', '["*.log", "*.txt"]')
    versions.swap(root, 2, filemill=wider)
    assert filemill(root, "reload").returncode == 0
    assert wait_for(lambda: "3 held files would be routed now" in said(root), 30)
    assert versions.ledger(root, held)[0][0] == 3  # none is released by itself
    assert program.stop() == 0
