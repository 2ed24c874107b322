"""The process that walks one archive: `python -m filemill.envelopes.walking FD LIMITS PARENT`.

It limits itself before it looks at a byte (time on a CPU, memory, size and number of files, no further process),
writes each entry to a file in its working folder that is named by a number, and lists them in `MANIFEST`. It never
makes a file by an entry's name. Its caller (`unpacking`) believes nothing of what it says without looking.
"""

from __future__ import annotations

import contextlib
import ctypes
import lzma
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from typing import BinaryIO

import msgspec

from filemill.envelopes import compression, tars, zips
from filemill.envelopes.entries import Limits, Refused
from filemill.envelopes.tars import Entry
from filemill.model.errors import PermanentError

MANIFEST = "manifest"
MEMORY = 1 << 30
"""Bytes of address space."""
OPEN_FILES = 16
_CPU = 60
_SLOWEST = 20 << 20
"""Bytes a second on a slow machine: what the limit of time is reckoned by."""
_PR_SET_PDEATHSIG = 1


class Listed(msgspec.Struct, frozen=True, array_like=True):
    """One unpacked entry: its file is named by its number."""

    number: int
    path: bytes
    size: int


class Manifest(msgspec.Struct, frozen=True):
    """How the walk ended: all entries, or why there are none."""

    entries: tuple[Listed, ...] = ()
    error: str = ""
    """Class of the error."""
    message: str = ""
    help: str = ""
    errno: int = 0
    """Of an error of the machine (a full disk)."""


def limit(limits: Limits) -> None:
    """Bind this process, for good."""
    seconds = _CPU + limits.size // _SLOWEST
    for which, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, limits.size + (1 << 20)),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_NPROC, 0),
    ):
        _, hard = resource.getrlimit(which)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)  # noqa: PLW2901 -- capped
        resource.setrlimit(which, (most, most))


def walk(source: BinaryIO, limits: Limits) -> list[Listed]:
    """Write every entry to the working folder.

    Raises:
        PermanentError: the archive is damaged, refused or over its limits.
        OSError: the disk.
    """
    size = os.fstat(source.fileno()).st_size
    listed: list[Listed] = []
    found, taken = _entries(source, limits, size)
    budget = compression.Budget(limits.size, limits.ratio, "the archive")
    for number, (path, data) in enumerate(found):
        if number >= limits.entries:
            raise compression.OverBudget(
                f"the archive has more than {limits.entries:,} entries",
                help="if that is right, raise `max_entries` of this step",
            )
        listed.append(Listed(number, path, _write(str(number), data, budget, taken)))
    return listed


def _entries(
    source: BinaryIO, limits: Limits, size: int
) -> tuple[Iterator[Entry], Callable[[], int]]:
    """The archive's entries, and what tells how many of its bytes have been read."""
    head = os.pread(source.fileno(), tars.BLOCK, 0)
    if head.startswith(zips.MAGIC):
        return zips.entries(source, limits), lambda: size
    kind = compression.kind_of(head)
    if kind:
        budget = compression.Budget(2 * limits.size, limits.ratio, "the archive")
        plain = _Joined(compression.expand(source.read, kind, budget))
        if not tars.is_tar(plain.peek(tars.BLOCK)):
            raise Refused(
                f"the {compression.NAMES[kind]} file holds no tar archive",
                help="a single compressed file is for `decompress`",
            )
        return tars.entries(plain.read), source.tell
    if tars.is_tar(head):
        return tars.entries(source.read), lambda: size
    raise Refused(
        "this is no archive: neither zip nor tar, nor a compressed tar",
        help="subscribe by what files are: `tags: {zipped: {mime: application/zip}}` and `when: zipped`",
    )


class _Joined:
    """Pieces as a stream of bytes."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._waiting = b""
        self._at = 0

    def peek(self, wanted: int) -> bytes:
        while len(self._waiting) < wanted and (more := next(self._pieces, b"")):
            self._waiting += more
        return self._waiting[:wanted]

    def read(self, most: int) -> bytes:
        if self._at == len(self._waiting):
            self._waiting, self._at = next(self._pieces, b""), 0
        data = self._waiting[self._at : self._at + most]
        self._at += len(data)
        return data


def _write(
    name: str, data: Iterator[bytes], budget: compression.Budget, taken: Callable[[], int]
) -> int:
    size = 0
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with open(os.open(name, flags, 0o600), "wb", buffering=0) as out:
        for piece in data:
            budget.spend(len(piece), taken())
            view = memoryview(piece)
            while view:
                view = view[out.write(view) :]
            size += len(piece)
    return size


def _walked(descriptor: int, limits: Limits) -> Manifest:
    try:
        with open(descriptor, "rb", buffering=0) as source:
            return Manifest(tuple(walk(source, limits)))
    except PermanentError as error:
        return Manifest(error=type(error).__name__, message=error.message, help=error.help)
    except (MemoryError, lzma.LZMAError):
        return Manifest(
            error="OverBudget",
            message=f"unpacking takes more than {MEMORY >> 20} MiB of memory",
            help="it may be a bomb; else have it packed with a smaller dictionary",
        )
    except OSError as error:
        return Manifest(error="OSError", message=str(error), errno=error.errno or 0)


def main(arguments: list[str]) -> int:
    """Walk the archive behind a descriptor; the exit code is 0 whenever there is a manifest."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(arguments[2]):
        return 1  # whoever wanted it is gone already
    limits = msgspec.json.decode(arguments[1], type=Limits)
    limit(limits)
    manifest = _walked(int(arguments[0]), limits)
    if manifest.error:
        for name in os.listdir("."):
            with contextlib.suppress(OSError):
                os.unlink(name)  # noqa: TID251 -- scratch: nothing of it has to last
    with open(MANIFEST, "xb") as out:
        out.write(msgspec.msgpack.encode(manifest))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
