"""The files that are to be sent, looked at before anything is: a word that is none costs nobody a half-done job."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec

from filemill.model.errors import PermanentError, UsageError, plainly
from filemill.telemetry.wording import printable

PIECE = 256 << 10
_HASHED = 16 << 20
_SHOWN = 5


class Sendable(msgspec.Struct, frozen=True):
    """One file as it was when it was looked at."""

    path: bytes
    name: bytes
    size: int
    modified_ns: int


class Changed(PermanentError):
    """The file is another one than it was when it was looked at."""

    help = "send it when nobody writes to it"


def look_at(paths: Sequence[bytes]) -> list[Sendable]:
    """The files, each once, in the order of the words.

    Raises:
        UsageError: some are none that can be sent: folders, missing, not readable. Nothing was sent.
    """
    found: dict[bytes, Sendable] = {}
    wrong: list[str] = []
    for path in paths:
        why = _why_not(path)
        if why:
            wrong.append(f"{printable(path)}: {why}")
            continue
        status = os.stat(path)
        name = os.path.basename(path)
        found[os.path.abspath(path)] = Sendable(path, name, status.st_size, status.st_mtime_ns)
    if wrong:
        more = f"\n... and {len(wrong) - _SHOWN:,} more" if len(wrong) > _SHOWN else ""
        raise UsageError(
            "\n".join(wrong[:_SHOWN]) + more,
            help="nothing was sent; files are sent, a folder's by FOLDER/*",
        )
    return list(found.values())


def _why_not(path: bytes) -> str:
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            return "is a folder"
        if not stat.S_ISREG(mode):
            return "is no file"
        with open(path, "rb"):
            return ""
    except OSError as error:
        return "there is no such file" if isinstance(error, FileNotFoundError) else plainly(error)


class Reading:
    """The bytes of one file, read in order or from anywhere. Blocks: call it in a thread."""

    def __init__(self, file: Sendable) -> None:
        """Open it.

        Raises:
            Changed: it is not there any more, or another one.
        """
        self._file = file
        try:
            self._descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Changed(f"it cannot be read any more: {plainly(error)}") from error
        status = os.fstat(self._descriptor)
        if (status.st_size, status.st_mtime_ns) != (file.size, file.modified_ns):
            self.close()
            raise Changed("it changed while it was sent")

    def piece(self, at: int) -> bytes:
        """The next bytes from there; never nothing before the end.

        Raises:
            Changed: it ends earlier than it did.
        """
        wanted = min(PIECE, self._file.size - at)
        try:
            piece = os.pread(self._descriptor, wanted, at)
        except OSError as error:
            raise Changed(f"it cannot be read: {plainly(error)}") from error
        if wanted and not piece:
            raise Changed("it became shorter while it was sent")
        return piece

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)


async def pieces(file: Sendable, at: int, sent: Callable[[int], None]) -> AsyncIterator[bytes]:
    """Its bytes from there; `sent` is told, behind each piece, how far it is.

    Raises:
        Changed: it is not the file it was.
    """
    reading = await asyncio.to_thread(Reading, file)
    try:
        while at < file.size:
            piece = await asyncio.to_thread(reading.piece, at)
            yield piece
            at += len(piece)
            sent(at)
    finally:
        reading.close()


async def digest_of(file: Sendable) -> bytes:
    """sha256 of its bytes.

    Raises:
        Changed: it is not the file it was.
    """
    digest, at = hashlib.sha256(), 0
    reading = await asyncio.to_thread(Reading, file)

    def hash_some(at: int) -> int:
        ends = min(at + _HASHED, file.size)
        while at < ends:
            piece = reading.piece(at)
            digest.update(piece)
            at += len(piece)
        return at

    try:
        while at < file.size:  # in pieces, so that Ctrl-C waits for one of them only
            at = await asyncio.to_thread(hash_some, at)
    finally:
        reading.close()
    return digest.digest()
