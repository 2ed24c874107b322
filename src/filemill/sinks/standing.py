"""What stands at a name of a folder sink: the very file that was staged, or one that it may take the place of."""

from __future__ import annotations

import errno
import hashlib
import os
import stat

from filemill.model.runs import Publication


def is_ours(path: bytes, publication: Publication) -> bool:
    """Say whether `path` is the very file that was staged."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno == errno.ENOTDIR:
            return False
        raise
    if status.st_ino != publication.inode:
        return False
    if status.st_dev == publication.device:
        return True
    # Device numbers are given anew at each start of the machine; then only the bytes tell.
    return stat.S_ISREG(status.st_mode) and _has_bytes(path, publication.size, publication.digest)


def may_be_replaced(target: bytes, publication: Publication) -> bool:
    """Say whether what stands there is, byte for byte, what it may take the place of."""
    try:
        regular = stat.S_ISREG(os.lstat(target).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return regular and _has_bytes(target, publication.over_size, publication.over_digest)


def _has_bytes(path: bytes, size: int, digest: str) -> bool:
    """Say whether the file has exactly these bytes, by their sha256."""
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size != size:
            return False
        return hashlib.file_digest(file, "sha256").hexdigest() == digest
