"""Tokens of an identity provider: JSON Web Tokens that one of its published keys signed, for us, and not over.

Which algorithms count is said here and by nobody else. `none` and the shared-secret ones are not among them: with the
latter whoever knows the public key could sign. A token only says by `kid` which of the published keys is meant; what
its header brings along itself (`jwk`, `jku`, `x5u`, `x5c`) is not looked at. Who gets no role may do nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from filemill.model.access import ROLES, Principal
from filemill.model.plan import ClaimPlan, OidcPlan

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
LEEWAY = 30
"""Seconds by which two clocks may differ."""
LONGEST = 16_384
"""Signs of a token."""
LEAST_BITS = 2048
"""Of an RSA key that counts."""
ALL = "*"
_LONGEST_NAME = 200
_FORM = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
_OF_KIND = {"RSA": ("RS256", "PS256"), "EC": ("ES256",), "OKP": ("EdDSA",)}
_WORDS = ("scope", "scp")
"""Claims whose text is a list of words; any other text is one value, blanks and all."""

_BAD = (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, RecursionError)
"""What a library says of a text that is no token."""

ACCESS, ID = "access", "id"
"""Uses of a token."""
_KINDS = ("jwt", "at+jwt")
_NAMED = {ACCESS: "Bearer", ID: "ID"}
"""As some providers call a use in the claim `typ`, others in `token_use`; most in neither."""

Keys = Mapping[tuple[str, str], jwt.PyJWK]
"""By `kid` and algorithm."""


class Unfit(Exception):
    """The token lets nobody in; why is for the audit, not for whoever sent it."""


class NoKeys(Exception):
    """What should be a published set of keys is none."""


class Told(msgspec.Struct, frozen=True):
    """What a token's header says of how to verify it."""

    kid: str
    algorithm: str


def could_be(text: str) -> bool:
    """Say whether a text has the form of a token."""
    return len(text) <= LONGEST and _FORM.fullmatch(text) is not None


def told(text: str) -> Told:
    """How a token wants to be verified; nothing of it is proven.

    Raises:
        Unfit: by nothing that counts here.
    """
    try:
        header = jwt.get_unverified_header(text)
    except _BAD as error:
        raise Unfit(f"no header: {_said(error)}") from error
    kid, algorithm = header.get("kid"), header.get("alg")
    if algorithm not in ALGORITHMS:
        raise Unfit("its algorithm does not count")
    if not isinstance(kid, str) or not 0 < len(kid) <= _LONGEST_NAME:
        raise Unfit("it does not say which key signed it")
    return Told(kid, str(algorithm))


def keys_of(document: Any) -> Keys:
    """The keys of a published set that signatures may be verified with; what does not fit is left out.

    Raises:
        NoKeys: it is no such set.
    """
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise NoKeys("what it publishes is no set of keys")
    found: dict[tuple[str, str], jwt.PyJWK] = {}
    for each in listed:
        if not isinstance(each, dict) or not isinstance(each.get("kid"), str):
            continue
        if each.get("use", "sig") != "sig":
            continue
        for algorithm in _OF_KIND.get(str(each.get("kty")), ()):
            if each.get("alg", algorithm) == algorithm and (key := _key(each, algorithm)):
                found.setdefault((each["kid"], algorithm), key)
    return found


def verified(text: str, key: jwt.PyJWK, *, issuer: str, audience: str, use: str) -> dict[str, Any]:
    """The claims of a token that this key signed, of that issuer, for that audience, for that use, and good now.

    Raises:
        Unfit: it is not all of that.
    """
    try:
        claims: dict[str, Any] = jwt.decode(
            text,
            key,
            algorithms=[key.algorithm_name],
            audience=audience,
            issuer=issuer,
            leeway=LEEWAY,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
    except _BAD as error:
        raise Unfit(_said(error)) from error
    kind = str(jwt.get_unverified_header(text).get("typ", "JWT")).lower()
    if kind.removeprefix("application/") not in _KINDS or claims.get("token_use", use) != use:
        raise Unfit("it is a token for something else")
    if claims.get("typ", _NAMED[use]) != _NAMED[use]:
        raise Unfit("it is a token for something else")
    subject = claims["sub"]
    if not subject or len(subject) > _LONGEST_NAME or not subject.isprintable():
        raise Unfit("its subject is no name")
    return claims


def principal_of(claims: Mapping[str, Any], plan: OidcPlan) -> Principal:
    """Whom verified claims let in, with the roles and the scope that the configuration gives them: maybe none."""
    roles = tuple(role for role in _mapped(claims, plan.roles) if role in ROLES)
    sources = _scope(claims, plan.sources)
    pipelines = _scope(claims, plan.pipelines)
    if sources is None or pipelines is None:
        roles = ()  # an empty scope would be all
    return Principal(
        name=f"oidc:{claims['sub']}",
        roles=roles,
        sources=sources or (),
        pipelines=pipelines or (),
        expires_ns=int(claims["exp"]) * 1_000_000_000,
    )


def _scope(claims: Mapping[str, Any], plan: ClaimPlan | None) -> tuple[str, ...] | None:
    """Names within which somebody is let in, none for all; None: they are not let in."""
    if plan is None:
        return ()
    found = _mapped(claims, plan)
    return () if ALL in found else found or None


def _mapped(claims: Mapping[str, Any], plan: ClaimPlan) -> tuple[str, ...]:
    names = (name for value in _values(claims, plan.claim) for name in plan.map.get(value, ()))
    return tuple(dict.fromkeys(names))


def _values(claims: Mapping[str, Any], name: str) -> Iterable[str]:
    """The texts of a claim; its name as a whole counts before one with dots in it."""
    found: Any = claims.get(name)
    if found is None:
        found = claims
        for part in name.split("."):
            found = found.get(part) if isinstance(found, dict) else None
    if isinstance(found, str):
        return found.split() if name in _WORDS else (found,)
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else ()


def _key(each: dict[str, Any], algorithm: str) -> jwt.PyJWK | None:
    if algorithm == "ES256" and each.get("crv") != "P-256":
        return None
    if algorithm == "EdDSA" and each.get("crv") != "Ed25519":
        return None
    public = {name: value for name, value in each.items() if name != "d"}
    try:
        key = jwt.PyJWK(public, algorithm)
    except (*_BAD, KeyError):
        return None
    if isinstance(key.key, RSAPublicKey) and key.key.key_size < LEAST_BITS:
        return None
    return key


def _said(error: BaseException) -> str:
    return str(error)[:200] or type(error).__name__
