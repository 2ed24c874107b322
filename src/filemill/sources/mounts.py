"""Which mounts tell of every change by events, and which must be polled."""

from __future__ import annotations

import os
import re

_EVENTLESS = frozenset(
    "overlay aufs unionfs nfs nfs4 cifs smb2 smb3 smbfs ncpfs 9p virtiofs vboxsf vmhgfs prl_fs afs ceph "
    "gfs2 ocfs2 lustre beegfs glusterfs davfs".split()
)
"""File systems on which another machine, a host or a lower layer changes files without an event here."""


def file_systems(folder: bytes, mountinfo: str = "/proc/self/mountinfo") -> frozenset[str]:
    """Types of the file systems on which `folder` and whatever is mounted below it are; empty if unknown."""
    real = os.path.realpath(folder)
    holder, types = b"", dict[bytes, str]()
    try:
        with open(mountinfo, "rb") as lines:
            for line in lines:
                before, _, after = line.partition(b" - ")
                point = _unescape(before.split(b" ")[4])
                types[point] = after.split(b" ", 1)[0].decode("ascii", "replace")
                if _holds(point, real) and len(point) >= len(holder):
                    holder = point
    except (FileNotFoundError, IndexError):
        return frozenset()
    return frozenset(
        kind for point, kind in types.items() if point == holder or _holds(real, point)
    )


def without_events(types: frozenset[str]) -> list[str]:
    """Those of `types` whose changes may come without an event, sorted."""
    return sorted(each for each in types if each in _EVENTLESS or each.startswith("fuse"))


def _holds(folder: bytes, path: bytes) -> bool:
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")


def _unescape(raw: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), raw)
