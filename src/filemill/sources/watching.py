"""A tree of inotify watches: what happened, as paths below the root. Events are hints; scans are truth.

Folders are watched by descriptor, so a watch is on exactly the folder that was listed. Watched are CLOSE_WRITE
and MOVED_TO (a file may be whole), CREATE (new folders, and hard links, which are never closed), and of folders
themselves DELETE_SELF and MOVE_SELF. MOVED_FROM is not: every claimed file would cause one.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from filemill.ports.source import Proof
from filemill.sources.names import Ignore

if TYPE_CHECKING:
    from inotify_simple import INotify  # type: ignore[import-untyped]

_CLOSE_WRITE = 0x8
_MOVED_TO = 0x80
_CREATE = 0x100
_DELETE_SELF = 0x400
_MOVE_SELF = 0x800
_UNMOUNT = 0x2000
_Q_OVERFLOW = 0x4000
_IGNORED = 0x8000
_ONLYDIR = 0x1000000
_EXCL_UNLINK = 0x4000000
_ISDIR = 0x40000000
_MASK = _CLOSE_WRITE | _MOVED_TO | _CREATE | _DELETE_SELF | _MOVE_SELF | _ONLYDIR | _EXCL_UNLINK
_HEAD = struct.Struct("iIII")
_BUFFER = 1 << 18


class Happened:
    """What one read of the queue told."""

    __slots__ = ("any", "created", "files", "folders", "moved", "overflow", "root_gone")

    def __init__(self) -> None:
        self.any = False
        """False when the queue was empty."""
        self.files: dict[bytes, Proof] = {}
        """Files that may be whole, by path below the root; the last event of each counts."""
        self.created: dict[bytes, None] = {}
        """Names that appeared and of which nothing has been heard since."""
        self.folders: list[bytes] = []
        """New folders, to be watched and scanned."""
        self.moved = False
        """A folder went somewhere: the tree must be scanned to know where everything is."""
        self.overflow = False
        self.root_gone = False


class Watches:
    """The inotify watches of one source. `add` may be called from any thread, the rest from the loop's.

    Raises:
        OSError: there are no more inotify instances (EMFILE).
    """

    def __init__(self, ignore: Ignore) -> None:
        from inotify_simple import INotify  # noqa: PLC0415 -- Linux only

        self._inotify: INotify = INotify(nonblocking=True)
        self._ignore = ignore
        self._prefixes: dict[int, bytes] = {}

    def __len__(self) -> int:
        """How many folders are watched."""
        return len(self._prefixes)

    def fileno(self) -> int:
        """The queue's descriptor, readable when something happened."""
        return int(self._inotify.fileno())

    def add(self, relative: bytes, path: bytes) -> None:
        """Watch the folder at `path`, which is `relative` below the root. Again is no error.

        Raises:
            OSError: ENOSPC when the user's limit of watches is reached.
        """
        watch = self._inotify.add_watch(path, _MASK)
        self._prefixes[watch] = relative + b"/" if relative else b""

    def read(self) -> Happened:
        """What happened since the last read, at most a buffer full of it; empty when nothing did."""
        happened = Happened()
        try:
            data = os.read(self._inotify.fileno(), _BUFFER)
        except BlockingIOError:
            return happened
        happened.any = True
        at, end = 0, len(data)
        unpack, size, prefixes, ignore = _HEAD.unpack_from, _HEAD.size, self._prefixes, self._ignore
        files, created = happened.files, happened.created
        while at < end:
            watch, mask, _, length = unpack(data, at)
            at += size + length
            if not length:
                self._of_folder(happened, watch, mask)
                continue
            name = data[at - length : at].rstrip(b"\0")
            prefix = prefixes.get(watch)
            # An unknown watch was added by a scan that is about to list its folder: the scan will find the file.
            if prefix is None:
                continue
            relative = prefix + name
            if ignore(relative, name):
                continue
            if mask & _ISDIR:
                happened.folders.append(relative)
            elif mask & _MOVED_TO:
                files[relative] = Proof.RENAMED
                created.pop(relative, None)
            elif mask & _CLOSE_WRITE:
                files[relative] = Proof.CLOSED
                created.pop(relative, None)
            else:
                created[relative] = None
        return happened

    def close(self) -> None:
        """Stop watching. Idempotent."""
        self._inotify.close()
        self._prefixes.clear()

    def _of_folder(self, happened: Happened, watch: int, mask: int) -> None:
        if mask & _Q_OVERFLOW:
            happened.overflow = True
            return
        if mask & _IGNORED:
            self._prefixes.pop(watch, None)
            return
        prefix = self._prefixes.get(watch)
        if prefix is None:
            return
        if mask & (_DELETE_SELF | _UNMOUNT | _MOVE_SELF) and not prefix:
            happened.root_gone = True
        elif mask & _MOVE_SELF:
            happened.moved = True
            for number, each in list(self._prefixes.items()):
                if each.startswith(prefix):
                    del self._prefixes[number]
                    self._forget(number)

    def _forget(self, watch: int) -> None:
        try:
            self._inotify.rm_watch(watch)
        except OSError:
            return  # EINVAL: the kernel was first
