"""A browser that is logged in, as the ledger keeps it: whose it is, until when, and a hash of its cookie."""

from __future__ import annotations

import hashlib

import msgspec

from filemill.model.access import Principal


class StoredSession(msgspec.Struct, frozen=True, kw_only=True):
    """One login. `id` names it in lists and in the audit; it is no secret."""

    id: str
    hash: bytes
    principal: str
    roles: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    pipelines: tuple[str, ...] = ()
    key: str = ""
    """Id of the key that it was begun with: it ends with that key, and has its rights, not those here."""
    how: str
    """`link`, `key` or `oidc`."""
    trust: str = ""
    """Under which settings an identity provider's word was taken; under others it counts no more."""
    address: str = ""
    created_ns: int
    used_ns: int
    """When something was asked last, to a few seconds."""
    expires_ns: int

    def over(self, now_ns: int, idle: float) -> bool:
        """Whether it is too old, or nothing was asked for so many seconds."""
        return now_ns >= min(self.expires_ns, self.used_ns + int(idle * 1e9))

    @property
    def owner(self) -> Principal:
        """Whom it lets in, where no key says better."""
        return Principal(
            name=self.principal,
            roles=self.roles,
            sources=self.sources,
            pipelines=self.pipelines,
            expires_ns=self.expires_ns,
        )


def hashed(secret: str) -> bytes:
    """What is kept of a cookie or a link: they are 256 bits of chance, so a plain hash is as good as a slow one."""
    return hashlib.sha256(secret.encode()).digest()
