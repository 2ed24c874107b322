"""Keys, logins and what is found of the audit, as JSON documents; nothing in them opens anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypedDict

from msgspec import Meta

from filemill.service import shape_types as t
from filemill.telemetry.wording import utc

if TYPE_CHECKING:
    from filemill.model.keys import StoredKey
    from filemill.model.sessions import StoredSession
    from filemill.queries import AuditVerdict

KeyId = Annotated[str, Meta(description="id of a key; no secret", examples=["7hq2m4xa"])]


class Key(TypedDict):
    """Whose a key is and what it allows; never the key itself."""

    id: KeyId
    name: Annotated[str, Meta(examples=["acme"])]
    state: Annotated[str, Meta(examples=["in force"])]
    roles: Annotated[list[str], Meta(examples=[["uploader"]])]
    sources: list[t.Source]
    pipelines: list[t.Pipeline]
    created_at: t.Time
    created_by: Annotated[str, Meta(examples=["ana"])]
    expires_at: t.Time | None
    used_at: t.Time | None
    revoked_at: t.Time | None


class Verdict(TypedDict):
    """Whether the audit's chain is whole; `head`, noted elsewhere, proves its end to a later look."""

    whole: bool
    rows: t.Count
    first: Annotated[int, Meta(examples=[1])]
    last: Annotated[int, Meta(examples=[1234])]
    head: Annotated[str, Meta(examples=["1234:9f2c"])]
    removed: Annotated[int, Meta(description="rows that retention took", examples=[0])]
    removed_until: t.Time | None
    wrong: Annotated[int, Meta(description="number of the first row that is wrong")] | None
    problem: str | None


class Login(TypedDict):
    """A browser that is logged in."""

    id: str
    principal: t.Person
    how: Annotated[str, Meta(description="link, key or oidc", examples=["oidc"])]
    roles: Annotated[list[str], Meta(examples=[["operator"]])]
    sources: list[t.Source]
    pipelines: list[t.Pipeline]
    key: KeyId | None
    address: Annotated[str, Meta(examples=["192.0.2.7"])] | None
    created_at: t.Time
    used_at: t.Time
    expires_at: t.Time


def key_row(key: StoredKey, now_ns: int) -> Key:
    """A key as in `filemill.keys/1`; nothing that opens anything."""
    return {
        "id": key.id,
        "name": key.name,
        "state": key.state(now_ns),
        "roles": list(key.roles),
        "sources": list(key.sources),
        "pipelines": list(key.pipelines),
        "created_at": utc(key.created_ns),
        "created_by": key.created_by,
        "expires_at": utc(key.expires_ns or 0) or None,
        "used_at": utc(key.used_ns or 0) or None,
        "revoked_at": utc(key.revoked_ns or 0) or None,
    }


def session_row(each: StoredSession) -> Login:
    """A session as in `filemill.sessions/1`; nothing that opens anything."""
    return {
        "id": each.id,
        "principal": each.principal,
        "how": each.how,
        "roles": list(each.roles),
        "sources": list(each.sources),
        "pipelines": list(each.pipelines),
        "key": each.key or None,
        "address": each.address or None,
        "created_at": utc(each.created_ns),
        "used_at": utc(each.used_ns),
        "expires_at": utc(each.expires_ns),
    }


def audit_verdict(found: AuditVerdict) -> Verdict:
    """What a look at the whole audit found."""
    return {
        "whole": not found.problem,
        "rows": found.rows,
        "first": found.first,
        "last": found.last,
        "head": found.head,
        "removed": found.removed,
        "removed_until": utc(found.removed_until_ns) or None,
        "wrong": found.wrong or None,
        "problem": found.problem or None,
    }
