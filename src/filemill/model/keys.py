"""A key as the ledger keeps it: what it allows, and a hash that its secret is compared with. Never the secret."""

from __future__ import annotations

import msgspec

from filemill.model.access import Principal

IN_FORCE, EXPIRED, REVOKED = "in force", "expired", "revoked"


class StoredKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key. `id` names it in lists and in the audit, `name` says whose it is."""

    id: str
    name: str
    roles: tuple[str, ...]
    hash: bytes
    created_ns: int
    created_by: str
    sources: tuple[str, ...] = ()
    pipelines: tuple[str, ...] = ()
    expires_ns: int | None = None
    used_ns: int | None = None
    """When it was used last, to a minute or so."""
    revoked_ns: int | None = None

    @property
    def principal(self) -> Principal:
        """Whom it lets in. A later key of the same name is the same principal: it sees what this one sent."""
        return Principal(
            name=f"key:{self.name}",
            roles=self.roles,
            sources=self.sources,
            pipelines=self.pipelines,
            key=self.id,
            expires_ns=self.expires_ns,
        )

    def state(self, now_ns: int) -> str:
        """Whether it opens anything now."""
        if self.revoked_ns is not None:
            return REVOKED
        return EXPIRED if self.expires_ns is not None and self.expires_ns <= now_ns else IN_FORCE


class Access(msgspec.Struct, frozen=True):
    """Something that the audit must know though the ledger did not change: a login, a denial, a download."""

    principal: str
    at_ns: int
    action: str
    object: str
    detail: dict[str, str | int | bool | None] = {}
