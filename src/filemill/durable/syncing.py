"""The system calls that make things durable: one file, many abreast, or a whole file system."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Sequence

_LIBC = ctypes.CDLL(None, use_errno=True)
_SYNCFS = getattr(_LIBC, "syncfs", None)
_SYNC_FILE_RANGE = getattr(_LIBC, "sync_file_range", None)
_SYNC_FILE_RANGE_WRITE = 2
HAS_SYNCFS = _SYNCFS is not None
"""Where it is missing, nothing is ever synced as a whole."""
HANDS = 8
"""Syncs under way at once: more gained nothing on any disk that was measured."""


def begin_writeback(descriptor: int, start: int = 0, length: int = 0) -> None:
    """Have the kernel begin to write these bytes out (0: to the end), without waiting."""
    if _SYNC_FILE_RANGE is not None:
        _SYNC_FILE_RANGE(
            descriptor,
            ctypes.c_int64(start),
            ctypes.c_int64(length),
            ctypes.c_uint(_SYNC_FILE_RANGE_WRITE),
        )


def sync_path(path: bytes) -> None:
    """Make what is at `path` durable: a file's bytes, a folder's names. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)  # noqa: TID251 -- the door
    finally:
        os.close(descriptor)


def sync_each(files: Sequence[bytes], folders: Sequence[bytes]) -> None:
    """Make files and folders durable one after the other. Raises OSError."""
    for path in (*files, *folders):
        sync_path(path)


def sync_file_system(folder: bytes) -> None:
    """Make the whole file system of a folder durable, strangers' files too. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _SYNCFS is None or _SYNCFS(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), os.fsdecode(folder))
    finally:
        os.close(descriptor)


def sync_abreast(files: Sequence[bytes], folders: Sequence[bytes], hands: int = HANDS) -> None:
    """Make files and folders durable, several at once; raises the first error (OSError) when all were tried.

    The bytes of all files are on their way before the first is waited for: a journal then commits them together, not
    one by one.
    """
    for path in files if len(files) > 1 else ():
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            begin_writeback(descriptor)
        finally:
            os.close(descriptor)
    _abreast([*files, *folders], sync_path, hands)


def _abreast(items: Sequence[bytes], act: Callable[[bytes], None], hands: int) -> None:
    """Do it for each item; this thread and, while it works, up to `hands` - 1 others."""
    waiting = iter(range(len(items)))
    errors: dict[int, OSError] = {}

    def work() -> None:
        for at in waiting:  # one thread at a time draws from it: the interpreter sees to that
            try:
                act(items[at])
            except OSError as error:
                errors[at] = error

    helpers = []
    for _ in range(min(hands, len(items)) - 1):
        helper = threading.Thread(target=work, name="sync", daemon=True)
        try:
            helper.start()
        except RuntimeError:  # no more threads are allowed: those that are there do it
            break
        helpers.append(helper)
    work()
    for helper in helpers:
        helper.join()
    if errors:
        raise errors[min(errors)]
