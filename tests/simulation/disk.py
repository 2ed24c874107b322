"""A disk that loses what was not synced: everything really happens in a folder, and a record is kept of what is sure.

Sure is a file's data as it was when it was synced, and a name when its folder was synced. At a cut of the power,
chance decides about all else:

- a file that was never named surely may be gone;
- a rename, link or unlink whose folders (both) were not synced may not have happened. One that others rest on, which
  are sure, has happened;
- a folder whose own name is not sure may be gone with all that is in it;
- a file whose data is not sure may be empty, cut, or full of zeros, under an unchanged time stamp.

A rename is one step, as on every file system with a journal: the file is under one of its two names, never under
both or none. A sync that failed makes nothing sure, and what was written before it will never be (Linux forgets such
pages after it has told once).

What a kill leaves is all that was done: the kernel has it.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

COPIED = (b"/.filemill/ledger.db", b"/.filemill/workers/", b"/.filemill/lock")
"""What a dying process may still write to: the image must have its own. All else keeps its inode."""


@dataclass(eq=False)
class Op:
    """One change of names."""

    kind: str
    ino: int
    source: bytes
    target: bytes = b""
    old: int = 0
    """The inode that was replaced."""
    folders: set[bytes] = field(default_factory=set)
    """Those of its folders that were not synced since."""

    @property
    def paths(self) -> tuple[bytes, ...]:
        return (self.source, self.target) if self.target else (self.source,)


def real(path: bytes) -> bytes:
    """A path without links on the way, such as those of open folders."""
    folder, name = os.path.split(path)
    return os.path.realpath(folder) + b"/" + name


class Disk:
    """The folder `root`, and what of it is sure."""

    def __init__(self, root: bytes, chance: random.Random) -> None:
        self.root = root
        self.chance = chance
        self.grave = root + b".grave"
        self.next = root + b".next"
        for folder in (root, self.grave, self.next):
            shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(root)
        os.makedirs(self.grave)
        self._ops: list[Op] = []
        self._named: set[int] = set()
        self._folders: set[bytes] = set()
        self._data: dict[int, tuple[int, int]] = {}
        self._poisoned: set[int] = set()
        self._torn: list[tuple[bytes, str]] = []
        self.losses: list[str] = []
        """What the latest cut took."""

    # -- what the program does --------------------------------------------------------------------

    def synced_file(self, status: os.stat_result) -> None:
        if status.st_ino not in self._poisoned:
            self._data[status.st_ino] = (status.st_size, status.st_mtime_ns)

    def failed_sync(self, status: os.stat_result) -> None:
        if self._data.get(status.st_ino) != (status.st_size, status.st_mtime_ns):
            self._poisoned.add(status.st_ino)

    def synced_folder(self, path: bytes) -> None:
        folder = os.path.realpath(path)
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    self._folders.add(entry.path)
                else:
                    self._named.add(entry.inode())
        for op in self._ops:
            # Of a folder that is surely gone, all names are: only an empty one can be removed.
            gone = [f for f in op.folders if os.path.dirname(f) == folder and not os.path.isdir(f)]
            op.folders.difference_update([folder, *gone])
        self._forget()

    def _forget(self) -> None:
        """Drop the changes that are sure and rest on nothing that is not."""
        touched: set[bytes] = set()
        left: list[Op] = []
        for op in self._ops:
            if op.folders or touched.intersection(op.paths):
                left.append(op)
                touched.update(op.paths)
            elif op.kind in ("unlink", "replace"):
                self._bury(op.ino if op.kind == "unlink" else op.old)
        self._ops = left

    def _bury(self, ino: int) -> None:
        if not any(ino in (op.ino, op.old) for op in self._ops if op.folders):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._in_grave(ino))

    def _in_grave(self, ino: int) -> bytes:
        return b"%b/%d" % (self.grave, ino)

    def keep(self, path: bytes) -> int:
        """Keep the bytes of a file that is about to lose a name; answers its inode."""
        ino = os.lstat(path).st_ino
        with contextlib.suppress(FileExistsError):
            os.link(path, self._in_grave(ino), follow_symlinks=False)
        return ino

    def note(self, kind: str, ino: int, source: bytes, target: bytes = b"", old: int = 0) -> None:
        folders = {os.path.dirname(path) for path in ((source, target) if target else (source,))}
        self._ops.append(Op(kind, ino, source, target, old, folders))

    # -- what others do ---------------------------------------------------------------------------

    def settle(self, path: bytes) -> None:
        """A file of somebody else, who made it durable, and nothing but it."""
        status = os.lstat(path)
        self.synced_file(status)
        self._named.add(status.st_ino)
        while (path := os.path.dirname(path)) != self.root:
            self._folders.add(path)

    # -- the cut ----------------------------------------------------------------------------------

    def image(self, *, power: bool, ledger: dict[bytes, bytes]) -> None:
        """Lay aside what the next life will find; `ledger` has the contents of the ledger's files."""
        files, folders = self._tree()
        self.losses = []
        if power:
            self._undo(files)
            self._drop(files, folders)
        shutil.rmtree(self.next, ignore_errors=True)
        os.makedirs(self.next)
        for folder in sorted(folders):
            os.makedirs(self._at(folder), exist_ok=True)
            os.chmod(self._at(folder), stat.S_IMODE(os.stat(folder).st_mode))
        for path, (ino, now_at) in sorted(files.items()):
            short = path[len(self.root) :]
            if short in ledger or short.endswith(b"-shm"):
                continue
            os.makedirs(os.path.dirname(self._at(path)), 0o700, exist_ok=True)
            if short.startswith(COPIED):
                shutil.copyfile(now_at, self._at(path))
            else:
                os.link(now_at, self._at(path), follow_symlinks=False)
                if power:
                    self._tear(path, ino)
        for short, data in ledger.items():
            with open(self.next + short, "wb") as out:
                out.write(data)

    def _at(self, path: bytes) -> bytes:
        return self.next + path[len(self.root) :]

    def _tree(self) -> tuple[dict[bytes, tuple[int, bytes]], set[bytes]]:
        files: dict[bytes, tuple[int, bytes]] = {}
        folders: set[bytes] = set()
        for entry in _walk(self.root):
            if entry.is_dir(follow_symlinks=False):
                folders.add(entry.path)
            elif entry.is_file(follow_symlinks=False):
                files[entry.path] = (entry.inode(), entry.path)
        return files, folders

    def _undo(self, files: dict[bytes, tuple[int, bytes]]) -> None:
        """Take back changes that are not sure, the latest first."""
        mood = self.chance.choice((0.0, 0.5, 1.0))
        locked: set[bytes] = set()
        for op in reversed(self._ops):
            if not op.folders or locked.intersection(op.paths) or self.chance.random() >= mood:
                locked.update(op.paths)
                continue
            self.losses.append(f"{op.kind} {self._short(op.source)} {self._short(op.target)}")
            if op.kind in ("rename", "replace"):
                moved = files.pop(op.target, None)
                if moved is not None:
                    files[op.source] = moved
                if op.kind == "replace":
                    files[op.target] = (op.old, self._in_grave(op.old))
            elif op.kind == "link":
                files.pop(op.target, None)
            else:
                files[op.source] = (op.ino, self._in_grave(op.ino))

    def _drop(self, files: dict[bytes, tuple[int, bytes]], folders: set[bytes]) -> None:
        """Lose names that were never sure."""
        mood = self.chance.choice((0.0, 0.5, 1.0))
        data = self.root + b"/.filemill"
        for folder in sorted(folders):
            if folder not in self._folders and folder != data and self.chance.random() < mood:
                folders.difference_update(
                    [f for f in folders if (f + b"/").startswith(folder + b"/")]
                )
                for path in [p for p in files if p.startswith(folder + b"/")]:
                    del files[path]
                self.losses.append(f"folder {self._short(folder)}")
        for path in sorted(files):
            short = path[len(self.root) :]
            if (
                files[path][0] not in self._named
                and not short.startswith(COPIED)
                and self.chance.random() < mood
            ):
                del files[path]
                self.losses.append(f"name {self._short(path)}")

    def _tear(self, path: bytes, ino: int) -> None:
        status = os.stat(self._at(path))
        if self._data.get(ino) == (status.st_size, status.st_mtime_ns):
            return
        how = self.chance.choice(("whole", "empty", "half", "zeros"))
        if how != "whole":
            self._torn.append((path, how))
            self.losses.append(f"data {self._short(path)}: {how}")

    def _short(self, path: bytes) -> str:
        return os.fsdecode(path[len(self.root) + 1 :])

    def switch(self, *, power: bool) -> None:
        """The old process is gone for good: the next one finds the image."""
        shutil.rmtree(self.root)
        os.rename(self.next, self.root)
        for path, how in self._torn:
            status = os.stat(path)
            os.truncate(path, {"empty": 0, "half": status.st_size // 2, "zeros": 0}[how])
            if how == "zeros":
                os.truncate(path, status.st_size)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        self._torn = []
        if power:
            self._ops = []
            self._poisoned = set()
            shutil.rmtree(self.grave)
            os.makedirs(self.grave)
            self.all_sure()

    def all_sure(self) -> None:
        """What is there now is on the disk."""
        for entry in _walk(self.root):
            if entry.is_dir(follow_symlinks=False):
                self._folders.add(entry.path)
            elif entry.is_file(follow_symlinks=False):
                self._named.add(entry.inode())
                self.synced_file(entry.stat(follow_symlinks=False))

    def close(self) -> None:
        for folder in (self.root, self.grave, self.next):
            shutil.rmtree(folder, ignore_errors=True)


def _walk(root: bytes) -> Iterator[os.DirEntry[bytes]]:
    with os.scandir(root) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        yield entry
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path)
