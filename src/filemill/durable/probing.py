"""Trying a folder out: write, sync, rename without replacing, remove. Nothing is left of it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

from filemill.durable.actions import Durable

PREFIX = b".filemill-doctor-"
"""Hidden, so that no source takes it and no consumer expects it."""


@contextlib.contextmanager
def probe_folder(folder: bytes) -> Iterator[bytes]:
    """A folder of our own below `folder`, empty and private; removed with what is in it at the end.

    Raises:
        OSError: nothing can be made there.
    """
    mine = folder + b"/" + PREFIX + os.urandom(8).hex().encode()
    os.mkdir(mine, 0o700)
    try:
        yield mine
    finally:
        for name in os.listdir(mine):
            os.unlink(mine + b"/" + name)  # noqa: TID251 -- a probe: nothing of it need be durable
        os.rmdir(mine)


def make_file(path: bytes) -> None:
    """A small file with mode 0600. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(b"filemill doctor\n")


def sync_seconds(folder: bytes, durable: Durable) -> float:
    """Write a file in `folder` and make it and its name durable; seconds that the syncs took.

    Raises:
        OSError: it cannot be written or synced.
    """
    path = folder + b"/synced"
    make_file(path)
    began = time.monotonic()
    durable.sync_path(path)
    durable.sync_directory(folder)
    return time.monotonic() - began


def keeps_what_is_there(folder: bytes, durable: Durable) -> bool:
    """Say whether a rename in `folder` refuses to replace a file, and moves one where the name is free.

    Raises:
        OSError: it can do neither.
    """
    one, other, free = (folder + b"/" + name for name in (b"one", b"other", b"free"))
    make_file(one)
    make_file(other)
    try:
        durable.rename(one, other)
    except FileExistsError:
        durable.rename(one, free)
        return True
    return False
