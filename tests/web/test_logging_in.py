"""A browser logs in by a link or a key, its cookie counts only for pages of ours, and an end is an end at once."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import signal
import time

import httpx2
import msgspec
import pytest
from browsing import FROM_HERE, ME, browser, csrf, follow, hidden, link
from fastapi.routing import APIRoute
from sites import CONFIG, Site, web_child
from test_keys_over_http import command, make

import serving
from filemill.durable import Durable, Failpoints
from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.ledgers.sqlite.reading import SqliteReading
from filemill.model.deeds import Deed
from filemill.model.errors import NotFound, UsageError
from filemill.model.plan import ClaimPlan, OidcPlan, SessionsPlan, TlsPlan, WebPlan
from filemill.model.sessions import hashed
from filemill.ports.clock import SystemClock
from filemill.queries import Queries
from filemill.service import acts
from filemill.service.keeping_sessions import LINK_LASTS, Sessions
from filemill.testing.clock import FakeClock
from filemill.web import sessions as web_sessions
from filemill.web.api.logging_in import OPEN
from filemill.web.application import ROUTERS
from filemill.web.cookies import SAFE_METHODS
from filemill.web.identifying import Needs

WEB = "web: {limits: {failed_keys: 1000}}\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("entered"), CONFIG + WEB).running() as made:
        yield made


@pytest.fixture
def visitor(site):
    with browser(site.url) as made:
        yield made


@pytest.fixture
def inside(site, visitor):
    """A browser that the owner logged in."""
    assert follow(site, visitor).status_code == 303
    return visitor


@pytest.fixture(scope="module")
def owner(site):
    """One for tests that look at many routes."""
    with browser(site.url) as made:
        follow(site, made)
        yield made


def name(site):
    return f"filemill-{site.port}"


def audited(client, **narrowed):
    return client.get("/audit", params=narrowed).json()["items"]


def test_a_link_logs_its_owner_in_once(site, visitor, client):
    path = link(site)
    page = visitor.get(path)
    assert page.status_code == 200
    assert visitor.get(path).status_code == 200, "to look where it leads does not use it up"
    assert "<script" not in page.text
    assert "form-action 'self'" in page.headers["content-security-policy"]
    answer = visitor.post("/login/link", data=hidden(page))
    assert (answer.status_code, answer.headers["location"]) == (303, "/docs")
    assert visitor.get("/docs").status_code == 200
    me = visitor.get("/session").json()
    assert (me["principal"], me["roles"]) == (ME, ["admin"])
    with browser(site.url) as another:
        again = another.post("/login/link", data=hidden(page))
        assert again.status_code == 401
        assert "was used" in again.text
        assert "set-cookie" not in again.headers
    (row, *_) = audited(client, action="login")
    assert row["by"] == ME
    assert row["detail"] == {"how": "link", "address": "127.0.0.1", "roles": "admin"}
    serving.until(
        lambda: [r for r in audited(client, action="denied") if r["object"] == "POST /login/link"]
    )


def test_the_cookie_is_for_no_script_and_no_other_site_and_is_kept_nowhere(site, visitor):
    (set_,) = follow(site, visitor).headers.get_list("set-cookie")
    assert re.fullmatch(rf"{name(site)}=[\w-]{{43}}; Path=/; HttpOnly; SameSite=Lax", set_)
    secret = visitor.cookies[name(site)].encode()
    for path in (site.root / ".filemill").rglob("*"):
        if path.is_file():
            assert secret not in path.read_bytes(), path
    assert secret not in (site.root / "server.log").read_bytes()


def test_a_link_is_good_for_two_minutes_only(tmp_path):
    asyncio.run(_links())


async def _links():
    ledger = await SqliteLedger.open(":memory:", durable=Durable(Failpoints("test"), sync=False))
    try:
        kept = Sessions(ledger, WebPlan(port=1))
        for late, there in ((LINK_LASTS - 1, True), (LINK_LASTS, False)):
            made = await kept.link(acts.MakeLink(), Deed("ana", 1))
            secret = made.url.rpartition("=")[2]
            opening = acts.OpenSession(
                hash=os.urandom(32), how="link", link=secret, principal="eve"
            )
            deed = Deed("eve", 1 + int(late * 1e9))
            if there:
                opened = await kept.open(opening, deed)
                assert (opened.principal, opened.roles) == ("ana", ("admin",))
            else:
                with pytest.raises(NotFound):
                    await kept.open(opening, deed)
        with pytest.raises(NotFound):
            await kept.open(
                acts.OpenSession(hash=b"x", how="link", principal="eve", roles=("admin",)),
                Deed("eve", 1),
            )
        with pytest.raises(UsageError, match="no HTTP"):
            await Sessions(ledger, WebPlan()).link(acts.MakeLink(), Deed("ana", 1))
    finally:
        await ledger.close()


@pytest.mark.parametrize(
    ("plan", "begins"),
    [
        (WebPlan(port=8600), "http://127.0.0.1:8600/"),
        (WebPlan("0.0.0.0", 80, ("files.example",), behind_proxy=True), "https://files.example/"),
        (WebPlan("::1", 8600), "http://[::1]:8600/"),
        (WebPlan("10.0.0.7", 443, ("f.example",), tls=TlsPlan("c", "k")), "https://f.example:443/"),
        (WebPlan("0.0.0.0", 443, tls=TlsPlan("c", "k")), "https://127.0.0.1:443/"),
    ],
)
def test_a_link_leads_where_a_browser_finds_the_server(plan, begins):
    async def go():
        ledger = await SqliteLedger.open(
            ":memory:", durable=Durable(Failpoints("test"), sync=False)
        )
        made = await Sessions(ledger, plan).link(acts.MakeLink(), Deed("ana", 1))
        await ledger.close()
        return made.url

    assert asyncio.run(go()).startswith(f"{begins}login/link?t=")


def unsafe_routes():
    """Made from the router: a route that somebody adds is seen here."""
    return sorted(
        (method, route.path)
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        and any(isinstance(each.call, Needs) for each in route.dependant.dependencies)
        for method in route.methods
        if method not in SAFE_METHODS
    )


def test_every_unsafe_route_is_among_those():
    assert len(unsafe_routes()) > 15
    others = {
        route.path
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute) and route.methods - set(SAFE_METHODS)
    } - {path for _, path in unsafe_routes()}
    assert others == {"/login/link", "/login/key", "/logout"}
    assert others <= set(OPEN)


@pytest.mark.parametrize(("method", "path"), unsafe_routes())
def test_no_other_page_has_anything_done(owner, site, method, path):
    path = "/upload" if path.startswith("/{") else re.sub(r"\{[^}]+\}", "x", path)
    right = csrf(owner)

    def asked(headers, keep=FROM_HERE):
        bare = {"sec-fetch-site": None} if keep is None else {}
        request = owner.build_request(method, path, headers=headers | {"tus-resumable": "1.0.0"})
        for each in bare:
            request.headers.pop(each, None)
        answer = owner.send(request)
        return answer.status_code, answer.json()["error"]["code"]

    assert asked({}) == (403, "csrf"), "a page of ours, but nothing proves it"
    assert asked({"x-csrf-token": right["x-csrf-token"][:-1]}) == (403, "csrf")
    elsewhere = (401, "unauthenticated")
    for site_ in ("cross-site", "same-site", "none"):
        assert asked(right | {"sec-fetch-site": site_}) == elsewhere
    assert asked(right | {"origin": "http://evil.example"}) == elsewhere
    assert asked(right | {"origin": "null"}) == elsewhere
    assert asked(right | {"origin": f"http://127.0.0.1:{site.port + 1}"}) == elsewhere
    assert asked(right, keep=None) == elsewhere, "a browser that does not say where it asks from"


def test_a_page_of_ours_has_it_done(site, inside):
    token = csrf(inside)
    answer = inside.post("/dead/redrive", json={"query": {}, "dry_run": True}, headers=token)
    assert answer.status_code == 200
    for headers in ({"origin": site.url}, {"origin": site.url, "sec-fetch-site": "same-origin"}):
        files = {"file": (f"by-{len(headers)}.csv", b"a\n1\n")}
        sent = inside.post("/upload", files=files, headers=token | headers)
        assert sent.status_code == 201
        shown = inside.get(sent.json()["files"][0]["url"]).json()
        assert shown["principal"] == ME


def test_what_other_pages_ask_for_counts_for_nobody(inside):
    assert inside.get("/stats").status_code == 200
    for elsewhere in ("cross-site", "same-site"):
        assert inside.get("/stats", headers={"sec-fetch-site": elsewhere}).status_code == 401
    assert inside.get("/stats", headers={"origin": "http://evil.example"}).status_code == 401
    assert inside.get("/stats", headers={"sec-fetch-site": "none"}).status_code == 200, "typed in"


def test_who_shows_a_key_is_nobody_else_whatever_cookie_comes_along(site, inside):
    key = make(site, "beside", "--role", "uploader")["key"]
    bearer = {"authorization": f"Bearer {key}"}
    assert inside.get("/session", headers=bearer).json()["principal"] == "key:beside"
    assert inside.get("/session", headers=bearer).json()["csrf"] is None
    assert inside.get("/audit", headers=bearer).status_code == 403
    for wrong in ("Bearer fm_wrong", "Bearer", "", "Basic eDp5"):
        assert inside.get("/stats", headers={"authorization": wrong}).status_code == 401


def test_no_other_origin_is_let_read(site, inside):
    asking = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    for path in ("/stats", "/dead/redrive", "/upload", "/uploads", "/login/link", "/session"):
        for answer in (
            inside.options(path, headers=asking),
            inside.get(path, headers=asking),
            inside.post(path, headers=asking),
        ):
            assert not [h for h in answer.headers if h.startswith("access-control-")], path


def test_logging_out_is_the_end_of_it(site, inside, client):
    secret = inside.cookies[name(site)]
    page = inside.get("/login")
    assert ME in page.text
    assert inside.post("/logout").status_code == 403
    assert (
        inside.post(
            "/logout", data=hidden(page), headers={"sec-fetch-site": "cross-site"}
        ).status_code
        == 403
    )
    assert inside.get("/stats").status_code == 200
    answer = inside.post("/logout", data=hidden(page))
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    with browser(site.url, cookies={name(site): secret}) as stolen:
        assert stolen.get("/stats").status_code == 401
    (row, *_) = audited(client, action="logout")
    assert row["by"] == ME


def test_forms_are_taken_from_our_pages_only(site, visitor):
    path = link(site)
    secret = hidden(visitor.get(path))
    for elsewhere in ({"sec-fetch-site": "cross-site"}, {"origin": "http://evil.example"}):
        for way in ("/login/link", "/login/key"):
            answer = visitor.post(way, data=secret, headers=elsewhere)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "cross-origin")
    assert visitor.post("/login/link", json=secret).status_code == 415
    assert visitor.post("/login/link", data=secret).status_code == 303, "nobody has used it up"


def test_a_key_logs_in_with_its_rights_and_ends_with_it(site, visitor):
    key = make(site, "visitor", "--role", "viewer-meta", "--source", "inbox")["key"]
    answer = visitor.post("/login/key", data={"key": f" {key}\n"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/docs")
    me = visitor.get("/session").json()
    assert (me["principal"], me["sources"]) == ("key:visitor", ["inbox"])
    assert visitor.get("/audit").status_code == 403
    command(site, "keys", "revoke", "visitor", "--yes")
    assert visitor.get("/stats").status_code == 401


def test_who_only_sends_is_led_where_it_may_be(site, visitor):
    key = make(site, "only-sends", "--role", "uploader")["key"]
    answer = visitor.post("/login/key", data={"key": key})
    assert answer.headers["location"] == "/login"
    assert "key:only-sends" in visitor.get("/login").text
    assert visitor.get("/stats").status_code == 403


@pytest.mark.parametrize("given", ["", "fm_wrong", "a_b_c", "local"])
def test_what_is_no_key_logs_nobody_in(site, visitor, given):
    key = site.key if given == "local" else given
    answer = visitor.post("/login/key", data={"key": key})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


def test_sessions_are_listed_and_ended_at_the_console(site, visitor, client):
    key = make(site, "seen", "--role", "viewer-meta")["key"]
    visitor.post("/login/key", data={"key": key})
    assert visitor.get("/stats").status_code == 200
    command(site, "sessions", "end", "key:seen", "--reason", "laptop lost")
    assert visitor.get("/stats").status_code == 401
    row = next(r for r in audited(client, action="logout") if r["detail"].get("of") == "key:seen")
    assert row["detail"]["reason"] == "laptop lost"


def test_logging_in_again_ends_what_was(site, inside):
    former = inside.cookies[name(site)]
    follow(site, inside)
    assert inside.cookies[name(site)] != former
    assert inside.get("/stats").status_code == 200
    with browser(site.url, cookies={name(site): former}) as old:
        assert old.get("/stats").status_code == 401


@pytest.mark.crash
def test_a_session_outlives_the_process_that_speaks_http(site, inside):
    os.kill(web_child(site), signal.SIGKILL)
    serving.until(site.answers)
    assert inside.get("/stats").status_code == 200


def test_whom_a_provider_vouched_for_is_out_when_its_word_means_something_else(tmp_path):
    path = str(tmp_path / "ledger.db")
    asyncio.run(_logged_in(path))
    oidc = OidcPlan(issuer="https://a", audience="b", roles=ClaimPlan("groups", {"x": ("admin",)}))
    other = msgspec.structs.replace(oidc, roles=ClaimPlan("groups", {"x": ("uploader",)}))

    def let_in(secret, plan):
        sessions = web_sessions.Sessions(
            None, SessionsPlan, SystemClock(), web_sessions.trust_of(plan), lambda _: 0
        )
        with Queries(SqliteReading.open(path), SystemClock()) as queries:
            return sessions.owner(secret, queries)

    assert let_in("vouched", oidc).principal.name == "oidc:bo"
    assert let_in("vouched", msgspec.structs.replace(oidc, client_secret="rotated"))
    for plan in (other, None, msgspec.structs.replace(oidc, issuer="https://c")):
        assert let_in("vouched", plan) is None
        assert let_in("linked", plan).principal.name == "ana"


async def _logged_in(path):
    oidc = OidcPlan(issuer="https://a", audience="b", roles=ClaimPlan("groups", {"x": ("admin",)}))
    ledger = await SqliteLedger.open(path, durable=Durable(Failpoints("test"), sync=False))
    kept, deed = Sessions(ledger, WebPlan(port=1)), Deed("web", SystemClock().wall_ns())
    await kept.open(
        acts.OpenSession(
            hash=hashed("vouched"), how="oidc", principal="oidc:bo", roles=("admin",),
            trust=web_sessions.trust_of(oidc),
        ),
        deed,
    )  # fmt: skip
    link_ = (await kept.link(acts.MakeLink(), msgspec.structs.replace(deed, principal="ana"))).url
    secret = link_.rpartition("=")[2]
    await kept.open(acts.OpenSession(hash=hashed("linked"), how="link", link=secret), deed)
    await ledger.close()


def test_a_session_is_over_so_long_after_the_last_request_and_after_the_first(tmp_path):
    path, clock, pending = str(tmp_path / "ledger.db"), FakeClock(), {}

    async def enter():
        ledger = await SqliteLedger.open(path, durable=Durable(Failpoints("test"), sync=False))
        plan = WebPlan(port=1, sessions=SessionsPlan(idle=60, longest=100))
        act = acts.OpenSession(
            hash=hashed("secret"), how="oidc", principal="oidc:bo", roles=("admin",)
        )
        opened = await Sessions(ledger, plan).open(act, Deed("web", clock.wall_ns()))
        await ledger.close()
        return opened.id

    session = asyncio.run(enter())
    sessions = web_sessions.Sessions(
        None, lambda: SessionsPlan(60, 100), clock, "", lambda found: pending.get(found, 0)
    )
    with Queries(SqliteReading.open(path), clock) as queries:
        clock.advance(59)
        assert sessions.owner("secret", queries)
        pending[session] = clock.wall_ns()  # the ledger has not heard of it yet
        clock.advance(40)
        assert sessions.owner("secret", queries), "idle from the last request on"
        pending.clear()
        assert sessions.owner("secret", queries) is None
        pending[session] = clock.wall_ns()
        clock.advance(1)
        assert sessions.owner("secret", queries) is None, "over, however much is asked"


@pytest.fixture(scope="module")
def proxied(tmp_path_factory):
    config = CONFIG + (
        "web:\n  behind_proxy: true\n  hosts: [files.example]\n"
        "  limits: {failed_keys: 3}\n  sessions: {idle: 2s, longest: 1h}\n"
    )
    with Site(tmp_path_factory.mktemp("proxied"), config).running() as made:
        yield made


def beyond(site, address):
    """A browser on the other side of a proxy that speaks TLS."""
    headers = FROM_HERE | {
        "host": "files.example", "x-forwarded-for": address, "x-forwarded-proto": "https",
        "origin": "https://files.example",
    }  # fmt: skip
    return httpx2.Client(base_url=site.url, headers=headers, timeout=30)


def test_under_tls_the_cookie_is_bound_to_the_host(proxied):
    with beyond(proxied, "198.51.100.1") as browsing:
        (set_,) = follow_beyond(proxied, browsing).headers.get_list("set-cookie")
        assert re.fullmatch(
            rf"__Host-filemill-{proxied.port}=[\w-]{{43}}; Path=/; HttpOnly; SameSite=Lax; Secure",
            set_,
        )
        cookie = {"cookie": set_.partition(";")[0]}
        assert browsing.get("/stats", headers=cookie).status_code == 200
        assert (
            browsing.get("/stats", headers=cookie | {"origin": "http://files.example"}).status_code
            == 401
        )


def follow_beyond(site, browsing):
    path = link(site)
    return browsing.post("/login/link", data=hidden(browsing.get(path)))


def test_who_asks_nothing_for_a_while_is_logged_out(proxied):
    with beyond(proxied, "198.51.100.2") as browsing:
        set_ = follow_beyond(proxied, browsing).headers["set-cookie"]
        time.sleep(2.1)
        cookie = {"cookie": set_.partition(";")[0]}
        assert browsing.get("/stats", headers=cookie).status_code == 401


def test_whoever_guesses_has_to_wait_wherever_they_ask_from(proxied):
    right = make(proxied, "guessed", "--role", "viewer-meta")["key"]
    other = make(proxied, "other", "--role", "viewer-meta")["key"]
    wrong = right[:12] + "x" * (len(right) - 12)
    asked = itertools.count()

    def log_in(key):
        """From an address that nobody asked from before."""
        with beyond(proxied, f"203.0.113.{next(asked)}") as browsing:
            return browsing.post("/login/key", data={"key": key}).status_code

    assert [log_in(wrong) for _ in range(3)] == [401, 401, 401]
    # However slow the machine is: each further wrong one doubles the time to wait.
    assert any(log_in(wrong) and log_in(right) == 429 for _ in range(12))
    assert log_in(other) == 303, "nobody else waits"
    with beyond(proxied, "198.51.100.3") as browsing:
        links = [browsing.post("/login/link", data={"t": "x"}).status_code for _ in range(12)]
    assert links[:3] == [401, 401, 401]
    assert 429 in links
