"""A really full disk under data, sink or source: work pauses, nothing is charged, it goes on by itself."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
from oracle import content_of, drop, judge, make_project
from program import Program, wait_for

FILES = 400
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(150),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small_disk file system"),
]


def fill(place: Path) -> Path:
    """Take the last byte of a file system."""
    ballast = place / ".ballast"  # hidden: a watched folder leaves it alone
    with open(ballast, "wb", buffering=0) as out:
        for size in (1 << 20, 4096, 1):
            try:
                while out.write(b"x" * size) == size:
                    pass
            except OSError:
                continue
    return ballast


def fill_inodes(place: Path) -> Path:
    """Take the last name that a file system has room for; its bytes stay free."""
    ballast = place / ".ballast"
    ballast.mkdir()
    try:
        for number in range(100_000):
            (ballast / str(number)).touch()
    except OSError:
        return ballast
    raise AssertionError("this file system has no end of inodes")


def remove(ballast: Path) -> None:
    """Make room again."""
    if ballast.is_dir():
        shutil.rmtree(ballast)
    else:
        ballast.unlink()


def ledger(root: Path, query: str) -> list[tuple[object, ...]]:
    """What the ledger says."""
    db = apsw.Connection(str(root / ".filemill" / "ledger.db"), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        return list(db.execute(query).fetchall())
    finally:
        db.close()


@pytest.mark.parametrize("of", ["bytes", "inodes"])
@pytest.mark.parametrize("full", ["data", "sink", "source"])
def test_a_full_disk_pauses_the_work_and_costs_nothing(
    tmp_path: Path, small_disk: Path, start: Callable[..., Program], full: str, of: str
) -> None:
    root = tmp_path / "project"
    make_project(root)
    link = {"data": root / ".filemill", "sink": root / "out", "source": root / "inbox"}[full]
    if link.is_dir():
        link.rmdir()
    link.symlink_to(small_disk)
    program = start(root)
    log = root / "server.log"
    drop_into(root, range(FILES // 4))
    assert wait_for(lambda: len(outputs(root)) >= FILES // 4, 30), log.read_text()

    drop_into(root, range(FILES // 4, FILES // 2))
    ballast = fill(small_disk) if of == "bytes" else fill_inodes(small_disk)
    if full != "source":
        drop_into(root, range(FILES // 2, FILES))
        assert wait_for(lambda: "trouble" in log.read_text().lower() or "!" in log.read_text(), 20)
    ends = time.monotonic() + 4
    while time.monotonic() < ends:
        assert program.process.poll() is None, log.read_text()
        time.sleep(0.1)
    remove(ballast)
    if full == "source":
        drop_into(root, range(FILES // 2, FILES))
    done = wait_for(lambda: len(outputs(root)) >= FILES, 60)
    done = done and wait_for(lambda: not judge(root, FILES), 60)
    said = log.read_text()
    assert done, (judge(root, FILES)[:5], said[-3_000:])
    assert program.stop() == 0
    states = ledger(root, "SELECT state, max(attempt), count(*) FROM run GROUP BY state")
    assert states == [("done", 1, FILES)], (states, said[-3_000:])
    print(*[line for line in said.splitlines() if "✓" not in line], sep="\n")


def drop_into(root: Path, numbers: range) -> None:
    """As `drop`, where the inbox may be another file system than the rest."""
    inbox = (root / "inbox").resolve()
    if inbox.parent == root.resolve():
        drop(root, numbers)
        return
    for number in numbers:
        part = inbox / f"in-{number:05}.log.part"
        part.write_text(content_of(number))
        part.rename(inbox / f"in-{number:05}.log")


def outputs(root: Path) -> list[str]:
    """Names of what the last sink shows."""
    folder = root / "out" / "rest"
    return [e.name for e in os.scandir(folder) if e.is_file()] if folder.is_dir() else []
