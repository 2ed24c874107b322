"""A token lets in whom the provider vouches for, and nothing that is like one does."""

import base64
import json
import time

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from filemill.identity import tokens
from filemill.identity.tokens import Unfit
from filemill.model.plan import ClaimPlan, OidcPlan

ISSUER, AUDIENCE = "https://login.example.org", "filemill"
PLAN = OidcPlan(
    issuer=ISSUER,
    audience=AUDIENCE,
    roles=ClaimPlan("groups", {"ops": ("operator",), "both": ("uploader", "viewer-meta")}),
)
PRIVATE = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
PRIVATE["PS256"] = PRIVATE["RS256"]


def published(algorithm, **more):
    made = jwt.get_algorithm_by_name(algorithm).to_jwk(
        PRIVATE[algorithm].public_key(), as_dict=True
    )
    return {**made, "kid": algorithm, "use": "sig"} | more


KEYS = tokens.keys_of({"keys": [published(algorithm) for algorithm in ("RS256", "ES256", "EdDSA")]})
PEM = (
    PRIVATE["RS256"]
    .public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
)


def claims(**more):
    now = int(time.time())
    made = {"iss": ISSUER, "aud": AUDIENCE, "sub": "bo", "iat": now, "exp": now + 300}
    return {name: value for name, value in (made | more).items() if value is not None}


def signed(said=None, algorithm="RS256", kid=None, key=None, **headers):
    kid = {"PS256": "RS256"}.get(algorithm, algorithm) if kid is None else kid
    return jwt.encode(
        said or claims(),
        key or PRIVATE[algorithm],
        algorithm=algorithm,
        headers={"kid": kid} | headers,
    )


def let_in(text, use=tokens.ACCESS):
    if not tokens.could_be(text):
        raise Unfit("no form of a token")
    said = tokens.told(text)
    key = KEYS.get((said.kid, said.algorithm))
    if key is None:
        raise Unfit("no such key")
    return tokens.verified(text, key, issuer=ISSUER, audience=AUDIENCE, use=use)


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def forged(header, said=None, signature="AAAA"):
    return f"{part(header)}.{part(said or claims())}.{signature}"


@pytest.mark.parametrize("algorithm", tokens.ALGORITHMS)
def test_what_the_provider_signed_is_good(algorithm):
    assert let_in(signed(algorithm=algorithm))["sub"] == "bo"


def by_public_key():
    """HS256 with the public key as the secret: who knows the key could sign; the library refuses to make it."""
    import hashlib
    import hmac

    body = f"{part({'alg': 'HS256', 'kid': 'RS256'})}.{part(claims())}"
    digest = hmac.digest(PEM, body.encode(), hashlib.sha256)
    return f"{body}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def of_own_key(**headers):
    own = rsa.generate_private_key(65537, 2048)
    jwk = jwt.get_algorithm_by_name("RS256").to_jwk(own.public_key(), as_dict=True)
    return signed(key=own, jwk=jwk, **headers)


NOW = int(time.time())
BAD = {
    "no algorithm": lambda: forged({"alg": "none", "kid": "RS256"}, signature=""),
    "no algorithm, with a signature": lambda: forged({"alg": "none", "kid": "RS256"}),
    "NONE": lambda: forged({"alg": "NoNe", "kid": "RS256"}),
    "the public key as a secret": by_public_key,
    "signed by nobody": lambda: forged({"alg": "RS256", "kid": "RS256"}),
    "another algorithm of the same key": lambda: signed(algorithm="RS256", kid="ES256"),
    "an algorithm that does not count": lambda: signed(key=PRIVATE["RS256"], algorithm="RS512", kid="RS256"),
    "a key that nobody published": lambda: signed(kid="other"),
    "no key": lambda: jwt.encode(claims(), PRIVATE["RS256"], algorithm="RS256"),
    "a key that it brings along": of_own_key,
    "a key from where it says": lambda: of_own_key(jku="https://evil.example/keys", x5u="https://evil.example/c"),
    "another issuer": lambda: signed(claims(iss="https://login.example.org.evil.example")),
    "the beginning of the issuer": lambda: signed(claims(iss="https://login.example")),
    "no issuer": lambda: signed(claims(iss=None)),
    "another audience": lambda: signed(claims(aud="others")),
    "no audience": lambda: signed(claims(aud=None)),
    "expired": lambda: signed(claims(exp=NOW - 60)),
    "no end": lambda: signed(claims(exp=None)),
    "an end without end": lambda: signed(claims(exp=float("inf"))),
    "not yet": lambda: signed(claims(nbf=NOW + 3600)),
    "made tomorrow": lambda: signed(claims(iat=NOW + 86400)),
    "no subject": lambda: signed(claims(sub=None)),
    "an empty subject": lambda: signed(claims(sub="")),
    "a subject that writes on terminals": lambda: signed(claims(sub="bo\x1b[2J")),
    "a subject without end": lambda: signed(claims(sub="b" * 300)),
    "an extension that must be known": lambda: signed(crit=["x"], x=1),
    "for refreshing": lambda: signed(claims(token_use="refresh")),
    "of a login": lambda: signed(claims(token_use="id")),
    "of a login, as others say it": lambda: signed(claims(typ="ID")),
    "for logging out": lambda: signed(typ="logout+jwt"),
    "nested without end": lambda: ".".join(
        (base64.urlsafe_b64encode(b"[" * 9000).decode().rstrip("="), part(claims()), "AAAA")
    ),
    "too long": lambda: signed(claims(more="x" * 20_000)),
    "changed": lambda: signed()[:-20] + "A" * 20,
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_like_a_token_lets_nobody_in(name):
    text = BAD[name]()
    with pytest.raises(Unfit):
        let_in(text)


@given(st.text(alphabet='abcXYZ019._-={}"\n\x00é', max_size=200))
@settings(max_examples=200, deadline=None)
def test_no_text_does_worse_than_letting_nobody_in(text):
    with pytest.raises(Unfit):
        let_in(text)


def test_two_clocks_may_differ_a_little():
    now = int(time.time())
    assert let_in(signed(claims(exp=now - 5, nbf=now + 15)))


def test_keys_that_do_not_fit_are_left_out():
    small = jwt.get_algorithm_by_name("RS256").to_jwk(
        rsa.generate_private_key(65537, 1024).public_key(), as_dict=True
    )
    found = tokens.keys_of(
        {
            "keys": [
                published("RS256", use="enc"),
                published("ES256", crv="P-384"),
                {**small, "kid": "small"},
                {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
                {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
                {"kty": "RSA", "kid": "no numbers"},
                published("EdDSA", kid=7),
                "x",
            ]
        }
    )
    assert found == {}
    both = tokens.keys_of({"keys": [published("RS256")]})
    assert set(both) == {("RS256", "RS256"), ("RS256", "PS256")}
    one = tokens.keys_of({"keys": [published("RS256", alg="PS256")]})
    assert set(one) == {("RS256", "PS256")}, "a key that says what it is for is for nothing else"
    for document in (None, [], {}, {"keys": {}}):
        with pytest.raises(tokens.NoKeys):
            tokens.keys_of(document)


def test_claims_become_roles_only_where_they_are_mapped():
    def roles(**more):
        return tokens.principal_of(claims(**more), PLAN).roles

    assert roles(groups=["ops", "both", "others"]) == ("operator", "uploader", "viewer-meta")
    assert roles(groups="ops") == ("operator",)
    assert roles(groups="others ops") == (), "a text is one value: nobody names a group into two"
    for nothing in (
        {},
        {"groups": None},
        {"groups": 7},
        {"groups": {"ops": 1}},
        {"groups": [["ops"]]},
    ):
        assert roles(**nothing) == ()
    assert roles(groups=["admin"]) == (), "a role's own name is no claim to it"


def test_claims_may_lie_in_others_or_have_dots_in_their_names():
    def roles(claim, **said):
        plan = msgspec.structs.replace(PLAN, roles=ClaimPlan(claim, {"x": ("admin",)}))
        return tokens.principal_of(claims(**said), plan).roles

    assert roles("realm_access.roles", realm_access={"roles": ["x"]}) == ("admin",)
    assert roles("https://acme.example/roles", **{"https://acme.example/roles": ["x"]})
    assert roles("scope", scope="openid x") == ("admin",)
    assert roles("a.b", a="x") == ()


def test_without_a_scope_where_one_is_asked_for_nothing_is_allowed():
    plan = OidcPlan(
        issuer=ISSUER,
        audience=AUDIENCE,
        roles=ClaimPlan("groups", {"ops": ("operator",)}),
        sources=ClaimPlan("partner", {"acme": ("inbox", "upload"), "staff": ("*",)}),
        pipelines=ClaimPlan("lines", {"o": ("orders",)}),
    )

    def found(**more):
        return tokens.principal_of(claims(groups=["ops"], **more), plan)

    narrow = found(partner="acme", lines=["o"])
    assert (narrow.name, narrow.roles) == ("oidc:bo", ("operator",))
    assert (narrow.sources, narrow.pipelines) == (("inbox", "upload"), ("orders",))
    assert found(partner="staff", lines="o").sources == ()
    assert found(partner="staff", lines="o").rights
    for more in ({}, {"partner": "acme"}, {"lines": "o"}, {"partner": "others", "lines": "o"}):
        assert found(**more).rights == frozenset(), more
