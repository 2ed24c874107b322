"""A folder's name is durable before anything in it counts, also where whoever made it was killed before its sync."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from filemill.durable import Durable, Failpoints

MAKES = """
import os, sys
from filemill.durable import Durable, Failpoints
Durable(Failpoints.from_environment("test")).make_directory(os.fsencode(sys.argv[1]))
"""


class Noting(Durable):
    """Notes which directories it syncs."""

    def __init__(self, *, sync: bool = True) -> None:
        super().__init__(Failpoints("test"), sync=sync)
        self.synced: list[bytes] = []

    def sync_directory(self, path: bytes) -> None:
        self.synced.append(path)
        super().sync_directory(path)


def names(root: Path, *below: str) -> list[bytes]:
    return [os.fsencode(root / each) for each in below]


def test_whoever_comes_after_a_kill_between_making_and_syncing_syncs(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    made = tmp_path / "a" / "b"
    killed = subprocess.run(
        [sys.executable, "-c", MAKES, made],
        # The first sync is of the name of `a`, which is there already.
        env=os.environ | {"FILEMILL_FAIL": "test.sync_directory:2:kill"},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert made.is_dir()
    durable = Noting()
    durable.make_directory(os.fsencode(made / "c"))
    assert durable.synced == names(tmp_path, "a", "a/b")


def test_a_folder_that_is_there_is_proven_once(tmp_path: Path) -> None:
    durable = Noting()
    path = os.fsencode(tmp_path / "a" / "b")
    durable.make_directory(path)
    assert durable.synced == names(tmp_path.parent, "", tmp_path.name, f"{tmp_path.name}/a")
    durable.make_directory(path)
    durable.make_directory(os.path.dirname(path))
    assert len(durable.synced) == 3
    # Another folder of that name is another name.
    os.rmdir(path)
    os.mkdir(path)
    os.rmdir(path)
    os.rename(tmp_path / "a", tmp_path / "old")
    (tmp_path / "a" / "b").mkdir(parents=True)
    durable.make_directory(path)
    assert durable.synced[3:] == names(tmp_path, "a")


def test_nothing_is_synced_where_nothing_is_to_be(tmp_path: Path) -> None:
    durable = Noting(sync=False)
    (tmp_path / "a").mkdir()
    durable.make_directory(os.fsencode(tmp_path / "a"))
    durable.make_directory(b"/")
    assert durable.synced == []


def test_a_mount_has_no_name_above() -> None:
    durable = Noting()
    durable.make_directory(b"/proc")
    durable.make_directory(b"/")
    assert durable.synced == []
