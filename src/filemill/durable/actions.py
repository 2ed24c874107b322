"""Durable actions, each one counted and able to fail on request. See the package for how."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import sys
import time
from collections.abc import Iterable, Sequence

from filemill.durable.barrier import Barrier, Way
from filemill.durable.failpoints import Failpoints
from filemill.durable.syncing import begin_writeback, sync_abreast, sync_file_system

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_LIBC = ctypes.CDLL(None, use_errno=True)
_RENAMEAT2 = getattr(_LIBC, "renameat2", None)
_PROVEN = 4_096
"""Directories that are remembered at once."""


class Durable:
    """One role's durable actions. `sync=False` (`durability: process`) skips syncs, nothing else.

    `barrier` chooses how groups are made durable; one that is not given goes by a fixed number.

    Every method raises OSError as the system call does.
    """

    def __init__(
        self, failpoints: Failpoints, *, sync: bool = True, barrier: Barrier | None = None
    ) -> None:
        self.failpoints = failpoints
        self.sync = sync
        self.barrier = barrier or Barrier()
        self._proven: dict[bytes, tuple[int, int]] = {}
        """Directories (device, inode) whose names are durable, as far as it is known."""

    def sync_file(self, descriptor: int) -> None:
        """Make an open file's bytes and size durable."""
        if self.sync and self.failpoints.hit("sync_file"):
            os.fsync(descriptor)  # noqa: TID251 -- the door

    def begin_writeback(self, descriptor: int, start: int, length: int) -> None:
        """Have the kernel begin to write these bytes out, without waiting: a later sync has less left to do.

        A hint, not a durable action: nothing is promised, errors come with the sync.
        """
        if self.sync:
            begin_writeback(descriptor, start, length)

    def sync_path(self, path: bytes) -> None:
        """Make the bytes of the file at `path` durable."""
        if not self.sync:
            return
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.sync_file(descriptor)
        finally:
            os.close(descriptor)

    def sync_directory(self, path: bytes) -> None:
        """Make the names in a directory durable."""
        if not (self.sync and self.failpoints.hit("sync_directory")):
            return
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)  # noqa: TID251 -- the door
        finally:
            os.close(descriptor)

    def sync_group(self, files: Sequence[bytes], directories: Iterable[bytes]) -> None:
        """Make files and directories of one file system durable together, the way its barrier chooses.

        An error condemns the whole group.
        """
        folders = sorted(set(directories))
        count = len(files) + len(folders)
        if not self.sync or not count:
            return
        anchor = folders[0] if folders else os.path.dirname(files[0])
        device = os.stat(anchor).st_dev
        way = self.barrier.way(device, count)
        began = time.monotonic()
        self._sync_by(way, files, folders, anchor)
        self.barrier.took(device, way, count, time.monotonic() - began)

    def _sync_by(
        self, way: Way, files: Sequence[bytes], folders: Sequence[bytes], anchor: bytes
    ) -> None:
        if way is Way.WHOLE:
            if self.failpoints.hit("sync_group"):
                sync_file_system(anchor)
        elif way is Way.ABREAST:
            # Counted before any is done: which thread does what is not to be seen from outside.
            sync_abreast(
                [path for path in files if self.failpoints.hit("sync_file")],
                [folder for folder in folders if self.failpoints.hit("sync_directory")],
            )
        else:
            for path in files:
                self.sync_path(path)
            for folder in folders:
                self.sync_directory(folder)

    def rename(self, source: bytes, target: bytes) -> None:
        """Rename, never replacing: FileExistsError when `target` exists."""
        if not self.failpoints.hit("rename"):
            return
        if _RENAMEAT2 is not None:
            if _RENAMEAT2(_AT_FDCWD, source, _AT_FDCWD, target, _RENAME_NOREPLACE) == 0:
                return
            code = ctypes.get_errno()
            if code not in (errno.EINVAL, errno.ENOSYS):
                raise OSError(
                    code, os.strerror(code), os.fsdecode(source), None, os.fsdecode(target)
                )
        os.link(source, target, follow_symlinks=False)  # noqa: TID251 -- the door
        os.unlink(source)  # noqa: TID251 -- the door

    def name_file(self, descriptor: int, path: bytes) -> None:
        """Give an open file that has no name this one, never replacing: FileExistsError when it exists."""
        if not self.failpoints.hit("name_file"):
            return
        folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # With a descriptor of a folder Python asks `linkat`, which follows to the file; `link` does not.
            name = os.path.basename(path)
            os.link(f"/proc/self/fd/{descriptor}", name, dst_dir_fd=folder)  # noqa: TID251 -- the door
        finally:
            os.close(folder)

    def exchange(self, first: bytes, second: bytes) -> None:
        """Have two names change places: in one step, or, where that cannot be, with a moment without `second`."""
        if not self.failpoints.hit("exchange"):
            return
        if _RENAMEAT2 is not None:
            if _RENAMEAT2(_AT_FDCWD, first, _AT_FDCWD, second, _RENAME_EXCHANGE) == 0:
                return
            code = ctypes.get_errno()
            if code not in (errno.EINVAL, errno.ENOSYS):
                raise OSError(
                    code, os.strerror(code), os.fsdecode(first), None, os.fsdecode(second)
                )
        between = first + b".between"
        os.rename(second, between)  # noqa: TID251 -- the door
        os.rename(first, second)  # noqa: TID251 -- the door
        os.rename(between, first)  # noqa: TID251 -- the door

    def link(self, source: bytes, target: bytes) -> None:
        """Give a file another name; FileExistsError when `target` exists, EXDEV on another file system."""
        if self.failpoints.hit("link"):
            os.link(source, target, follow_symlinks=False)  # noqa: TID251 -- the door

    def replace(self, source: bytes, target: bytes) -> None:
        """Rename over whatever is at `target`."""
        if self.failpoints.hit("replace"):
            os.rename(source, target)  # noqa: TID251 -- the door

    def unlink(self, path: bytes) -> None:
        """Remove a name; FileNotFoundError when it is gone already."""
        if self.failpoints.hit("unlink"):
            os.unlink(path)  # noqa: TID251 -- the door

    def truncate(self, path: bytes, length: int) -> None:
        """Cut a file to `length` bytes."""
        if self.failpoints.hit("truncate"):
            os.truncate(path, length)  # noqa: TID251 -- the door

    def make_directory(self, path: bytes, mode: int = 0o777) -> None:
        """Make a directory and its missing parents, each name durable; existing ones are no error.

        Of the nearest one that is there already, too: whoever made it may have been killed before its sync.
        """
        missing: list[bytes] = []
        while (there := _directory(path)) is None:
            missing.append(path)
            path = os.path.dirname(path) or b"/"
        self._prove_name(path, there)
        for folder in reversed(missing):
            if self.failpoints.hit("make_directory"):
                with contextlib.suppress(FileExistsError):  # somebody was faster, and may not sync
                    os.mkdir(folder, mode)
                self.sync_directory(os.path.dirname(folder))
                if (made := _directory(folder)) is not None:
                    self._remember(folder, made)

    def prove_names(self, folders: Iterable[bytes]) -> None:
        """Make the names of existing directories durable, each once in this process's life.

        Whoever made one may have been killed, or met an error, before it was synced; what stands in it goes with it.
        """
        for folder in folders:
            if (there := _directory(folder)) is not None:
                self._prove_name(folder, there)

    def _prove_name(self, folder: bytes, there: os.stat_result) -> None:
        """The same for one that is there."""
        known = self._proven.get(folder) == (there.st_dev, there.st_ino)
        above = os.path.dirname(folder)
        if known or not self.sync or above == folder:
            return
        # A mounted file system has no name above. A place that we may not read is none where we make anything.
        if os.stat(above).st_dev == there.st_dev and os.access(above, os.R_OK | os.W_OK):
            self.sync_directory(above)
        self._remember(folder, there)

    def _remember(self, folder: bytes, there: os.stat_result) -> None:
        if len(self._proven) >= _PROVEN:
            self._proven.clear()
        self._proven[folder] = (there.st_dev, there.st_ino)

    def commit(self) -> None:
        """Count one ledger commit about to happen (the ledger's own door to the same failpoints)."""
        self.failpoints.hit("commit")


def _directory(path: bytes) -> os.stat_result | None:
    """Its status, where a directory or a link to one is there."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found if stat.S_ISDIR(found.st_mode) else None


IS_LINUX = sys.platform == "linux"
