"""Files that have no name while they are made: of whoever is killed meanwhile, nothing stays.

The kernel frees such a file with its last descriptor (`O_TMPFILE`, open(2)); what is whole is linked under a name.
"""

from __future__ import annotations

import errno
import os

from filemill.durable import Durable

_NONE_HERE = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS}
"""How file systems, and kernels, say that they make no such files."""


def make_unnamed(folder: bytes) -> int:
    """A new file in this folder, open for reading and writing; -1 where there are none without a name.

    Raises:
        OSError: there is no such folder, or no room.
    """
    if not hasattr(os, "O_TMPFILE") or not os.path.isdir("/proc/self/fd"):
        return -1
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in _NONE_HERE:
            return -1
        raise


def give_name(descriptor: int, path: bytes, durable: Durable) -> None:
    """Link such a file, which is this user's own, in the place of what an interrupted try may have left there.

    Raises:
        OSError: there is no room for a name, or the folder is gone.
    """
    try:
        durable.name_file(descriptor, path)
    except FileExistsError:
        durable.unlink(path)
        durable.name_file(descriptor, path)
