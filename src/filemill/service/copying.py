"""Plain copies of what failed in a folder of a person's: names made safe, whole or not there, nothing overwritten.

A copy is written as `.<name>.part`, synced, renamed without replacing, and its `.reason.json` comes last: where that
is, the copy is whole. A name has the run's id in it, so that the same one is not copied twice,
whatever was interrupted.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator

from filemill.durable import Durable
from filemill.service.reasons import SUFFIX

_SHORT = 8
"""Characters of an id in a name."""
_MOST = 160
"""Bytes of a name before its id; the longest name a file system takes is 255."""
_FORBIDDEN = frozenset('/\\:*?"<>|')
_PACKED = (".gz", ".zst", ".bz2", ".xz")


def safe_name(relative: bytes, identity: str, mark: str = "") -> str:
    """`acme/orders.csv` -> `orders.3fk2abcd.csv`; `mark` stands behind the id.

    What a shell, another system or a terminal would stumble over becomes `_`; a name never begins with a dot or a dash.
    """
    name = relative.rsplit(b"/", 1)[-1].decode("utf-8", "replace")
    clean = "".join(
        c if c.isprintable() and c not in _FORBIDDEN and c != "�" else "_" for c in name
    )
    if clean[:1] in {"", ".", "-", "~", " "}:
        clean = "_" + clean[1:]
    stem, suffix = os.path.splitext(clean)
    if suffix.lower() in _PACKED:
        stem, inner = os.path.splitext(stem)
        suffix = inner + suffix
    suffix = suffix if len(suffix.encode()) <= _MOST // 4 else ""
    stem = stem.encode()[:_MOST].decode("utf-8", "ignore")
    return f"{stem}.{identity[:_SHORT]}{mark}{suffix}"


class Copies:
    """One folder of copies; every change of it is made within `alone`."""

    def __init__(self, folder: str, durable: Durable, *, mode: int = 0o700) -> None:
        self.folder = os.fsencode(os.path.abspath(folder))
        self._durable = durable
        self._mode = mode

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Make the folder if it is missing; within the block nobody else copies into it.

        Raises:
            OSError: it cannot be made or locked.
        """
        self._durable.make_directory(self.folder, self._mode)
        lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def has(self, name: str) -> bool:
        """Say whether the copy of this name, with its reason, is there."""
        return os.path.lexists(self._path(name + SUFFIX))

    def add(self, name: str, pieces: Iterable[bytes] | None, reason: bytes) -> bool:
        """Write a copy and its reason; False, and nothing is touched, if they are there already. None: only the reason.

        A copy without a reason, which a crash left and a person may have mended since, stays and gets its reason.

        Raises:
            OSError: it cannot be written; nothing half is left under a visible name.
        """
        if self.has(name):
            # Whoever put it there may have been interrupted, or failed, before its name was durable.
            self._durable.sync_directory(self.folder)
            return False
        if pieces is not None and not os.path.lexists(self._path(name)):
            self._write(name, pieces)
        self._write(name + SUFFIX, [reason])
        self._durable.sync_directory(self.folder)
        return True

    def remove(self, name: str) -> None:
        """Take a copy and its reason away; those that are gone are no error.

        Raises:
            OSError: it cannot be removed.
        """
        # The copy first: while its reason is there, it is not taken for one that is whole and untold.
        for each in (name, name + SUFFIX):
            with contextlib.suppress(FileNotFoundError):
                self._durable.unlink(self._path(each))
        self._durable.sync_directory(self.folder)

    def remove_reason(self, name: str) -> None:
        """Take only the reason of a copy away; one that is gone is no error.

        Raises:
            OSError: it cannot be removed.
        """
        with contextlib.suppress(FileNotFoundError):
            self._durable.unlink(self._path(name + SUFFIX))
        self._durable.sync_directory(self.folder)

    def open(self, name: str) -> int:
        """A descriptor of the copy, for reading.

        Raises:
            OSError: it is no file of ours to read.
        """
        return os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def _path(self, name: str) -> bytes:
        return os.path.join(self.folder, os.fsencode(name))

    def _write(self, name: str, pieces: Iterable[bytes]) -> None:
        part = self._path(f".{name}.part")
        with contextlib.suppress(FileNotFoundError):
            self._durable.unlink(part)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(part, flags, 0o600)
        try:
            try:
                for piece in pieces:
                    _whole(descriptor, piece)
                self._durable.sync_file(descriptor)
            finally:
                os.close(descriptor)
            self._durable.rename(part, self._path(name))
        except BaseException:
            with contextlib.suppress(OSError):
                self._durable.unlink(part)
            raise


def _whole(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
