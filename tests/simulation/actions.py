"""The durable actions of a simulated process: each really happens, is noted by the disk, may fail or be the last."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Protocol

from filemill.durable import Durable, Failpoints
from filemill.durable.barrier import Way
from simulation.disk import Disk, real


class Cut(BaseException):
    """The process is no more: nothing that comes after happens."""


class WorkerEnd(BaseException):
    """The worker is no more."""


class Fate(Protocol):
    """Decides what becomes of each action."""

    def before(self, role: str, name: str, path: bytes) -> bool:
        """Called before it; raises what strikes. False: it is not done (a negative control)."""
        ...

    def after(self, role: str, name: str) -> None:
        """Called behind it; raises what strikes."""
        ...


class _Folders(Failpoints):
    """Tells of each folder that is made; of all else the methods themselves do."""

    def __init__(self, role: str, fate: Fate) -> None:
        super().__init__(role)
        self._fate = fate

    def hit(self, name: str) -> bool:
        return name != "make_directory" or self._fate.before(self.role, name, b"")


class SimulatedDurable(Durable):
    """One role's door to the disk."""

    def __init__(self, role: str, disk: Disk, fate: Fate, *, sync: bool = True) -> None:
        super().__init__(_Folders(role, fate), sync=sync)
        self._role = role
        self._disk = disk
        self._fate = fate

    def _does(self, name: str, path: bytes) -> bool:
        return self._fate.before(self._role, name, path)

    def _did(self, name: str) -> None:
        self._fate.after(self._role, name)

    def sync_file(self, descriptor: int) -> None:
        if not self.sync:
            return
        try:
            done = self._does("sync_file", os.readlink(b"/proc/self/fd/%d" % descriptor))
        except OSError:
            self._disk.failed_sync(os.fstat(descriptor))
            raise
        if done:
            self._disk.synced_file(os.fstat(descriptor))
        self._did("sync_file")

    def begin_writeback(self, descriptor: int, start: int, length: int) -> None:
        """A hint."""

    def sync_directory(self, path: bytes) -> None:
        if not self.sync:
            return
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        if self._does("sync_directory", path):
            self._disk.synced_folder(path)
        self._did("sync_directory")

    def sync_group(self, files: Sequence[bytes], directories: Iterable[bytes]) -> None:
        if not self.sync:
            return
        folders = sorted(set(directories))
        if self.barrier.way(0, len(files) + len(folders)) is not Way.WHOLE:
            super().sync_group(files, folders)
            return
        try:
            done = self._does("sync_group", folders[0] if folders else files[0])
        except OSError:
            for path in files:
                self._disk.failed_sync(os.stat(path))
            raise
        if done:
            for path in files:
                self._disk.synced_file(os.stat(path))
            for folder in folders:
                self._disk.synced_folder(folder)
        self._did("sync_group")

    def rename(self, source: bytes, target: bytes) -> None:
        if self._does("rename", target):
            old, new = real(source), real(target)
            super().rename(source, target)
            self._disk.note("rename", os.lstat(new).st_ino, old, new)
        self._did("rename")

    def link(self, source: bytes, target: bytes) -> None:
        if self._does("link", target):
            super().link(source, target)
            self._disk.note("link", os.lstat(target).st_ino, real(source), real(target))
        self._did("link")

    def replace(self, source: bytes, target: bytes) -> None:
        if self._does("replace", target):
            old, new = real(source), real(target)
            if not os.path.lexists(target):
                super().replace(source, target)
                self._disk.note("rename", os.lstat(new).st_ino, old, new)
            else:
                gone = self._disk.keep(target)
                super().replace(source, target)
                self._disk.note("replace", os.lstat(new).st_ino, old, new, gone)
        self._did("replace")

    def unlink(self, path: bytes) -> None:
        if self._does("unlink", path):
            place = real(path)
            gone = self._disk.keep(path)
            super().unlink(path)
            self._disk.note("unlink", gone, place)
        self._did("unlink")

    def truncate(self, path: bytes, length: int) -> None:
        if self._does("truncate", path):
            super().truncate(path, length)
        self._did("truncate")

    def commit(self) -> None:
        self._does("commit", b"")
