"""Watched folders that vanish, hide their files or fill up while nobody looks."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from killing import published, under_way
from oracle import content_of, drop, judge, make_project
from program import Program, wait_for

pytestmark = [pytest.mark.timeout(120)]
WITHOUT_POWER = "-dac_override,-dac_read_search"


def test_a_folder_that_is_removed_and_made_again_goes_on(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    program = under_way(root, start)
    log = root / "server.log"
    before = len(log.read_text())
    shutil.rmtree(root / "inbox")
    assert wait_for(lambda: "inbox" in log.read_text()[before:], 30), log.read_text()
    assert program.process.poll() is None
    (root / "inbox").mkdir()
    drop(root, range(10, 20))
    assert wait_for(lambda: not judge(root, 20), 30), (judge(root, 20)[:5], log.read_text())
    # And by events again, not by scans alone.
    drop(root, range(20, 30))
    assert wait_for(lambda: not judge(root, 30), 10), (judge(root, 30)[:5], log.read_text())
    assert program.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_folder_that_is_unmounted_and_mounted_again_loses_nothing(
    tmp_path: Path, small_disk: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    make_project(root)
    inbox = root / "inbox"
    subprocess.run(["mount", "--bind", small_disk, inbox], check=True)
    try:
        program = start(root)
        log = root / "server.log"
        arrive(inbox, range(10))
        assert wait_for(lambda: published(root) == 30, 30), log.read_text()
    finally:
        subprocess.run(["umount", "-l", inbox], check=True)
    # In its place there is an empty folder now, which says nothing about the files that were there.
    arrive(small_disk, range(10, 20))
    assert wait_for(lambda: "another file system" in log.read_text(), 20), log.read_text()
    assert program.process.poll() is None
    assert published(root) == 30
    subprocess.run(["mount", "--bind", small_disk, inbox], check=True)
    try:
        assert wait_for(lambda: not judge(root, 20), 40), (judge(root, 20)[:5], log.read_text())
        arrive(inbox, range(20, 30))
        assert wait_for(lambda: not judge(root, 30), 20), (judge(root, 30)[:5], log.read_text())
        assert program.stop() == 0
    finally:
        subprocess.run(["umount", "-l", inbox], check=True)


def arrive(folder: Path, numbers: range) -> None:
    """As `drop`, for a folder on another file system than the project."""
    for number in numbers:
        part = folder / f"in-{number:05}.log.part"
        part.write_text(content_of(number))
        part.rename(folder / f"in-{number:05}.log")


def test_empty_files_and_files_that_are_filled_later_are_taken_once_and_whole(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    make_project(root)
    config = (root / "filemill.yaml").read_text()
    (root / "filemill.yaml").write_text(
        config.replace("out/rest}", "out/rest, empty: write}").replace(
            "settle_unproven: 200ms", "settle_unproven: 1s"
        )
    )
    program = start(root)
    log = root / "server.log"
    inbox, rest = root / "inbox", root / "out/rest"
    # Open while it is empty, and longer than it takes to settle: its writer has not closed it.
    with open(inbox / "later.log", "w") as later:
        (inbox / "empty.log").touch()
        assert wait_for((rest / "empty.log").exists, 30), log.read_text()
        time.sleep(1.2)
        assert (inbox / "later.log").exists()
        later.write("INFO filled\n")
    assert wait_for((rest / "later.log").exists, 30), log.read_text()
    assert program.stop() == 0
    assert (rest / "empty.log").read_text() == ""
    assert (rest / "later.log").read_text() == "INFO filled\n"
    assert sorted(path.name for path in rest.glob("*.log")) == ["empty.log", "later.log"]


def test_names_that_are_equal_to_some_systems_are_two_files(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    make_project(root)
    names = ["a.log", "A.log", "\u00e9.log", "e\u0301.log"]
    for name in names:
        (root / "inbox" / name).write_text(f"INFO {name}\n")
    program = start(root)
    rest = root / "out/rest"
    assert wait_for(lambda: len(list(rest.glob("*.log"))) == 4, 30), (
        root / "server.log"
    ).read_text()
    assert program.stop() == 0
    assert {path.name: path.read_text() for path in rest.glob("*.log")} == {
        name: f"INFO {name}\n" for name in names
    }


def test_files_nobody_may_read_stay_and_stop_no_others(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    make_project(root)
    entry = [sys.executable, "-m", "filemill"]
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("root may read everything, and there is no setpriv to give that up")
        entry = [setpriv, f"--bounding-set={WITHOUT_POWER}", *entry]
        tried = subprocess.run(
            [*entry[:2], "cat", str(_unreadable(tmp_path))], capture_output=True, check=False
        )
        if tried.returncode == 0:
            pytest.skip("this root may read everything whatever it gives up")
    program = start(root, entry=entry)
    log = root / "server.log"
    drop(root, range(5))
    assert wait_for(lambda: published(root) == 15, 30), log.read_text()
    secret = root / "inbox" / "in-00005.log"
    part = root / "drop" / "secret"
    part.write_text(content_of(5))
    part.chmod(0)
    os.rename(part, secret)
    closed = root / "inbox" / "closed"
    closed.mkdir()
    closed.chmod(0)
    assert wait_for(lambda: "in-00005.log" in log.read_text(), 30), log.read_text()
    drop(root, range(6, 60))
    assert wait_for(lambda: published(root) == 3 * 59, 20), (published(root), log.read_text())
    said = log.read_text()
    assert said.count("in-00005.log") == 1, said
    assert secret.stat().st_size == len(content_of(5))
    secret.chmod(0o644)
    closed.chmod(0o755)
    closed.rmdir()
    os.utime(secret)
    # Nothing tells of new permissions: the next scan finds it, at the latest that of the next start.
    assert program.stop() == 0
    program = start(root, entry=entry)
    assert wait_for(lambda: not judge(root, 60), 30), (judge(root, 60)[:5], log.read_text())
    assert program.stop() == 0


def _unreadable(folder: Path) -> Path:
    path = folder / "unreadable"
    path.write_text("secret")
    path.chmod(0)
    return path


def test_what_comes_while_the_server_stands_still_is_found(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    drop_while_stopped(tmp_path / "project", start, flat=200, nested=200, limit=60)


def drop_while_stopped(
    root: Path, start: Callable[..., Program], *, flat: int, nested: int, limit: float
) -> None:
    """Stop the server, drop files beside each other and in new folders within new folders, let it go on."""
    make_project(root)
    config = (
        (root / "filemill.yaml")
        .read_text()
        .replace("{folder: out/", "{name: '{name}', folder: out/")
    )
    (root / "filemill.yaml").write_text(config)
    program = start(root)
    drop(root, range(10))
    assert wait_for(lambda: published(root) == 30, 30)
    os.kill(program.process.pid, signal.SIGSTOP)
    total = 10 + flat
    drop(root, range(10, total))
    for number in range(total, total + nested):
        folder = root / "inbox" / f"a{number % 50}" / f"b{number % 7}" / "c"
        folder.mkdir(parents=True, exist_ok=True)
        part = root / "drop" / "part"
        part.write_text(content_of(number))
        os.rename(part, folder / f"in-{number:05}.log")
    total += nested
    os.kill(program.process.pid, signal.SIGCONT)
    done = wait_for(lambda: published(root) >= 3 * total, limit)
    done = done and wait_for(lambda: not judge(root, total), 60)
    left = list((root / "inbox").rglob("*.log"))
    assert done, (len(left), judge(root, total)[:5], (root / "server.log").read_text()[-2_000:])
    assert not left
    assert program.stop() == 0
