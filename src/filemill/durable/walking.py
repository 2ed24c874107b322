"""Reaching folders below a trusted root without following anybody's symbolic links."""

from __future__ import annotations

import os

from filemill.durable.actions import IS_LINUX

_FOLDER = os.O_DIRECTORY | os.O_CLOEXEC | (os.O_PATH if IS_LINUX else os.O_RDONLY)


def open_folder(root: bytes, below: bytes) -> int:
    """A descriptor of folder `below` under `root`, to name things in it by; the root itself may be a link.

    It is opened with O_PATH where there is one: good for `dir_fd=` and `/proc/self/fd/N/`, not for reading.

    Raises:
        OSError: it is gone (ENOENT), or a link or something else is on the way (ELOOP, ENOTDIR).
    """
    descriptor = os.open(root, _FOLDER)
    for part in below.split(b"/") if below else ():
        try:
            inner = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


def path_in(descriptor: int, root: bytes, relative: bytes) -> bytes:
    """A path of the file `relative` under `root`, whose folder `descriptor` is, safe for as long as that is open."""
    if IS_LINUX:
        return b"/proc/self/fd/%d/%b" % (descriptor, relative.rpartition(b"/")[2])
    return root + b"/" + relative
