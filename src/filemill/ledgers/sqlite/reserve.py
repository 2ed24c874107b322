"""The reserve file: room on the ledger's disk that nobody else can take.

While the disk has room, `<data>/reserve` holds some MiB of it. When a commit finds the disk full, the file goes, and
the same commit is made in the room that it leaves: what workers have in hand comes to its end, is published and is
done. From then on the ledger begins nothing new (`spent`), so that the room lasts; that is said as any full disk is.
When there is room for the file once more, and as much again, it is made anew and everything goes on.
"""

from __future__ import annotations

import contextlib
import errno
import os

NAME = "reserve"
"""Its name in the data directory."""
USUAL = 16 << 20
"""Bytes of the file, on disks of a GiB and more."""
SHARE = 64
"""Of a smaller disk it takes this part."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Reserve:
    """The reserve file of a data directory. Used by one thread.

    `size` 0 is for none; None is for commands without a server: they give up what is there and make none.
    """

    def __init__(self, data: str, size: int | None = None) -> None:
        self._path = os.path.join(data, NAME)
        self._size = size
        self.spent = False
        """It was given up, or never could be made, and there is no room for it yet."""

    @property
    def size(self) -> int:
        """Bytes that it has now."""
        try:
            return os.stat(self._path).st_size
        except OSError:
            return 0

    def prepare(self) -> None:
        """Have the file as it should be, if there is room."""
        if self._size is None:
            return
        if self._size and self.size == self._size:
            return
        with contextlib.suppress(OSError):
            os.unlink(self._path)  # noqa: TID251 -- it holds no byte of anybody's
        self.spent = not self.renew()

    def give_up(self) -> bool:
        """Let go of the file; False if there is none."""
        try:
            os.unlink(self._path)  # noqa: TID251 -- it holds no byte of anybody's
        except OSError:
            return False
        self.spent = self._size is not None
        return True

    def renew(self) -> bool:
        """Make the file anew if it is gone; False while there is no room for it."""
        if not self._size:
            return True
        made = False
        try:
            disk = os.statvfs(os.path.dirname(self._path))
            if disk.f_bavail * disk.f_frsize < 2 * self._size:
                return False
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(self._path, flags, 0o600)
            made = True
            try:
                os.posix_fallocate(descriptor, 0, self._size)
            finally:
                os.close(descriptor)
        except FileExistsError:
            pass  # given up by nobody
        except OSError as error:
            if made:
                with contextlib.suppress(OSError):
                    os.unlink(self._path)  # noqa: TID251 -- it holds no byte of anybody's
            if error.errno in _FULL:
                return False
            self._size = 0  # this file system knows no such thing: it works without
        self.spent = False
        return True


def reserve_size(data: str, most: int | None) -> int:
    """How big a data directory's reserve file is: `USUAL`, less on a small disk, never over `most` (`reserve:`)."""
    disk = os.statvfs(data)
    size = min(USUAL, disk.f_blocks * disk.f_frsize // SHARE)
    return size if most is None else min(size, most)
