"""Every route, made from the router: which role it opens to, and that no tenant reaches another through it."""

import contextlib
import re
import time

import pytest
from sites import Site
from tenants import CONFIG, PART, TABLE, TUS, Tenant, make_key, metadata, revoke, routes

import serving
from filemill.model.access import ROLES, Right
from filemill.web.api.events import HEARTBEAT
from filemill.web.limiting import LISTENERS_EACH

LOOK, OWN, CONTENT = {Right.VIEW_META}, {Right.VIEW_META, Right.UPLOAD}, {Right.VIEW_CONTENT}
SEND, ACT, RULE = {Right.UPLOAD}, {Right.OPERATE}, {Right.ADMINISTER}
NEEDED = {
    ("GET", "/stats"): LOOK,
    ("GET", "/runs"): LOOK,
    ("GET", "/runs/{run}"): LOOK,
    ("GET", "/pipelines"): LOOK,
    ("GET", "/revisions"): LOOK,
    ("GET", "/sources"): OWN,
    ("GET", "/sinks"): LOOK,
    ("GET", "/workers"): LOOK,
    ("GET", "/dead"): LOOK,
    ("GET", "/dead/{group}"): LOOK,
    ("GET", "/held"): LOOK,
    ("GET", "/events"): LOOK,
    ("GET", "/openapi.json"): LOOK,
    ("GET", "/docs"): LOOK,
    ("GET", "/metrics"): LOOK | {Right.SCRAPE},
    ("GET", "/files"): OWN,
    ("GET", "/files/{file}"): OWN,
    ("GET", "/files/{file}/content"): CONTENT,
    ("GET", "/files/{file}/outputs/{publication}"): CONTENT,
    ("GET", "/runs/{run}/input"): CONTENT,
    ("POST", "/files/{file}/mend"): ACT,
    ("POST", "/{entrance:path}"): SEND,
    ("POST", "/uploads"): SEND,
    ("HEAD", "/uploads/{file}"): SEND,
    ("PATCH", "/uploads/{file}"): SEND,
    ("POST", "/uploads/{file}"): SEND,
    ("DELETE", "/uploads/{file}"): SEND,
    ("POST", "/dead/redrive"): ACT,
    ("POST", "/dead/discard"): ACT,
    ("POST", "/dead/resolve"): ACT,
    ("POST", "/held/release"): ACT | {Right.RELEASE_UNSAFE},
    ("POST", "/held/discard"): ACT,
    ("POST", "/files/replay"): ACT,
    ("POST", "/runs/cancel"): ACT,
    ("POST", "/pipelines/{name}/pause"): ACT,
    ("POST", "/pipelines/{name}/resume"): ACT,
    ("GET", "/session"): frozenset(Right),
    ("GET", "/audit"): RULE,
    ("GET", "/audit/verify"): RULE,
    ("GET", "/keys"): RULE,
    ("POST", "/keys"): RULE,
    ("POST", "/keys/revoke"): RULE,
    ("GET", "/sessions"): RULE,
    ("POST", "/sessions/end"): RULE,
    ("POST", "/config/reload"): RULE,
    ("POST", "/drain"): RULE,
}
"""What each route asks for, said once more and by hand: one of these rights."""
NONSENSE = {"no-such-word": 1}
"""A body that no route takes: nothing is done, and whoever may not do it is told that first."""
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("rights"), CONFIG).running() as made:
        yield made


@pytest.fixture(scope="module")
def acme(site):
    return Tenant(site, "acme", (".csv", b"a,a\n1,2\n"))


@pytest.fixture(scope="module")
def bo(site):
    return Tenant(site, "bo", (".json", b'{"a": '))


def status_of(client, method, path, **asked):
    """What a route answers; of a stream no more than its beginning is read."""
    with client.stream(method, path, **asked) as answer:
        return answer.status_code


def nothing_of(path):
    """A route's path that leads to nothing."""
    return re.sub(r"\{\w+\}", "zzzzzzzz", path.replace("{entrance:path}", "acme"))


@pytest.mark.parametrize("role", ["", *ROLES])
def test_each_role_is_let_through_by_the_routes_of_its_rights_alone(site, role):
    """Through the door, with a real key: what is refused (403), and what is only a bad request."""
    key = make_key(site, f"matrix-{role}", role) if role else None
    client = site.client(key) if key else site.stranger()
    opened, shut = set(), set()
    with client:
        for method, path, needs in routes():
            body = {"json": NONSENSE} if method in {"POST", "PATCH"} else {}
            status = status_of(client, method, nothing_of(path), **body)
            if needs is None:  # another test says which these are
                continue
            if not role:
                assert status == 401, (method, path, status)
            elif NEEDED[method, path] & ROLES[role]:
                assert status not in {401, 403}, (method, path, status)
                assert status < 500, (method, path, status)
                opened.add(path)
            else:
                assert status == 403, (method, path, status)
                shut.add(path)
    # The controls: there is something on both sides of the line.
    assert opened or role in {"", "scraper"}
    assert shut or role in {"", "admin"}


def test_a_method_that_is_not_listed_is_not_done(client):
    known = [(method, re.compile(_pattern(path))) for method, path, _ in routes()]
    for path in sorted({nothing_of(path) for _, path, _ in routes()}):
        listed = {method for method, pattern in known if pattern.fullmatch(path)}
        for method in METHODS:
            if method not in listed:
                answer = client.request(method, path)
                assert answer.status_code == 405, (method, path, answer.status_code)
                assert answer.json()["error"]["code"] == "method-not-allowed"


def _pattern(path):
    return re.sub(r"\{\w+\}", "[^/]+", path.replace("{entrance:path}", "acme"))


LISTS = {"/stats", "/files", "/runs", "/dead", "/held", "/pipelines", "/sources", "/audit"}
OF_ONE = {
    ("GET", "/files/{file}"),
    ("GET", "/files/{file}/content"),
    ("GET", "/files/{file}/outputs/{publication}"),
    ("GET", "/runs/{run}"),
    ("GET", "/runs/{run}/input"),
    ("POST", "/files/{file}/mend"),
    ("GET", "/dead/{group}"),
    ("HEAD", "/uploads/{file}"),
    ("PATCH", "/uploads/{file}"),
    ("POST", "/uploads/{file}"),
    ("DELETE", "/uploads/{file}"),
}
"""What is named in the path: another's is not there."""
ACTS = {
    "/dead/redrive": "dead",
    "/dead/discard": "dead",
    "/held/release": "held",
    "/held/discard": "held",
    "/files/replay": "done",
    "/runs/cancel": "done",
}
"""What acts on ids in the body: which of a tenant's."""
WHOLE = {
    ("GET", "/audit/verify"),
    ("GET", "/keys"),
    ("POST", "/keys"),
    ("POST", "/keys/revoke"),
    ("GET", "/sessions"),
    ("POST", "/sessions/end"),
    ("GET", "/metrics"),
    ("GET", "/revisions"),
    ("GET", "/sinks"),
    ("GET", "/workers"),
    ("POST", "/dead/resolve"),
    ("POST", "/pipelines/{name}/pause"),
    ("POST", "/pipelines/{name}/resume"),
    ("POST", "/config/reload"),
    ("POST", "/drain"),
}
"""What touches all tenants' files: not for a key that is for one's."""
BODIES = {
    "/keys": {"name": "whole", "roles": ["admin"]},
    "/keys/revoke": {"keys": ["abcdefgh"]},
    "/sessions/end": {"sessions": ["abcdefgh"]},
}
"""What a route takes that looks at the body before anything is done."""
APART = {
    ("GET", "/events"),
    ("GET", "/session"),
    ("POST", "/uploads"),
    ("POST", "/{entrance:path}"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
}
"""Looked at below, or the same for everybody."""


def test_every_route_is_looked_at_here():
    """A new one must be put into one of the sets: nobody forgets to ask whose it is."""
    known = {("GET", each) for each in LISTS} | OF_ONE | WHOLE | APART
    known |= {("POST", each) for each in ACTS}
    asking = {(method, path) for method, path, needs in routes() if needs is not None}
    assert known == asking == set(NEEDED)


def tus_headers(method):
    if method == "PATCH":
        return PART
    return PART | {"x-http-method-override": "PATCH"} if method == "POST" else TUS


def ask_for_one(client, tenant, method, path):
    headers = tus_headers(method) if "/uploads/" in path else {}
    body = {"content": b"x"} if method in {"PATCH", "POST"} else {}
    return client.request(method, tenant.path_of(path), headers=headers, **body)


@pytest.mark.parametrize("asked", sorted(OF_ONE))
@pytest.mark.parametrize("whose", ["key", "narrow"])
def test_what_another_tenant_has_is_not_there(site, acme, bo, asked, whose):
    method, path = asked
    with site.client(getattr(acme, whose)) as client:
        theirs = ask_for_one(client, bo, method, path)
    assert not bo.is_told_of(theirs.text, asked=bo.path_of(path))
    if whose == "key" and path not in {"/files/{file}", "/uploads/{file}"}:
        assert theirs.status_code == 403  # no right to look at that at all
        return
    assert theirs.status_code == 404, theirs.text
    if method in {
        "GET",
        "HEAD",
    }:  # the control; an upload is only its sender's, whatever else one may
        owner = bo.key if path == "/uploads/{file}" else bo.narrow
        with site.client(owner) as client:
            answer = ask_for_one(client, bo, method, path)
        if path == "/runs/{run}/input":  # it is their run, of which nothing is kept
            assert answer.json()["error"]["code"] == "not-kept"
        else:
            assert answer.status_code == 200


@pytest.mark.parametrize("path", sorted(LISTS))
def test_a_list_tells_nothing_of_another_tenant(site, client, acme, bo, path):
    for mine, other in ((acme, bo), (bo, acme)):
        with site.client(mine.narrow) as narrow:
            answer = narrow.get(path)
        assert answer.status_code == 200, answer.text
        assert not other.is_told_of(answer.text), path
    everything = client.get(path, params={} if path in {"/stats", "/pipelines"} else {"limit": 500})
    if path in {"/files", "/runs", "/dead", "/held"}:
        assert acme.is_told_of(everything.text), "the control: who may look sees all"
        assert bo.is_told_of(everything.text)


@pytest.mark.parametrize("path", sorted(ACTS))
def test_nobody_acts_on_what_another_tenant_has(site, client, acme, bo, path):
    what = ACTS[path]
    theirs = getattr(bo, what)
    before = client.get(f"/files/{theirs}").json()
    more = {"supersede": False} if path == "/files/replay" else {}
    asked = [[theirs], [theirs[:8]]]
    asked += [[getattr(acme, what), theirs]] if path != "/runs/cancel" else []
    with site.client(acme.narrow) as narrow:
        for ids in asked:
            answer = narrow.post(path, json={"ids": ids, **more})
            assert answer.status_code == 404, answer.text
            assert not bo.is_told_of(answer.text, asked=theirs)
        if path != "/runs/cancel":
            plan = narrow.post(path, json={"query": {}, "dry_run": True, **more})
            assert plan.status_code == 200, plan.text
            assert acme.is_told_of(plan.text), "the control"
            assert not bo.is_told_of(plan.text)
    assert client.get(f"/files/{theirs}").json() == before
    with site.client(acme.key) as sender:
        assert sender.post(path, json={"ids": [acme.done]}).status_code == 403


@pytest.mark.parametrize(("method", "path"), sorted(WHOLE))
def test_what_touches_all_is_not_for_a_part(site, acme, method, path):
    with site.client(acme.narrow) as narrow:
        body = {"json": {"groups": [acme.group]} if "resolve" in path else BODIES.get(path, {})}
        body = {} if method == "GET" else body
        answer = narrow.request(method, path.replace("{name}", "tables"), **body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")


def test_nobody_sends_to_another_tenants_source(site, client, acme, bo):
    for key in (acme.key, acme.narrow):
        with site.client(key) as sender:
            assert sender.post("/bo?name=x.csv", content=TABLE).status_code == 403
            said = {
                "upload-length": "3",
                "upload-metadata": metadata(filename="x.csv", source="bo"),
            }
            assert sender.post("/uploads", headers=TUS | said).status_code == 403
    assert client.get("/files?name=x.csv").json()["items"] == []
    # The same Idempotency-Key of two tenants is two files.
    ids = set()
    for tenant in (acme, bo):
        with site.client(tenant.key) as sender:
            headers = {"idempotency-key": "same"}
            answer = sender.post(f"/{tenant.name}?name=s.csv", content=TABLE, headers=headers)
            assert answer.status_code == 201, answer.text
            ids.add(answer.json()["files"][0]["id"])
    assert len(ids) == 2


def test_who_listens_hears_nothing_of_another_tenant(site, acme, bo):
    def send(tenant):
        with site.client(tenant.key) as sender:
            answer = sender.post(f"/{tenant.name}?wait=20s&name=told.csv", content=TABLE)
            return answer.json()["files"][0]["id"]

    with site.client(acme.narrow) as listener, listener.stream("GET", "/events") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("retry")
        theirs, mine = send(bo), send(acme)
        heard = []
        for line in lines:
            heard.append(line)
            if mine in line and "RunFinished" in heard[-2]:
                break
    assert not any(theirs in line for line in heard)


def test_no_key_listens_more_often_than_it_may_and_leaves_room_for_others(site):
    one, other = (make_key(site, f"ear-{n}", "viewer-meta") for n in (1, 2))
    with contextlib.ExitStack() as held:
        client = held.enter_context(site.client(one))
        for _ in range(LISTENERS_EACH):
            stream = held.enter_context(client.stream("GET", "/events"))
            assert stream.status_code == 200
        with client.stream("GET", "/events") as more:
            assert more.status_code == 429
            assert int(more.headers["retry-after"]) > 0
        with site.client(other) as second, second.stream("GET", "/events") as stream:
            assert stream.status_code == 200
    with site.client(one) as client:
        serving.until(lambda: status_of(client, "GET", "/events") == 200)


def test_a_stream_ends_when_its_key_does(site):
    key = make_key(site, "ear-over", "viewer-meta")
    with site.client(key) as client, client.stream("GET", "/events") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("retry")
        revoke(site, "ear-over")
        ends = time.monotonic() + HEARTBEAT
        for line in lines:  # and then the server closes it
            assert not line.startswith("data")
            assert time.monotonic() < ends, "it goes on"
        assert client.get("/events").status_code == 401
