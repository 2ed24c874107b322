"""How large things are in these tests, the room they need, and the memory that a run of the program takes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from program import children

MEGABYTE = 1 << 20
GIGABYTE = 1 << 30
BOUND = 1_000 * MEGABYTE
"""What a run with two workers may hold, whatever the file's size.

Server, keepers and two workers with Polars take some 250 MB. A worker has at most two blocks of 16 MB in hand, the one
it works on and the one read ahead; each is there as bytes, as texts, as columns and as encoded output, and
the allocator keeps what was let go of: 100 to 330 MB a worker were seen. Parts of outputs wait in memory to be
joined, four at most, as large as the chunks they were made of.
"""
_MARGIN = 2 * GIGABYTE
"""Of the disk, which these tests leave alone."""


def size(name: str, usual: int) -> int:
    """A number that a smaller machine may lower: `FILEMILL_TORTURE_<name>` in the environment."""
    return int(os.environ.get(f"FILEMILL_TORTURE_{name}", str(usual)))


def need_room(folder: Path, wanted: int) -> None:
    """Skip the test where the disk has not so many bytes free, and some to spare."""
    free = shutil.disk_usage(folder).free
    if free < wanted + _MARGIN:
        pytest.skip(
            f"needs {wanted / GIGABYTE:.0f} GB of room and {_MARGIN / GIGABYTE:.0f} to spare, "
            f"{free / GIGABYTE:.0f} are free"
        )


def resident(pid: int) -> int:
    """Bytes that one process holds now; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def held_by_tree(pid: int) -> int:
    """Bytes that a process and its descendants hold now, files in memory (parts of outputs) included."""
    tree = (pid, *children(pid))
    in_memory = {status for each in tree for status in _files_in_memory(each)}
    return sum(map(resident, tree)) + sum(length for _, length in in_memory)


def _files_in_memory(pid: int) -> Iterator[tuple[int, int]]:
    """(inode, bytes) of each of a process's files that no disk has."""
    try:
        descriptors = list(os.scandir(f"/proc/{pid}/fd"))
    except OSError:
        return
    for each in descriptors:
        try:
            if os.readlink(each.path).startswith("/memfd:"):
                status = os.stat(each.path)
                yield status.st_ino, status.st_blocks * 512
        except OSError:
            continue


def run(root: Path) -> tuple[int, str, int]:
    """A one-shot run: exit code, what it said, the most its tree held at once."""
    process = subprocess.Popen(
        [sys.executable, "-m", "filemill", "run", "--once"],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, held_by_tree(process.pid))
        time.sleep(0.02)
    said, _ = process.communicate()
    return process.returncode, said, peak
