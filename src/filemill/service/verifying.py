"""Whether what the ledger says of its own file and of content is so. Changes nothing; works beside a server."""

from __future__ import annotations

import hashlib
import os

import msgspec

from filemill.contents.local import LocalContent
from filemill.durable import Durable, Failpoints
from filemill.encryption.age import (
    Corrupt,
    Opener,
    WrongKey,
    key_in,
    key_of,
    sealed_size,
)
from filemill.ledgers.sqlite.health import Health, Stored
from filemill.service.backups import Told, digest_of
from filemill.service.collecting import ledger_of, must_exist
from filemill.service.encrypting import noted, opener_of

_MOST = 1_000


class Verdict(msgspec.Struct, frozen=True):
    """What was found."""

    ledger: tuple[str, ...]
    """What is wrong with the ledger's file."""
    content: tuple[tuple[str, str], ...]
    """(reference, what is wrong) of bytes that the ledger needs; at most a thousand."""
    looked: int
    """How many were looked at."""
    unknown: int
    """Bytes that no row names: kept, because they may be somebody's only copy."""

    @property
    def sound(self) -> bool:
        """Nothing is wrong."""
        return not (self.ledger or self.content)


def verify(data: str, told: Told, *, deep: bool = False) -> Verdict:
    """Look at the ledger's file, and at every content it needs; `deep` reads all content and compares digests.

    What is encrypted has its length without an identity; its digest is of the plain bytes, and `deep` needs it.

    Raises:
        UsageError: there is no ledger, or it is of another version, or there is no identity for `deep`.
        SystemFault: the ledger cannot be opened at all.
    """
    must_exist(data)
    content = LocalContent(
        os.path.join(os.fsencode(data), b"content"), Durable(Failpoints("verify"))
    )
    looked = 0
    encryption = noted(data)
    opener = opener_of(data) if deep and encryption is not None else None
    ours = key_of(encryption.recipients) if encryption is not None else ""
    with Health.open(ledger_of(data)) as health:
        ledger = health.problems()
        if ledger:
            return Verdict(tuple(ledger), (), 0, 0)
        listed = content.references() if os.path.isdir(content.root) else []
        total, _ = health.stored_count()
        suspects: list[tuple[Stored, str]] = []
        for stored in health.stored():
            looked += 1
            told("looking", "file", looked, total)
            if stored.state == "claiming":
                continue
            said = _wrong(content, stored, opener, ours, deep=deep)
            if said is not None:
                suspects.append((stored, said))
    # What was given up while this was looking is not wrong.
    with Health.open(ledger_of(data)) as again:
        needed = {stored.reference for stored in again.stored()} if suspects else set[str]()
        wrong = [(s.reference, said) for s, said in suspects if s.reference in needed]
        named = again.named()
        unknown = sum(reference not in named for reference in listed)
    return Verdict((), tuple(wrong[:_MOST]), looked, unknown)


def _wrong(
    content: LocalContent, stored: Stored, opener: Opener | None, ours: str, *, deep: bool
) -> str | None:
    path = content.path(stored.reference)
    try:
        size = os.stat(path).st_size
        if key_in(stored.reference):
            return _wrong_sealed(path, stored, size, opener if deep else None, ours)
        if stored.size >= 0 and size != stored.size:
            return f"has {size:,} bytes, it had {stored.size:,}"
        if deep and stored.digest and digest_of(path) != stored.digest:
            return "is not what it was"
    except FileNotFoundError:
        return "is gone"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None


def _wrong_sealed(
    path: bytes, stored: Stored, size: int, opener: Opener | None, ours: str
) -> str | None:
    with open(path, "rb") as source:
        wanted = sealed_size(source, stored.size)
        if stored.size >= 0 and wanted < 0:
            return f"is not whole: what is encrypted are not the {stored.size:,} bytes it had"
        if stored.size >= 0 and size != wanted:
            return f"has {size:,} bytes, encrypted it had {wanted:,}"
        if opener is None:
            return None
        digest = _Digest()
        try:
            opener.stream(source, digest, ours=key_in(stored.reference) == ours)
        except (Corrupt, WrongKey) as error:
            return error.message
    return "is not what it was" if stored.digest not in ("", digest.hex()) else None


class _Digest:
    """What is written to it is only digested."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return len(data)

    def flush(self) -> None:
        """Nothing waits here."""

    def hex(self) -> str:
        """sha256 so far."""
        return self._digest.hexdigest()
