"""What is mounted where, as the kernel tells it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import msgspec

MOUNTINFO = "/proc/self/mountinfo"
MEMORY = frozenset(("tmpfs", "ramfs", "devtmpfs"))
"""File systems without a disk."""


class Mount(msgspec.Struct, frozen=True):
    """One mounted file system."""

    point: bytes
    kind: str
    """`ext4`, `tmpfs`, `nfs4`."""
    told: str
    """Device, kind, source and options: another file system, or another way to mount it, is told differently."""

    def holds(self, path: bytes) -> bool:
        """Say whether a real path is its mount point or below it."""
        return is_below(path, self.point)


def mounts(mountinfo: str = MOUNTINFO) -> list[Mount]:
    """Everything that is mounted, later ones above earlier ones; empty where the system does not say."""
    found = []
    try:
        with open(mountinfo, "rb") as lines:
            for line in lines:
                before, _, after = line.partition(b" - ")
                fields, about = before.split(b" "), after.strip()
                told = b" ".join((fields[2], fields[5], about)).decode("utf-8", "replace")
                kind = about.split(b" ", 1)[0].decode("ascii", "replace")
                found.append(Mount(_unescape(fields[4]), kind, told))
    except (FileNotFoundError, IndexError):
        return []
    return found


def mount_of(folder: bytes, among: Sequence[Mount] | None = None) -> Mount | None:
    """The file system on which a folder is; None if it is unknown."""
    real = os.path.realpath(folder)
    holder = None
    for mount in mounts() if among is None else among:
        if mount.holds(real) and (holder is None or len(mount.point) >= len(holder.point)):
            holder = mount
    return holder


def is_below(path: bytes, folder: bytes) -> bool:
    """Say whether a path is a folder or lies below it."""
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")


def _unescape(raw: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), raw)
