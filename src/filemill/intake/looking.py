"""Looking at files without trusting their folders: safe descriptors, the lease test, identities.

Paths below a source's root are walked one folder at a time and no symbolic link is followed, so that
whoever may write there cannot make the server take (or remove) a file from elsewhere. A descriptor of the folder is
kept for one group; `/proc/self/fd/N/name` names a file in exactly that folder, wherever it is moved to.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
from types import TracebackType
from typing import Self

from filemill.durable.actions import IS_LINUX
from filemill.durable.walking import open_folder, path_in
from filemill.intake.settle import Lease, Look
from filemill.model.files import Identity
from filemill.ports.clock import Clock

FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
MACHINE_ERRORS = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
    }
)
"""Errors that are the machine's trouble, not the file's."""
_KINDS = {
    stat.S_IFLNK: "a symbolic link (links are never followed)",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


class Folders:
    """Descriptors of the folders one group's files are in; a context manager that closes them."""

    def __init__(self) -> None:
        self._open: dict[tuple[bytes, bytes], int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close them all. Idempotent."""
        opened, self._open = self._open, {}
        for descriptor in opened.values():
            os.close(descriptor)

    def get(self, root: bytes, below: bytes) -> int:
        """The descriptor of folder `below` under `root`, reached without following a link below the root.

        Raises:
            OSError: it is gone (ENOENT), or a link or no folder is on the way (ELOOP, ENOTDIR).
        """
        found = self._open.get((root, below))
        if found is not None:
            return found
        descriptor = open_folder(root, below)
        self._open[root, below] = descriptor
        return descriptor

    def path(self, root: bytes, relative: bytes) -> bytes:
        """A path that names the file `relative` under `root` for as long as this is open. Raises as `get`."""
        below = relative.rpartition(b"/")[0]
        return path_in(self.get(root, below), root, relative)


def identity_of(status: os.stat_result) -> Identity:
    """The identity in a stat result."""
    return Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def lease_of(descriptor: int) -> Lease:
    """Say whether anybody has this open file open for writing (or mapped so), as a read lease tells.

    Linux refuses the lease with EAGAIN while a writer is there. The lease is given back at once; should
    somebody open the file for writing in between, the kernel signals the holder with SIGIO, which would end the
    process, so the signal is made SIGURG, which is ignored by default.
    """
    if not IS_LINUX:
        return Lease.UNKNOWN
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return Lease.BUSY if error.errno == errno.EAGAIN else Lease.UNKNOWN
    return Lease.FREE


def look(folders: Folders, root: bytes, relative: bytes, clock: Clock) -> Look:
    """Look at one path: is it a regular file, whose bytes, who writes it. Opens nothing else, never blocks."""
    below, _, name = relative.rpartition(b"/")
    try:
        folder = folders.get(root, below)
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if not stat.S_ISREG(mode):
            return Look(refused=_KINDS.get(stat.S_IFMT(mode), "not a regular file"))
        descriptor = os.open(name, FILE, dir_fd=folder)
    except OSError as error:
        return look_failed(error)
    try:
        lease = lease_of(descriptor)
        status = os.fstat(descriptor)
    except OSError as error:
        return look_failed(error)
    finally:
        os.close(descriptor)
    return Look(
        identity=identity_of(status),
        lease=lease,
        untouched=(clock.wall_ns() - status.st_ctime_ns) / 1e9,
        changed_ns=status.st_ctime_ns,
        links=status.st_nlink,
    )


def look_failed(error: OSError) -> Look:
    """What an error met while looking means."""
    if error.errno == errno.ENOENT:
        return Look()
    if error.errno in MACHINE_ERRORS:
        return Look(trouble=error)
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return Look(refused="below a symbolic link (links are never followed)")
    if error.errno == errno.EWOULDBLOCK:  # somebody else's lease is being broken
        return Look(trouble=error)
    return Look(refused=f"cannot be opened: {os.strerror(error.errno or 0)}")
