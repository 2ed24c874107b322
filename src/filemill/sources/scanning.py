"""Scans of a folder tree: what is there now, in slices, without following links. The truth behind events."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from filemill.durable.actions import IS_LINUX
from filemill.durable.walking import open_folder
from filemill.model.files import Identity
from filemill.sources.names import Ignore

SLICE = 1000
"""Files a slice: what the event loop takes at once."""

Found = tuple[bytes, Identity | None]
"""Path below the root, and its identity if that was asked for."""


def scan(
    root: bytes,
    below: bytes,
    *,
    ignore: Ignore,
    recursive: bool,
    identities: bool,
    entered: Callable[[bytes, bytes], None],
    unreadable: Callable[[bytes, str], None],
) -> Iterator[list[Found]]:
    """Everything under folder `below` of `root` that is no folder and not ignored, in slices.

    `entered(relative, path)` is called on each folder *before* it is listed (to watch it: what comes after is an
    event, what came before is listed); `path` names it safely. Memory is bounded by the number of folders.
    A folder that vanishes meanwhile is skipped; one that cannot be listed is told to `unreadable`.

    Raises:
        OSError: the folder `below` itself is gone or cannot be listed.
    """
    slice_: list[Found] = []
    folders = [below]
    while folders:
        relative = folders.pop()
        try:
            for inner, entry in _list(root, relative, ignore, entered):
                if entry.is_dir(follow_symlinks=False):
                    if recursive:
                        folders.append(inner)
                    continue
                slice_.append((inner, _identity(entry) if identities else None))
                if len(slice_) >= SLICE:
                    yield slice_
                    slice_ = []
        except OSError as error:
            if relative == below:
                raise
            if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
                unreadable(relative, os.strerror(error.errno or 0))
    if slice_:
        yield slice_


def _list(
    root: bytes, relative: bytes, ignore: Ignore, entered: Callable[[bytes, bytes], None]
) -> Iterator[tuple[bytes, os.DirEntry[bytes]]]:
    prefix = relative + b"/" if relative else b""
    descriptor = open_folder(root, relative)
    try:
        path = b"/proc/self/fd/%d" % descriptor if IS_LINUX else root + b"/" + relative
        entered(relative, path)
        with os.scandir(path) as entries:
            for entry in entries:
                inner = prefix + entry.name
                if not ignore(inner, entry.name):
                    yield inner, entry
    finally:
        os.close(descriptor)


def _identity(entry: os.DirEntry[bytes]) -> Identity | None:
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return None
    return Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
