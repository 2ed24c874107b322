"""Tokens and logins of a real identity provider: whom it vouches for comes in, and nobody else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import subprocess
import time
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx2
import jwt
import pytest
from browsing import browser, csrf, hidden
from cryptography.hazmat.primitives.asymmetric import rsa
from identity_provider import CONFIG as OIDC
from identity_provider import SECRET, IdentityProvider
from sites import CONFIG, Site

import serving

TABLE = b"id\n1\n"
OWN = rsa.generate_private_key(65537, 2048)
"""A key that no provider publishes."""


class Trusting(Site):
    """A site that takes the word of a provider."""

    def __init__(self, root, provider_root):
        super().__init__(root)
        self.provider = IdentityProvider(provider_root, [f"{self.url}/login/oidc/done"])
        (root / "filemill.yaml").write_text(CONFIG + OIDC % self.provider.url)

    @property
    def environ(self):
        return super().environ | {"OIDC_SECRET": SECRET}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    made = Trusting(tmp_path_factory.mktemp("trusting"), tmp_path_factory.mktemp("provider"))
    with made.provider.running(), made.running():
        yield made


@pytest.fixture
def provider(site):
    return site.provider


def asked(site, token, path="/stats", **more):
    with site.client(token) as client:
        return client.get(path, **more)


def refused(site, token):
    answer = asked(site, token)
    return answer.status_code, answer.json()["error"]["code"]


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_an_access_token_lets_in_with_the_roles_it_is_mapped_to(site, provider):
    me = asked(site, provider.token("olga"), "/session").json()
    assert (me["principal"], me["roles"]) == ("oidc:olga", ["operator"])
    assert asked(site, provider.token("olga")).status_code == 200
    assert asked(site, provider.token("olga"), "/audit").status_code == 403
    with site.client(provider.token("ursula")) as sender, site.client() as admin:
        sent = sender.post("/upload", files={"file": ("by-token.csv", TABLE)})
        assert sent.status_code == 201
        assert sender.get("/stats").status_code == 403
        shown = admin.get(sent.json()["files"][0]["url"]).json()
        assert shown["principal"] == "oidc:ursula"


def test_whom_nothing_is_mapped_for_may_do_nothing(site, provider):
    token = provider.token("nobody")
    for path in (
        "/stats",
        "/files",
        "/session",
        "/docs",
        "/files/aaaaaaaa",
        "/events",
        "/metrics-none",
    ):
        assert asked(site, token, path).status_code in (403, 404), path
    assert asked(site, token).json()["error"]["code"] == "forbidden"
    with site.client(token) as client:
        assert client.post("/upload", files={"file": ("a.csv", TABLE)}).status_code == 403


def by_public_key(provider):
    claims = {
        "iss": provider.url,
        "aud": "filemill-api",
        "sub": "olga",
        "roles": ["ops"],
        "exp": time.time() + 300,
    }
    body = f"{part({'alg': 'HS256', 'kid': provider.kid})}.{part(claims)}"
    digest = hmac.digest(provider.public, body.encode(), hashlib.sha256)
    return f"{body}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def of_own_key(provider, **headers):
    claims = jwt.decode(provider.signed(), options={"verify_signature": False})
    return jwt.encode(claims, OWN, algorithm="RS256", headers={"kid": provider.kid} | headers)


BAD = {
    "none": lambda p: f"{part({'alg': 'none', 'kid': p.kid})}.{p.signed().split('.')[1]}.AAAA",
    "HS256 with the public key": by_public_key,
    "another issuer": lambda p: p.signed(iss="http://127.0.0.1:1"),
    "another audience": lambda p: p.signed(aud="others"),
    "expired": lambda p: p.signed(exp=int(time.time()) - 60),
    "not yet": lambda p: p.signed(nbf=int(time.time()) + 3600),
    "no subject": lambda p: p.signed(sub=None),
    "no end": lambda p: p.signed(exp=None),
    "a key that is not published": lambda p: of_own_key(p, kid="other"),
    "a signature of another key": of_own_key,
    "jku": lambda p: of_own_key(p, jku="http://127.0.0.1:1/keys"),
    "x5u": lambda p: of_own_key(p, x5u="http://127.0.0.1:1/chain"),
    "a token for refreshing": lambda p: p.signed(token_use="refresh"),
    "nothing": lambda p: "a.b.c",
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_token_opens_nothing(site, provider, name):
    assert asked(site, provider.signed()).status_code == 200, "the control: this one is good"
    assert refused(site, BAD[name](provider)) == (401, "unauthenticated")


def test_keys_are_not_asked_for_at_every_request(site, provider):
    def fetched():
        return (provider.root / "provider.log").read_text().count("/jwks.json")

    good = {"authorization": f"Bearer {provider.signed()}"}
    with site.stranger() as asking:
        assert asking.get("/stats", headers=good).status_code == 200
        before = fetched()
        for _ in range(20):
            assert asking.get("/stats", headers=good).status_code == 200
            unknown = of_own_key(provider, kid=os.urandom(4).hex())
            bad = {"authorization": f"Bearer {unknown}"}
            assert asking.get("/stats", headers=bad).status_code == 401
    assert before >= 1
    assert fetched() <= before + 2, "those that nobody knows have it asked again, but seldom"


def test_a_new_key_of_the_provider_is_found(site, provider):
    old = provider.token("olga")
    provider.rotate()
    fresh = provider.token("olga")
    assert jwt.get_unverified_header(fresh)["kid"] != jwt.get_unverified_header(old)["kid"]
    serving.until(lambda: asked(site, fresh).status_code == 200)
    assert asked(site, old).status_code == 200


def begun(site, browsing):
    """Where the login sends the browser."""
    answer = browsing.get("/login/oidc")
    assert answer.status_code == 303
    return answer.headers["location"]


def entered(site, browsing, who="olga", change=lambda back: back):
    back = change(site.provider.log_in(begun(site, browsing), who))
    parts = urlsplit(back)
    assert f"{parts.scheme}://{parts.netloc}" == site.url
    return browsing.get(f"{parts.path}?{parts.query}", headers={"sec-fetch-site": "cross-site"})


def with_(back, **more):
    parts = urlsplit(back)
    fields = dict(parse_qsl(parts.query)) | more
    return parts._replace(query=urlencode(fields)).geturl()


def test_a_browser_logs_in_at_the_provider(site):
    with browser(site.url) as browsing:
        assert "/login/oidc" in browsing.get("/login").text
        answer = entered(site, browsing)
        assert answer.status_code == 200, answer.text
        assert 'content="0; url=/docs"' in answer.text, "no redirect: it would come from elsewhere"
        set_ = answer.headers.get_list("set-cookie")
        assert any(each.startswith(f"filemill-{site.port}=") for each in set_)
        assert any(each.startswith(f"filemill-login-{site.port}=;") for each in set_)
        me = browsing.get("/session").json()
        assert (me["principal"], me["roles"]) == ("oidc:olga", ["operator"])
        assert browsing.get("/docs").status_code == 200
        token = csrf(browsing)
        done = browsing.post("/dead/redrive", json={"query": {}, "dry_run": True}, headers=token)
        assert done.status_code == 200
        assert browsing.post("/logout", data=hidden(browsing.get("/login"))).status_code == 303
        assert browsing.get("/stats").status_code == 401
    with site.client() as admin:
        (row, *_) = admin.get("/audit?action=login").json()["items"]
    assert (row["by"], row["detail"]["how"]) == ("oidc:olga", "oidc")


def test_what_the_provider_is_asked_binds_the_answer_to_this_browser(site):
    with browser(site.url) as browsing:
        asked_ = parse_qs(urlsplit(begun(site, browsing)).query)
        assert asked_["response_type"] == ["code"]
        assert asked_["code_challenge_method"] == ["S256"]
        assert asked_["scope"] == ["openid profile email"]
        assert asked_["redirect_uri"] == [f"{site.url}/login/oidc/done"]
        once = {name: asked_[name][0] for name in ("state", "nonce", "code_challenge")}
        assert all(len(value) == 43 for value in once.values())
        again = parse_qs(urlsplit(begun(site, browsing)).query)
        assert all(again[name][0] != value for name, value in once.items())
        assert "verifier" not in str(asked_)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda back: with_(back, state="other"), 400),
        (lambda back: with_(back, state=""), 400),
        (lambda back: with_(back, code="other"), 401),
        (lambda back: with_(back, iss="http://evil.example"), 403),
        (lambda back: with_(back, error="access_denied<script>"), 403),
    ],
)
def test_an_answer_that_was_tampered_with_logs_nobody_in(site, change, status):
    with browser(site.url) as browsing:
        answer = entered(site, browsing, change=change)
        assert answer.status_code == status
        assert "<script" not in answer.text
        assert not any(f"filemill-{site.port}=" in e for e in answer.headers.get_list("set-cookie"))
        assert browsing.get("/stats").status_code == 401


def test_a_login_that_somebody_else_began_is_not_taken(site):
    """Whoever sends a victim the end of their own login would have them work in a stranger's name."""
    with browser(site.url) as attacker, browser(site.url) as victim:
        back = urlsplit(site.provider.log_in(begun(site, attacker), "ursula"))
        assert victim.get(f"{back.path}?{back.query}").status_code == 400
        begun(site, victim)
        assert victim.get(f"{back.path}?{back.query}").status_code == 400
        assert victim.get("/session").status_code == 401


def test_a_code_is_good_once_and_for_its_own_login(site):
    with browser(site.url) as browsing:
        back = urlsplit(site.provider.log_in(begun(site, browsing), "olga"))
        jar = dict(browsing.cookies)
        assert browsing.get(f"{back.path}?{back.query}").status_code == 200
        with browser(site.url, cookies=jar) as again:
            assert again.get(f"{back.path}?{back.query}").status_code == 401
    with browser(site.url) as one, browser(site.url) as other:
        code = parse_qs(urlsplit(site.provider.log_in(begun(site, one), "olga")).query)["code"][0]
        state = parse_qs(urlsplit(begun(site, other)).query)["state"][0]
        stolen = f"/login/oidc/done?{urlencode({'code': code, 'state': state})}"
        assert other.get(stolen).status_code == 401, "without its verifier a code is worth nothing"


def test_whom_the_provider_knows_without_a_role_is_not_let_in(site):
    with browser(site.url) as browsing:
        answer = entered(site, browsing, "nobody")
        assert answer.status_code == 403
        assert browsing.get("/session").status_code == 401
    with site.client() as admin:
        serving.until(lambda: admin.get("/audit?action=denied&who=oidc:nobody").json()["items"])


def test_no_secret_is_shown(site):
    for path in (site.root / ".filemill").rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in (site.root / "server.log").read_text()


def test_while_the_provider_is_away_what_is_known_goes_on(site, provider):
    known = provider.signed()
    assert asked(site, known).status_code == 200
    unknown = of_own_key(provider, kid="after-the-fall")
    provider.stop()
    try:
        assert asked(site, known).status_code == 200
        with site.client() as keyed:
            assert keyed.get("/stats").status_code == 200

        def told():
            answer = asked(site, unknown)
            return (
                answer.status_code == 503
                and "identity provider" in answer.json()["error"]["message"]
            )

        serving.until(told)
        with browser(site.url) as browsing:
            assert browsing.get("/login/oidc").status_code == 303, "where it answers is known"
        assert "cannot be asked" in examined(site)
    finally:
        provider.start()
    serving.until(lambda: asked(site, provider.token("olga")).status_code == 200)


def examined(site):
    """What `doctor` says of the provider."""
    done = subprocess.run(
        [*serving.FILEMILL, "doctor", "--json"],
        cwd=site.root,
        env=site.environ,
        capture_output=True,
        check=False,
    )
    items = json.loads(done.stdout)["items"]
    return next(each["what"] for each in items if each["about"] == "identity provider")


def test_doctor_asks_the_provider(site, provider):
    assert f"{provider.url} answers, and publishes" in examined(site)
    assert "browsers log in there" in examined(site)


def test_a_provider_that_was_never_there_stops_nobody_else(tmp_path):
    made = Trusting(tmp_path, tmp_path / "provider")
    with made.running():
        answer = asked(made, of_own_key_of_nobody(made.provider.url))
        assert answer.status_code == 503
        with made.client() as keyed, httpx2.Client(base_url=made.url) as browsing:
            assert keyed.get("/stats").status_code == 200
            assert browsing.get("/login/oidc").status_code == 503


def of_own_key_of_nobody(issuer):
    claims = {"iss": issuer, "aud": "filemill-api", "sub": "olga", "exp": int(time.time()) + 60}
    return jwt.encode(claims, OWN, algorithm="RS256", headers={"kid": "x"})
