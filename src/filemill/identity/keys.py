"""Keys: `fm_<id>_<secret><check>`, shown once, and recognised by a hash.

The id (8 letters) names the key in lists and in the audit; it is no secret. The secret is 256 bits of chance, so a
plain keyed hash of it is as good as a slow one. The check is made of id and secret: a scanner for secrets, or whoever
mistyped, can tell a key from a look-alike without asking anybody. No sign in it that a shell or a URL minds.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import zlib
from collections.abc import Callable

import msgspec

from filemill.model.access import Principal
from filemill.model.keys import IN_FORCE, StoredKey

PREFIX = "fm_"
PATTERN = r"fm_[a-z2-7]{8}_[a-z2-7]{52}[a-z2-7]{6}"
"""What a key looks like, for scanners of secrets; the last 6 letters are the check."""
_ID_BYTES, _SECRET_BYTES = 5, 32
_ID, _SECRET, _CHECK = 8, 52, 6
_LONGEST = 128


class NewKey(msgspec.Struct, frozen=True):
    """A key that nobody has seen yet."""

    id: str
    text: str
    """What its owner gets, once."""
    hash: bytes
    """What the ledger gets."""


def make(pepper: bytes) -> NewKey:
    """Make a key by chance."""
    key = _letters(secrets.token_bytes(_ID_BYTES))
    secret = _letters(secrets.token_bytes(_SECRET_BYTES))
    return NewKey(key, f"{PREFIX}{key}_{secret}{_check(key, secret)}", hashed(pepper, secret))


def parse(text: str) -> tuple[str, str] | None:
    """(id, secret) of a text that has the form of a key and the right check; None of any other text."""
    if not text.startswith(PREFIX) or len(text) > _LONGEST or not text.isascii():
        return None
    key, sign, rest = text[len(PREFIX) :].partition("_")
    secret, check = rest[:_SECRET], rest[_SECRET:]
    whole = (len(key), len(secret), len(check)) == (_ID, _SECRET, _CHECK)
    if not sign or not whole or not hmac.compare_digest(check, _check(key, secret)):
        return None
    return key, secret


def hashed(pepper: bytes, secret: str) -> bytes:
    """What is kept of a secret."""
    return hmac.digest(pepper, secret.encode(), hashlib.sha256)


def recognise(
    text: str, pepper: bytes, find: Callable[[str], StoredKey | None], now_ns: int
) -> Principal | None:
    """Whom a key lets in; None if there is none of it, or it is expired or revoked.

    Takes as long for a key that is not known as for a wrong secret of one that is.
    """
    parts = parse(text)
    if parts is None:
        return None
    key, secret = parts
    stored = find(key)
    kept = stored.hash if stored is not None else bytes(hashlib.sha256().digest_size)
    same = hmac.compare_digest(kept, hashed(pepper, secret))
    if stored is None or not same or stored.state(now_ns) != IN_FORCE:
        return None
    return stored.principal


def _letters(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=").lower()


def _check(key: str, secret: str) -> str:
    checksum = zlib.crc32(f"{key}_{secret}".encode()) & 0x3FFFFFFF
    return _letters((checksum << 2).to_bytes(4, "big"))[:_CHECK]
