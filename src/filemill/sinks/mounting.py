"""Which file system a sink's folder lies on, so that it is noticed when that is unmounted.

An empty folder is left where something was mounted. What is written there now would be hidden as soon as it is mounted
again, so it must not count as published.
"""

from __future__ import annotations

import errno
import os


class Mount:
    """The file system below one folder, as it was when it was last known to be right."""

    def __init__(self, root: bytes) -> None:
        self._root = root
        self._device: int | None = None
        self._below: int | None = None
        """Device of the file system that the folder's is mounted on; None: it is mounted on nothing, or not known."""

    def note(self) -> None:
        """What is there now is right. Raises OSError."""
        device = os.stat(self._root).st_dev
        folder = os.path.realpath(self._root)
        while folder != b"/" and os.stat(os.path.dirname(folder)).st_dev == device:
            folder = os.path.dirname(folder)
        self._device = device
        self._below = os.stat(os.path.dirname(folder)).st_dev if folder != b"/" else None

    def holds(self, device: int) -> bool:
        """Say whether this is the device that was noted; True where none was."""
        return self._device is None or device == self._device

    def check(self) -> None:
        """Note what is there, unless the file system is gone and the one below it shows.

        Raises:
            OSError: it is gone (ENODEV).
        """
        if self._device is None:
            return
        there = os.stat(nearest(self._root)).st_dev
        if there == self._device:
            return
        if there == self._below:
            raise OSError(errno.ENODEV, "its file system is not mounted", os.fsdecode(self._root))
        if os.path.isdir(self._root):
            self.note()


def nearest(folder: bytes) -> bytes:
    """The folder, or the closest one above it that is there."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder
