"""How a provider is asked: over TLS that is verified, seldom, and never for more than it should say."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import ssl
import threading
import time

import jwt
import pytest
from authority import Authority
from cryptography.hazmat.primitives.asymmetric import ed25519

from filemill.identity.tokens import Unfit
from filemill.model.plan import ClaimPlan, OidcPlan
from filemill.service.examining.provider import examine_provider
from filemill.service.provider import AGAIN, ANEW, MOST, Provider, Unreachable
from filemill.testing.clock import FakeClock

CONFIGURATION, KEYS = "/.well-known/openid-configuration", "/keys"


class Published(http.server.ThreadingHTTPServer):
    """What a provider publishes: a description and keys, which a test changes."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.server_port}"
        self.private = {"one": ed25519.Ed25519PrivateKey.generate()}
        self.asked: list[str] = []
        self.description: dict[str, object] = {"issuer": self.url, "jwks_uri": self.url + KEYS}
        self.redirect = ""
        self.endless = False

    def handle_error(self, *_):
        """A client that does not trust us ends the handshake."""

    def keys(self):
        algorithm = jwt.get_algorithm_by_name("EdDSA")
        return {
            "keys": [
                {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid}
                for kid, key in self.private.items()
            ]
        }

    def token(self, kid="one", key=None):
        claims = {
            "iss": self.url,
            "aud": "us",
            "sub": "bo",
            "groups": ["x"],
            "exp": int(time.time()) + 60,
        }
        return jwt.encode(claims, key or self.private[kid], algorithm="EdDSA", headers={"kid": kid})


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if self.server.redirect:
            self.send_response(302)
            self.send_header("location", self.server.redirect)
            self.end_headers()
            return
        told = self.server.description if self.path == CONFIGURATION else self.server.keys()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(told).encode())
        if self.server.endless:
            with contextlib.suppress(ConnectionError):
                self.wfile.write(b" " * (MOST + 1))

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def publishing(context=None):
    with Published(context) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


def plan(server, **more):
    roles = ClaimPlan("groups", {"x": ("operator",)})
    return OidcPlan(issuer=server.url, audience="us", roles=roles, **more)


def asked(settings, token):
    async def go():
        async with contextlib.aclosing(Provider(settings)) as provider:
            return await provider.owner(token)

    return asyncio.run(go())


@pytest.fixture
def server():
    with publishing() as made:
        yield made


def test_its_keys_are_fetched_once_and_again_for_one_that_is_not_known(server):
    async def go():
        clock = FakeClock()
        async with contextlib.aclosing(Provider(plan(server), clock.monotonic)) as provider:
            found = await asyncio.gather(*(provider.owner(server.token()) for _ in range(10)))
            assert {each.name for each in found} == {"oidc:bo"}
            assert server.asked == [CONFIGURATION, KEYS], "ten at once ask once"
            server.private["two"] = ed25519.Ed25519PrivateKey.generate()
            with pytest.raises(Unfit):
                await provider.owner(server.token("two"))
            assert len(server.asked) == 2, "it was asked a moment ago"
            clock.advance(AGAIN + 1)
            assert (await provider.owner(server.token("two"))).rights
            assert len(server.asked) == 4
            unknown = server.token("made up", ed25519.Ed25519PrivateKey.generate())
            for _ in range(20):
                with pytest.raises(Unfit):
                    await provider.owner(unknown)
            assert len(server.asked) == 4

    asyncio.run(go())


def test_a_key_that_the_provider_takes_back_counts_no_more(server):
    async def go():
        clock = FakeClock()
        async with contextlib.aclosing(Provider(plan(server), clock.monotonic)) as provider:
            old = server.token()
            await provider.owner(old)
            server.private = {"two": ed25519.Ed25519PrivateKey.generate()}
            clock.advance(ANEW - 1)
            assert await provider.owner(old)
            clock.advance(2)
            assert await provider.owner(old), "nobody waits for that"
            await provider._renewing
            with pytest.raises(Unfit):
                await provider.owner(old)

    asyncio.run(go())


def test_while_it_is_away_known_keys_go_on_and_others_are_told_so(server):
    async def go():
        clock = FakeClock()
        async with contextlib.aclosing(Provider(plan(server), clock.monotonic)) as provider:
            known = server.token()
            await provider.owner(known)
            server.description["issuer"] = "https://evil.example"
            clock.advance(ANEW + 1)
            assert await provider.owner(known)
            await provider._renewing
            assert await provider.owner(known)
            with pytest.raises(Unreachable, match="calls itself https"):
                await provider.owner(server.token("x", ed25519.Ed25519PrivateKey.generate()))

    asyncio.run(go())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda s: s.description.update(issuer=s.url + "/"), "calls itself"),
        (lambda s: s.description.update(jwks_uri="http://keys.example/"), "without TLS"),
        (lambda s: s.description.update(token_endpoint="file:///etc/passwd"), "without TLS"),
        (lambda s: s.description.update(jwks_uri="http://[x"), "address that is none"),
        (lambda s: s.description.pop("jwks_uri"), "describes itself wrongly"),
        (lambda s: setattr(s, "description", []), "describes itself wrongly"),
        (lambda s: setattr(s, "keys", list), "no set of keys"),
        (lambda s: setattr(s, "redirect", s.url + KEYS), "answered 302"),
        (lambda s: setattr(s, "endless", True), "without end"),
    ],
)
def test_what_is_no_provider_is_not_believed(server, change, why):
    change(server)
    with pytest.raises(Unreachable, match=why):
        asked(plan(server), server.token())


def test_a_certificate_that_nobody_vouches_for_is_not_believed(tmp_path):
    authority = Authority(tmp_path)
    other = Authority(tmp_path, "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign("provider"))
    with publishing(context) as server:
        token = server.token()
        for ca in ("", str(other.path)):
            with pytest.raises(Unreachable, match="CERTIFICATE"):
                asked(plan(server, ca=ca), token)
        assert server.asked == []
        assert asked(plan(server, ca=str(authority.path)), token).name == "oidc:bo"


def test_an_authority_that_is_gone_is_no_defect(tmp_path, server):
    with pytest.raises(Unreachable, match="cannot be read"):
        asked(plan(server, ca=str(tmp_path / "gone.pem")), server.token())


def test_what_is_found_out_of_it_is_told_beforehand(server):
    (well,) = examine_provider(plan(server))
    assert (well.level, well.values) == ("ok", {"keys": 1})
    assert well.what == f"{server.url} answers, and publishes 1 key; its access tokens are taken"
    (nowhere,) = examine_provider(plan(server, client_id="us"))
    assert nowhere.level == "problem"
    assert "does not say where browsers log in" in nowhere.what
    server.private.clear()
    (keyless,) = examine_provider(plan(server))
    assert keyless.level == "problem"
    assert "publishes no key of a kind that counts" in keyless.what
    server.description.update(issuer=server.url + "/")
    (other,) = examine_provider(plan(server))
    assert other.level == "problem"
    assert "it calls itself" in other.what
    assert "`issuer`" in other.help
