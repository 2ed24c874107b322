"""Encrypting outputs as they are staged: plain in the worker's scratch, whole and encrypted in the staging folder.

An output waits as a file without a name in the work folder, where columns, compression and what a dropped run leaves
are worked on as ever; when it is whole it is encrypted in one pass into the staged file. So no plain byte of it is ever
in the sink's folder. Size and digest are those of what is published.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from typing import BinaryIO

from filemill.durable import Durable
from filemill.encryption.age import Reads, Writes
from filemill.encryption.piping import through
from filemill.ports.sink import SealedUp

_PIECE = 1 << 20
Encrypt = Callable[[Reads, Writes], int]
"""Encrypts all of one stream into another, and says how many bytes it had."""


def spool() -> int:
    """An open file without a name, in the work folder.

    Raises:
        OSError: there is no room.
    """
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def seal_poured(
    encrypt: Encrypt, pour: Callable[[BinaryIO], None], target: bytes, durable: Durable
) -> SealedUp:
    """Encrypt what `pour` writes into a new file at `target`, in bounded memory.

    Raises:
        OSError: the disk is full or failing.
    """
    with contextlib.suppress(FileNotFoundError):
        durable.unlink(target)  # of an interrupted try
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(target, flags, 0o666)
    try:
        out = _Digesting(descriptor)
        plain = through(pour, lambda source: encrypt(source, out))
    except BaseException:
        with contextlib.suppress(OSError):  # of use to nobody, and its room may be what is missing
            durable.unlink(target)
        raise
    finally:
        os.close(descriptor)
    return SealedUp(out.size, out.digest.hexdigest(), plain)


def scratch(staged: bytes) -> bytes:
    """Where what belongs to a staged file, and is not encrypted, may lie: in the work folder."""
    return os.path.join(os.fsencode(tempfile.gettempdir()), os.path.basename(staged))


class _Digesting:
    """What is written to a descriptor, counted and digested."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        count = os.write(self._descriptor, data)
        self.digest.update(memoryview(data)[:count])
        self.size += count
        return count

    def flush(self) -> None:
        """Nothing waits here."""


def seal(encrypt: Encrypt, plain: int, out: int) -> tuple[int, str, int]:
    """Encrypt a spool into an empty file; size and sha256 of what is there then, and the plain size.

    Raises:
        OSError: the disk is full or failing.
    """
    os.lseek(plain, 0, os.SEEK_SET)
    target = _Digesting(out)
    with open(plain, "rb", buffering=_PIECE, closefd=False) as source:
        count = encrypt(source, target)
    return target.size, target.digest.hexdigest(), count
