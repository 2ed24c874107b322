"""Which mounts tell of every change by events, and which must be polled."""

from __future__ import annotations

import os

from filemill.durable.mounts import MOUNTINFO, is_below, mount_of, mounts

_EVENTLESS = frozenset(
    "overlay aufs unionfs nfs nfs4 cifs smb2 smb3 smbfs ncpfs 9p virtiofs vboxsf vmhgfs prl_fs afs ceph "
    "gfs2 ocfs2 lustre beegfs glusterfs davfs".split()
)
"""File systems on which another machine, a host or a lower layer changes files without an event here."""


def file_systems(folder: bytes, mountinfo: str = MOUNTINFO) -> frozenset[str]:
    """Types of the file systems on which `folder` and whatever is mounted below it are; empty if unknown."""
    real = os.path.realpath(folder)
    # What is mounted over another at the same place hides it.
    there = {mount.point: mount for mount in mounts(mountinfo)}
    holder = mount_of(folder, list(there.values()))
    return frozenset(
        mount.kind for mount in there.values() if mount is holder or is_below(mount.point, real)
    )


def without_events(types: frozenset[str]) -> list[str]:
    """Those of `types` whose changes may come without an event, sorted."""
    return sorted(each for each in types if each in _EVENTLESS or each.startswith("fuse"))
