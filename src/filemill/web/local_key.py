"""`<data>/local.key`: the key of whoever may read the data directory, so that `curl` on this machine needs no other.

It is made when it is missing, mode 0600, and lasts until it is removed: the next start makes another one.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat

NAME = "local.key"
PREFIX = "fm_local_"


def local_key(data: str) -> str:
    """The key, made if it is missing.

    Raises:
        OSError: it cannot be read or made, or others may read it.
    """
    path = os.path.join(data, NAME)
    if not os.path.exists(path):
        _make(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    with os.fdopen(descriptor, encoding="ascii") as file:
        status = os.fstat(file.fileno())
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise PermissionError(f"{path} can be read by others: chmod 600 {path}")
        return file.read().strip()


def _make(path: str) -> None:
    """Whole or not at all: an empty key would open nothing, and an old one of a killed start is no harm."""
    draft = f"{path}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(draft, flags, 0o600), "w", encoding="ascii") as file:
        file.write(f"{PREFIX}{secrets.token_urlsafe(32)}\n")
    os.rename(draft, path)  # noqa: TID251 -- one that is lost is made anew


def is_it(given: str, key: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(given.encode(), key.encode())
