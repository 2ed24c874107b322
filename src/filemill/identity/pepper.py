"""The pepper: 32 bytes of chance in `<data>/pepper` (0600), without which the hashes in a ledger are worth nothing.

Whoever gets hold of the ledger alone cannot try secrets against it. It is made, durably, when the first key is; it goes
with the data directory, and a backup carries it. A ledger without its pepper knows no key any more: make new ones.
"""

from __future__ import annotations

import os
import secrets

from filemill.durable import Durable
from filemill.model.errors import SystemFault

NAME = "pepper"
_BYTES = 32


def read(data: str) -> bytes | None:
    """The pepper of a data directory; None when no key was ever made there.

    Raises:
        SystemFault: it cannot be read, or is none.
    """
    path = os.path.join(data, NAME)
    try:
        with open(path, "rb") as file:
            pepper = file.read(_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SystemFault(
            f"the pepper {path} cannot be read: {error.strerror}",
            help="it must be a file of the user that filemill runs as, mode 0600",
        ) from error
    if len(pepper) != _BYTES:
        raise SystemFault(
            f"the pepper {path} has not {_BYTES} bytes",
            help="put it back from a backup; or remove it, revoke all keys and make new ones",
        )
    return pepper


def ensure(data: str, durable: Durable) -> bytes:
    """The pepper of a data directory, made if it has none. The caller holds the instance lock.

    Raises:
        SystemFault: it can be neither read nor made.
    """
    pepper = read(data)
    path = os.path.join(data, NAME)
    try:
        if pepper is None:
            pepper = secrets.token_bytes(_BYTES)
            _write(path, pepper, durable)
        # Also of one that is there: whoever made it may have been killed before its name was durable.
        durable.sync_directory(os.fsencode(data))
    except OSError as error:
        raise SystemFault(
            f"the pepper {path} cannot be made: {error.strerror}",
            help="the data directory must be writable",
        ) from error
    return pepper


def _write(path: str, pepper: bytes, durable: Durable) -> None:
    part = f"{path}.part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with open(os.open(part, flags, 0o600), "wb") as file:
        file.write(pepper)
        file.flush()
        durable.sync_file(file.fileno())
    durable.replace(os.fsencode(part), os.fsencode(path))
