"""What steps that see a whole file hand from one piece of it to the next: one file in `<data>/states` a piece.

Nothing is synced: a checkpoint has the file's digest, and a state that a power cut took is noticed, as joined bytes
are. It is written by a worker and read by the next one; the server removes it when the piece after it is checkpointed,
and what a crash leaves when it starts.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Collection, Mapping

import msgspec

_PACK = msgspec.msgpack.Encoder().encode
_STATES = msgspec.msgpack.Decoder(dict[str, bytes])


class Carried(msgspec.Struct, frozen=True):
    """One saved state: where it is, and the sha256 of its bytes."""

    path: bytes
    digest: str


class StateLost(Exception):
    """A state is not what was saved: the file has to be begun anew."""


def states_folder(data: str) -> bytes:
    """The folder of all states under a data directory."""
    return os.path.join(os.fsencode(os.path.abspath(data)), b"states")


def save(
    folder: bytes,
    name: bytes,
    states: Mapping[str, bytes],
    seal: Callable[[bytes], bytes] | None = None,
) -> Carried:
    """Write the states of steps, by their ids, to one file of mode 0600, as ciphertext if they can be sealed.

    Raises:
        OSError: the disk is full or failing.
    """
    os.makedirs(folder, 0o700, exist_ok=True)
    packed = _PACK(states)
    if seal is not None:
        packed = seal(packed)
    path = folder + b"/" + name
    with open(path, "wb", opener=_private) as out:
        out.write(packed)
    return Carried(path, hashlib.sha256(packed).hexdigest())


def load(
    carried: Carried, unseal: Callable[[bytes], bytes | None] | None = None
) -> dict[str, bytes]:
    """The states by step; `unseal` answers None for what it cannot open.

    Raises:
        StateLost: they are gone, or not what was saved.
    """
    try:
        with open(carried.path, "rb") as saved:
            packed = saved.read()
    except FileNotFoundError as error:
        raise StateLost from error
    if hashlib.sha256(packed).hexdigest() != carried.digest:
        raise StateLost
    plain = packed if unseal is None else unseal(packed)
    if plain is None:
        raise StateLost
    return _STATES.decode(plain)


def holds(carried: Carried) -> bool:
    """Say whether a state can still be loaded, without holding it in memory."""
    digest = hashlib.sha256()
    try:
        with open(carried.path, "rb") as saved:
            while piece := saved.read(1 << 20):
                digest.update(piece)
    except OSError:
        return False
    return digest.hexdigest() == carried.digest


def discard(carried: Carried) -> None:
    """Remove a state. Never raises: what stays is swept at the next start."""
    with contextlib.suppress(OSError):
        os.unlink(carried.path)  # noqa: TID251 -- scratch: it can be made again from the file


def sweep(data: str, known: Collection[bytes]) -> None:
    """Remove the states that no checkpoint names. No worker may be at work meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(states_folder(data)):
            if entry.path not in known:
                discard(Carried(entry.path, ""))


def _private(path: str | bytes, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
