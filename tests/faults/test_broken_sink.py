"""One sink's place fails under load: what writes there waits and is charged nothing, everything else goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest
from program import Program, wait_for
from test_disk_full import fill

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount"),
]
CONFIG = """\
version: 1
workers: 2
sources:
  inbox: {folder: inbox, settle: 20ms, settle_unproven: 200ms}
tags:
  a: {name: "a-*"}
  b: {name: "b-*"}
  both: {name: "both-*"}
pipelines:
  to_a: {when: a, steps: [read_lines, {write: a}]}
  to_b: {when: b, steps: [read_lines, {write: b}]}
  to_both: {when: both, steps: [read_lines, {write: [b, a]}]}
sinks:
  a: {folder: out/a}
  b: {folder: out/b}
"""
FILES = 150


@pytest.fixture
def root(tmp_path: Path, small_disk: Path) -> Iterator[Path]:
    """A project whose sink `a` is a small file system of its own."""
    root = tmp_path / "project"
    for folder in ("inbox", "out/a", "drop"):
        (root / folder).mkdir(parents=True)
    (root / "filemill.yaml").write_text(CONFIG)
    mount(small_disk, root)
    yield root
    subprocess.run(["umount", "-l", root / "out/a"], capture_output=True, check=False)


def mount(disk: Path, root: Path) -> None:
    """Have the disk show where sink `a` is."""
    subprocess.run(["mount", "--bind", disk, root / "out/a"], check=True)


def drop(root: Path, prefix: str, numbers: range) -> None:
    """Rename inputs into the watched folder."""
    for number in numbers:
        name = f"{prefix}-{number:05}.log"
        (root / "drop" / name).write_text(f"{name}\n" * 2_000)
        os.rename(root / "drop" / name, root / "inbox" / name)


def shown(root: Path, sink: str, prefix: str) -> int:
    """How many whole outputs of these inputs a sink shows."""
    paths = (root / "out" / sink).glob(f"{prefix}-*.log")
    return sum(path.read_text() == f"{path.name}\n" * 2_000 for path in paths)


def doctor(root: Path) -> str:
    """What `filemill doctor` says of sink `a`."""
    command = [sys.executable, "-m", "filemill", "doctor", "--json", "-c", root / "filemill.yaml"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 1, told.stderr
    items = json.loads(told.stdout)["items"]
    return " ".join(each["what"] for each in items if each["about"] == "sink a")


def ends(root: Path) -> list[tuple[object, ...]]:
    """States of all runs, with the most attempts of each."""
    db = apsw.Connection(str(root / ".filemill/ledger.db"), flags=apsw.SQLITE_OPEN_READWRITE)
    db.set_busy_timeout(30_000)
    try:
        return db.execute("SELECT state, max(attempt), count(*) FROM run GROUP BY state").fetchall()
    finally:
        db.close()


@pytest.mark.parametrize("fault", ["unmounted", "full"])
def test_a_broken_sink_parks_its_own_runs_only(
    root: Path, small_disk: Path, start: Callable[..., Program], fault: str
) -> None:
    program = start(root)
    log = root / "server.log"
    drop(root, "a", range(20))
    drop(root, "b", range(20))
    assert wait_for(lambda: shown(root, "a", "a") == shown(root, "b", "b") == 20, 60), (
        log.read_text()
    )
    drop(root, "a", range(20, FILES // 2))
    ballast = None
    if fault == "full":
        ballast = fill(small_disk)
    else:
        subprocess.run(["umount", "-l", root / "out/a"], check=True)
    drop(root, "a", range(FILES // 2, FILES))
    drop(root, "both", range(20))
    assert wait_for(lambda: "! sink a: " in log.read_text(), 60), log.read_text()
    drop(root, "b", range(20, FILES))
    assert wait_for(lambda: shown(root, "b", "b") == FILES, 60), log.read_text()
    assert program.process.poll() is None
    said = log.read_text()
    assert "sink a: works again" not in said, said
    assert "work waits, nothing is lost" not in said, "nobody else is in trouble: " + said
    assert "work waits in the running server" in doctor(root), (
        "a probe of a moment may find it well"
    )
    waiting = {state for state, _, _ in ends(root)}
    assert waiting <= {"done", "queued", "publishing", "running"}, waiting
    if ballast is not None:
        ballast.unlink()
    else:
        assert [p.name for p in (root / "out/a").rglob("*.log")] == [], "nothing below the mount"
        mount(small_disk, root)
    total = 2 * FILES + 20
    assert wait_for(lambda: ends(root) == [("done", 1, total)], 120), (ends(root), log.read_text())
    assert shown(root, "a", "a") == FILES
    assert shown(root, "a", "both") == shown(root, "b", "both") == 20
    assert wait_for(lambda: "sink a: works again" in log.read_text(), 60), log.read_text()
    assert program.stop() == 0
    # What was staged on a disk that went away could not be removed: the next start does.
    again = start(root)
    assert wait_for(lambda: log.read_text().count("Ready in") == 2, 60), log.read_text()
    assert again.stop() == 0
    assert [p for p in (root / "out").rglob(".filemill/*") if p.is_file()] == []
    print(*[line for line in log.read_text().splitlines() if "✓" not in line], sep="\n")


def test_a_one_shot_run_does_not_wait_for_a_broken_sink_for_ever(
    root: Path, small_disk: Path
) -> None:
    ballast = fill(small_disk)
    os.truncate(
        ballast, ballast.stat().st_size - (256 << 10)
    )  # its place can be used, but not for much
    (root / "inbox" / "a-1.log").write_text("x" * 99 + "\n" + "y" * 2_000_000 + "\n")
    (root / "inbox" / "b-1.log").write_text("a line\n")
    environment = os.environ | {"FILEMILL__DURABILITY": "process"}

    def once() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "filemill", "run", "--once"],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )

    told = once()
    assert told.returncode == 75, (told.stdout, told.stderr)
    assert (root / "out/b/b-1.log").exists(), "all else is done"
    assert "sink a:" in told.stderr
    assert "1 run waits and will go on at the next `filemill run`" in told.stderr
    assert "a-1.log" in told.stderr
    ballast.unlink()
    told = once()
    assert told.returncode == 0, (told.stdout, told.stderr)
    assert (root / "out/a/a-1.log").stat().st_size > 2_000_000
    db = apsw.Connection(str(root / ".filemill" / "ledger.db"))
    assert db.execute("SELECT max(attempt), min(state) FROM run").fetchall() == [(1, "done")]
    db.close()
