"""What syncs on a file system were measured to take, and the file in the data directory that remembers it.

The file is a hint: one that is missing, damaged, or tells of another mount or kernel is as good as none, and so it is
not synced.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Sequence

import msgspec

from filemill.durable.mounts import Mount, mount_of, mounts

NAME = "syncing.json"
MOST = 512
"""No group is larger: what would pay from more on never does."""
WORK_NS = 100_000
"""The processor's time for each file that is synced by itself; others wait for it, if not this group."""
BESIDE = 2
"""How much longer syncfs takes in a server at work: it waits for what the other parts have just written, too."""


class Costs(msgspec.Struct, frozen=True):
    """What syncs on one file system take, in nanoseconds."""

    one: int
    """A lone file and its folder."""
    more: int
    """Each further file, at once with the others."""
    whole: int
    """The whole file system, when a few files are new."""

    def whole_beside(self) -> float:
        """The whole file system, in a server at work."""
        return float(self.whole * BESIDE)

    def apart(self, count: int) -> float:
        """So many files and folders, each by itself, several at once."""
        return float(self.one + self.more * max(0, count - 2))

    @property
    def threshold(self) -> int | None:
        """From so many files and folders on, the whole file system is synced; None: never."""
        missing = self.whole_beside() - self.one
        count = 2 + max(0, math.ceil(missing / (self.more + WORK_NS)))
        return count if count <= MOST else None


class Measurement(msgspec.Struct, frozen=True):
    """The costs of one file system, and when and where they were measured."""

    place: str
    """A folder on it."""
    mount: str
    """What the kernel told of it then."""
    kernel: str
    at_ns: int
    costs: Costs

    def holds(self, among: Sequence[Mount] | None = None) -> bool:
        """Say whether the place is on what is mounted as it was then, under the same kernel."""
        mount = mount_of(os.fsencode(self.place), among)
        return (
            mount is not None
            and mount.told == self.mount
            and self.kernel == os.uname().release
            and os.path.isdir(self.place)
        )


_FILE = msgspec.json.Decoder(tuple[Measurement, ...])


def recall(path: str) -> dict[int, Measurement]:
    """What is remembered and still holds, by device."""
    try:
        with open(path, "rb") as file:
            remembered = _FILE.decode(file.read())
    except (OSError, msgspec.DecodeError):
        return {}
    among, found = mounts(), {}
    for each in remembered:
        if each.holds(among):
            with contextlib.suppress(OSError):  # unmounted just now
                found[os.stat(each.place).st_dev] = each
    return found


def remember(path: str, measured: Sequence[Measurement]) -> None:
    """Put this in the place of what was remembered. Raises OSError."""
    fresh = path + ".new"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(measured)))
    os.rename(fresh, path)  # noqa: TID251 -- a hint that need not last
