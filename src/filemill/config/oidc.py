"""`web: {oidc: ...}`, the identity provider whose word is taken, and `web: {sessions: ...}`, as pydantic models."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    WithJsonSchema,
)

from filemill.model.access import ROLES
from filemill.model.plan import LOOPBACK, ClaimPlan, OidcPlan, SessionsPlan
from filemill.ports.units import Duration

ALL = "*"
"""In a map of sources or pipelines: no narrower than all of them."""
_ONE_OR_MANY = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


def _checked_issuer(issuer: str) -> str:
    found = urlsplit(issuer)
    if not found.hostname or found.query or found.fragment:
        raise ValueError(f"`{issuer}` is no issuer: write one such as https://login.example.org")
    if found.scheme != "https" and not (found.scheme == "http" and found.hostname in LOOPBACK):
        raise ValueError(
            f"`{issuer}` could be another's on the way: write it with https "
            "(http only for a provider on this machine)"
        )
    return issuer


def _checked_scopes(scopes: list[str]) -> list[str]:
    if "openid" not in scopes:
        raise ValueError("without `openid` among them nobody would be told who logs in: add it")
    return scopes


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: [each] if isinstance(each, str) else each for key, each in value.items()}


def _checked_roles(claim: Claim) -> Claim:
    for words in claim.map.values():
        for word in words:
            if word not in ROLES:
                raise ValueError(f"no role `{word}`: roles are {', '.join(ROLES)}")
    return claim


class Claim(BaseModel):
    """What the values of one claim stand for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    claim: Annotated[str, Field(min_length=1)] = Field(
        description="Name of the claim; `realm_access.roles` is the `roles` within `realm_access`."
    )
    map: Annotated[
        dict[str, list[str]],
        BeforeValidator(_lists),
        WithJsonSchema({"type": "object", "additionalProperties": _ONE_OR_MANY}),
    ] = Field(
        description="By value of the claim, a name or a list of names. A value that is not here gives nothing."
    )

    def plan(self) -> ClaimPlan:
        """What the web child goes by."""
        return ClaimPlan(self.claim, {value: tuple(names) for value, names in self.map.items()})


class Oidc(BaseModel):
    """An OpenID Connect provider: its access tokens are taken as bearer tokens, and browsers log in there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: Annotated[str, AfterValidator(_checked_issuer)] = Field(
        description="Its address, exactly as its tokens name it in `iss`."
    )
    audience: Annotated[str, Field(min_length=1)] = Field(
        description="What its access tokens must name in `aud`."
    )
    roles: Annotated[Claim, AfterValidator(_checked_roles)] = Field(
        description="Which claim says what somebody may do: `{claim: groups, map: {ops: operator}}`. "
        "Whoever gets no role may do nothing."
    )
    sources: Claim | None = Field(
        None,
        description="Which claim says whose files somebody sees, by source; `*` are all. "
        "With it, whoever gets no source may do nothing.",
    )
    pipelines: Claim | None = Field(None, description="The same by pipeline.")
    client_id: str = Field(
        "", description="Under which the provider knows filemill; with it browsers log in there."
    )
    client_secret: Annotated[
        SecretStr,
        WithJsonSchema(
            {
                "type": "object",
                "properties": {"secret": {"type": "string"}},
                "required": ["secret"],
                "additionalProperties": False,
            }
        ),
    ] = Field(SecretStr(""), description="`{secret: NAME}`; unset for a client that has none.")
    scopes: Annotated[list[str], AfterValidator(_checked_scopes)] = Field(
        ["openid", "profile", "email"],
        description="What is asked for when a browser logs in; some tell groups only with a scope of that name.",
    )
    ca: str = Field(
        "",
        description="File with the authorities that sign its certificate, PEM; unless set, those of the machine.",
    )

    def plan(self, root: str) -> OidcPlan:
        """What the web child goes by."""
        return OidcPlan(
            issuer=self.issuer,
            audience=self.audience,
            roles=self.roles.plan(),
            sources=self.sources.plan() if self.sources else None,
            pipelines=self.pipelines.plan() if self.pipelines else None,
            client_id=self.client_id,
            client_secret=self.client_secret.get_secret_value(),
            scopes=tuple(self.scopes),
            ca=os.path.join(root, self.ca) if self.ca else "",
        )

    def unknown(self, sources: list[str], pipelines: list[str]) -> Iterator[tuple[str, str]]:
        """(`sources` or `pipelines`, name) of all that its maps name and nobody else does."""
        for kind, claim, known in (
            ("sources", self.sources, sources),
            ("pipelines", self.pipelines, pipelines),
        ):
            for names in claim.map.values() if claim else ():
                yield from ((kind, name) for name in names if name not in (ALL, *known))


class Sessions(BaseModel):
    """How long a browser stays logged in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    idle: Duration = Field(3600.0, gt=0, description="A login ends when nothing was asked so long.")
    longest: Duration = Field(
        43_200.0, gt=0, description="It ends so long after it began, at most."
    )

    def plan(self) -> SessionsPlan:
        """What the web child goes by."""
        return SessionsPlan(self.idle, self.longest)
