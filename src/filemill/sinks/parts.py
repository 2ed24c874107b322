"""Memory for parts of outputs, used again and again: the kernel zeroes a page once, not for every chunk.

A part lies in an unnamed file in memory, which the server opens through `/proc`, locks, joins to the output and closes.
The lock says that it is still wanted. Nobody need tell the worker: with the server's descriptor, however that ends, the
lock is gone, and the file serves the next part of the same sink. What a longer part left may stand behind a shorter
one: a part is as long as its answer says, never as long as its file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource

_MEMORY = hasattr(os, "memfd_create")
_BEYOND_STEPS = 1000
"""Lowest descriptor number: no `os.closerange(3, 256)` of a step closes one by accident."""


class Parts:
    """One sink's files in this process's memory: its parts are about as long as one another."""

    def __init__(self) -> None:
        self._given: dict[int, int] = {}
        """Descriptor and inode of those that are free, or still locked."""

    @property
    def possible(self) -> bool:
        """Whether this system has files in memory."""
        return _MEMORY

    def take(self) -> int:
        """A file for one part."""
        for descriptor, inode in list(self._given.items()):
            if not _is_there(descriptor, inode):
                del self._given[descriptor]  # a step closed it; its number may be another's by now
            elif _is_free(descriptor):
                del self._given[descriptor]
                return descriptor
        made = os.memfd_create("filemill part")
        try:
            return fcntl.fcntl(made, fcntl.F_DUPFD_CLOEXEC, _lowest())
        finally:
            os.close(made)

    def give(self, descriptor: int) -> None:
        """Take it back; it is used again when nobody holds its lock any more."""
        with contextlib.suppress(OSError):  # a step closed it
            self._given[descriptor] = os.fstat(descriptor).st_ino

    def empty(self) -> None:
        """Let go of all memory that nobody else holds."""
        given, self._given = self._given, {}
        for descriptor, inode in given.items():
            if _is_there(descriptor, inode):
                os.close(descriptor)


def hold(descriptor: int) -> None:
    """Say that this part is wanted as long as the descriptor, which is this process's own, is open."""
    fcntl.flock(descriptor, fcntl.LOCK_SH)


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True


def _is_there(descriptor: int, inode: int) -> bool:
    try:
        return os.fstat(descriptor).st_ino == inode
    except OSError:
        return False


def _lowest() -> int:
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        _BEYOND_STEPS if most == resource.RLIM_INFINITY else max(3, min(_BEYOND_STEPS, most - 64))
    )
