"""Who may do what: rights, the roles made of them, and a principal that has roles within a scope.

Nothing is allowed that no role of a principal allows. A scope narrows: with `sources` or `pipelines` named, a principal
sees and touches only files of these; one with the role `uploader` alone sees only files that it sent itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class Right(StrEnum):
    """One thing that may be done. Every route and every act asks for exactly one."""

    UPLOAD = "upload"
    """Send files, and see what became of one's own."""
    VIEW_META = "view-meta"
    """See names, states, tags, counts and errors of files; numbers of the whole system."""
    VIEW_CONTENT = "view-content"
    """Read files and outputs themselves."""
    OPERATE = "operate"
    """Redrive, edit, release, discard, replay, cancel, pause and resume."""
    RELEASE_UNSAFE = "release-unsafe"
    """Let a quarantined file go on."""
    SCRAPE = "scrape"
    """Read `/metrics`."""
    ADMINISTER = "administer"
    """Keys, audit, reload, drain, retention, secrets."""


ROLES: Mapping[str, frozenset[Right]] = {
    "uploader": frozenset({Right.UPLOAD}),
    "viewer-meta": frozenset({Right.VIEW_META}),
    "viewer-content": frozenset({Right.VIEW_META, Right.VIEW_CONTENT}),
    "operator": frozenset({Right.VIEW_META, Right.VIEW_CONTENT, Right.OPERATE}),
    "releaser": frozenset({Right.VIEW_META, Right.RELEASE_UNSAFE}),
    "scraper": frozenset({Right.SCRAPE}),
    "admin": frozenset(Right),
}
"""What each role allows. `releaser` and `scraper` are apart, so that one can be given without anything else."""


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who asks: a person of this machine, a key, or whom an identity provider vouches for."""

    name: str
    """As the audit knows it: `ana`, `key:acme`, `oidc:bo@example.org`."""
    roles: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    """Only files of these sources; none named: of all."""
    pipelines: tuple[str, ...] = ()
    """Only files that a run of one of these has, and only these runs; none named: all."""
    key: str = ""
    """Id of the key it came with; empty: without one."""
    expires_ns: int | None = None

    @property
    def rights(self) -> frozenset[Right]:
        """All that its roles allow; a role that is not known allows nothing."""
        return frozenset().union(*(ROLES.get(role, frozenset()) for role in self.roles))

    def may(self, right: Right) -> bool:
        """Say whether one of its roles allows that."""
        return right in self.rights

    @property
    def sees_own_only(self) -> bool:
        """It may send files but not look at those of others."""
        return self.may(Right.UPLOAD) and not self.may(Right.VIEW_META)
