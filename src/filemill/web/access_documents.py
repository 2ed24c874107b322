"""The JSON documents of routes that say who may come in, as `documents` has those of the others."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from msgspec import Meta

from filemill.service import shape_types as t
from filemill.service.access_shapes import Key, KeyId, Login, Verdict
from filemill.web.documents import Moved, Next


class KeyPage(TypedDict):
    """Every key there ever was, the oldest first."""

    schema: Literal["filemill.keys/1"]
    items: list[Key]
    next: Next | None


class NewKey(TypedDict):
    """A key that was made; `key` is told this once."""

    schema: Literal["filemill.key/1"]
    key: Annotated[str, Meta(examples=["fm_7hq2m4xa_..."])]
    id: KeyId
    name: Annotated[str, Meta(examples=["acme"])]
    roles: Annotated[list[str], Meta(examples=[["uploader"]])]
    sources: list[t.Source]
    pipelines: list[t.Pipeline]
    expires_at: t.Time | None


class Revoked(TypedDict):
    """A key that was revoked."""

    id: KeyId
    name: Annotated[str, Meta(examples=["acme"])]
    moved: Moved


class RevokedKeys(TypedDict):
    """Keys that were revoked."""

    schema: Literal["filemill.revoked/1"]
    items: list[Revoked]


class LoginPage(TypedDict):
    """Browsers that are logged in, the oldest first."""

    schema: Literal["filemill.sessions/1"]
    items: list[Login]
    next: Next | None


class Ended(TypedDict):
    """A browser that was logged out."""

    id: str
    principal: t.Person
    moved: Moved


class EndedLogins(TypedDict):
    """Browsers that were logged out."""

    schema: Literal["filemill.sessions-ended/1"]
    items: list[Ended]


class VerdictOfAudit(Verdict):
    """What a look at the whole audit found."""

    schema: Literal["filemill.audit-verdict/1"]
