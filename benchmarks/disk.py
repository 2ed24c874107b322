"""The disk that the benchmarks run on.

A file system without a journal (the root of many virtual machines) creates files some twenty times slower
for minutes after many were deleted, so numbers measured there say nothing. As root the benchmarks
therefore make their own: a journaled ext4 in a file, mounted through a loop device, with its inode tables and
journal written at once so that no background work disturbs the first runs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Disk:
    """A folder to measure in, and in words what it stands on."""

    root: Path
    words: str


@contextlib.contextmanager
def measuring_disk(size: int, folder: Path | None = None) -> Iterator[Disk]:
    """A disk of `size` bytes that is gone at exit; a temporary folder where no file system can be made.

    Args:
        size: bytes that the largest workload needs, outputs and spare room included.
        folder: measure here instead; only what the benchmarks make in it is removed.
    """
    with contextlib.ExitStack() as stack:
        home = Path(tempfile.mkdtemp(prefix="filemill-bench-", dir=folder))
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        if folder is None and os.geteuid() == 0 and shutil.which("mkfs.ext4"):
            mounted = _mount_loop(home, size, stack)
            if mounted is not None:
                yield Disk(mounted, "a journaled ext4 in a loop file")
                return
        words = f"a temporary folder on {_file_system(home)}"
        if _file_system(home) == "ext4" and not _journals():
            words += " without a journal (creating files there is erratic: compare with care)"
        yield Disk(home, words)


def _mount_loop(home: Path, size: int, stack: contextlib.ExitStack) -> Path | None:
    """The mounted file system, unmounted by the stack; None (and why, printed) where this machine refuses."""
    image, mounted = home / "disk.img", home / "disk"
    mounted.mkdir()
    for command in (
        ["fallocate", "-l", str(size), str(image)],
        ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image)],
        ["mount", "-o", "loop", str(image), str(mounted)],
    ):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            print(f"no loop file: `{command[0]}` says {done.stderr.strip()}")
            image.unlink(missing_ok=True)
            return None
    stack.callback(_unmount, mounted)
    return mounted


def _unmount(mounted: Path) -> None:
    """Unmount, at the latest when the last process has left it."""
    if subprocess.run(["umount", str(mounted)], check=False, capture_output=True).returncode:
        subprocess.run(["umount", "--lazy", str(mounted)], check=True)


def _file_system(folder: Path) -> str:
    """The type of the file system that holds a folder, by the longest mount point above it."""
    best, kind = "", "an unknown file system"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, found, *_ = line.split(" ")
        if folder.is_relative_to(point) and len(point) >= len(best):
            best, kind = point, found
    return kind


def _journals() -> bool:
    journals = Path("/proc/fs/jbd2")
    return journals.is_dir() and any(journals.iterdir())
