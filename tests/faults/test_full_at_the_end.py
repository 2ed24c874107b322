"""A disk that is full at the very last bytes of what is encrypted or opened: it is an error, never a short file."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import pyrage
import pytest

from filemill.contents.local import LocalContent
from filemill.durable import Durable, Failpoints
from filemill.encryption.age import Opener, Sealer

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small_disk")
PAGE = 4096
IDENTITY = pyrage.x25519.Identity.generate()
SEALER, OPENER = Sealer([str(IDENTITY.to_public())]), Opener(str(IDENTITY))
CHUNK = 64 << 10
"""What age encrypts at a time; of less than 8 KiB at the end it does not say itself that they could not be written."""


def leave(place: Path, room: int) -> None:
    """Fill this file system until it has so many bytes."""
    with open(place / ".ballast", "wb", buffering=0) as out:
        free = os.statvfs(place)
        os.posix_fallocate(out.fileno(), 0, max(1, free.f_bavail * free.f_frsize - room))
    free = os.statvfs(place)
    assert free.f_bavail * free.f_frsize == room


def writes(place: Path, plain: bytes):
    """Every way in which something is encrypted, or opened, into a file: (its path, doing it)."""
    content = LocalContent(os.fsencode(place / "content"), Durable(Failpoints("test")), SEALER)
    content.open()
    (reference,) = content.reserve(["abcdefghijklm"])
    into = Path(os.fsdecode(content.path(reference)))
    target = place / "target"
    sealed = SEALER.data(plain)

    def to(buffering: int, write) -> None:
        with open(target, "wb", buffering=buffering) as out:
            write(out)

    return {
        "content": (into, lambda: content.copy(io.BytesIO(plain), reference)),
        "sealed": (target, lambda: to(1 << 20, lambda o: SEALER.stream(io.BytesIO(plain), o))),
        "unbuffered": (target, lambda: to(0, lambda o: SEALER.stream(io.BytesIO(plain), o))),
        "opened": (
            target,
            lambda: to(1 << 20, lambda o: OPENER.stream(io.BytesIO(sealed), o, ours=True)),
        ),
        "opened unbuffered": (
            target,
            lambda: to(0, lambda o: OPENER.stream(io.BytesIO(sealed), o, ours=True)),
        ),
    }


@pytest.mark.parametrize("how", ["content", "sealed", "unbuffered", "opened", "opened unbuffered"])
@pytest.mark.parametrize(
    ("size", "room"), [(10, 0), (5 * PAGE, 1), (5 * PAGE, 4), (CHUNK + PAGE + 900, 17)]
)
def test_the_last_bytes_have_no_room(small_disk: Path, how: str, size: int, room: int) -> None:
    plain = os.urandom(size)
    path, write = writes(small_disk, plain)[how]
    leave(small_disk, room * PAGE)
    with pytest.raises(OSError, match="No space left") as full:
        write()
    assert full.value.errno == errno.ENOSPC
    assert how != "content" or not path.exists()
    os.unlink(small_disk / ".ballast")
    write()
    found = path.read_bytes()
    assert (found if how.startswith("opened") else pyrage.decrypt(found, [IDENTITY])) == plain
