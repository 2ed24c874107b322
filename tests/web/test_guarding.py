"""What every request passes: host, key, size; and what every answer has."""

import socket

import pytest
from fastapi.routing import APIRoute

from filemill.model.access import Right
from filemill.web.api import logging_in, resuming
from filemill.web.api.health import OPEN
from filemill.web.application import ROUTERS
from filemill.web.identifying import Needs


def routes():
    return [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]


def test_every_route_asks_for_a_right():
    """The list is made from the router: a route that forgets to ask is seen here."""
    unguarded = {
        (method, route.path)
        for route in routes()
        for method in route.methods
        if not any(isinstance(each.call, Needs) for each in route.dependant.dependencies)
    }
    told = {("OPTIONS", path) for path in resuming.OPEN}
    login = {
        (method, route.path)
        for route in logging_in.router.routes
        for method in route.methods
        if route.path in logging_in.OPEN
    }
    assert unguarded == {("GET", path) for path in OPEN} | told | login
    asked = [
        each.call.rights
        for route in routes()
        for each in route.dependant.dependencies
        if isinstance(each.call, Needs)
    ]
    assert asked
    assert all(rights and set(rights) <= set(Right) for rights in asked)


@pytest.mark.parametrize("path", ["/stats", "/files", "/files/abc", "/upload"])
def test_without_a_key_nothing_is_told(stranger, path):
    answer = stranger.post(path) if path == "/upload" else stranger.get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    error = answer.json()["error"]
    assert error["code"] == "unauthenticated"
    assert error["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer x", "Basic eDp5", "bearer fm_local_"])
def test_what_is_no_key_opens_nothing(stranger, given):
    answer = stranger.get("/stats", headers={"authorization": given})
    assert answer.status_code == 401


def test_life_is_told_to_everybody_and_nothing_else(stranger):
    assert stranger.get("/livez").json() == {"status": "ok"}
    assert stranger.get("/health").json() == {"status": "ok"}


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "[::2]", ""])
def test_another_host_name_is_not_served(client, site, host):
    """A page elsewhere whose name leads here (DNS rebinding) gets nothing, whatever it knows."""
    answer = client.get("/livez", headers={"host": host})
    assert answer.status_code == 421
    assert client.get("/livez", headers={"host": f"localhost:{site.port}"}).status_code == 200


def test_every_answer_has_the_headers(client, stranger):
    for answer in (client.get("/stats"), stranger.get("/stats"), client.get("/nothing")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers


def test_what_is_not_there_and_what_is_not_done_have_the_one_shape(client):
    missing = client.get("/nothing")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not-found")
    method = client.delete("/stats")
    assert (method.status_code, method.json()["error"]["code"]) == (405, "method-not-allowed")
    trace = client.request("TRACE", "/stats")
    assert trace.status_code == 405
    invalid = client.get("/files?limit=0")
    assert (invalid.status_code, invalid.json()["error"]["code"]) == (422, "invalid")
    unknown = client.get("/files/zzzzzzzz")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "not-found")
    state = client.get("/files?state=nonsense")
    assert (state.status_code, state.json()["error"]["code"]) == (400, "bad-request")
    assert "done" in state.json()["error"]["help"]


def said(site, request: bytes) -> bytes:
    """What the server says to these very bytes, until it closes."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
            if b"\r\n\r\n" in answer and b"connection: close" not in answer.lower():
                break
        return answer


def until_closed(site, request: bytes) -> bytes:
    """What the server says to these very bytes; it closes soon."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=8) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def test_a_body_that_nobody_wants_is_not_read(client, site):
    assert client.request("GET", "/stats", content=b"x" * (1 << 21)).status_code == 413
    request = (
        (
            f"GET /stats HTTP/1.1\r\nhost: 127.0.0.1:{site.port}\r\nauthorization: Bearer {site.key}\r\n"
            "transfer-encoding: chunked\r\n\r\n"
        ).encode()
        + b"".join(b"10000\r\n" + b"x" * 65536 + b"\r\n" for _ in range(2))
        + b"0\r\n\r\n"
    )
    assert b" 200 " in said(site, request)


@pytest.mark.parametrize(
    "head",
    [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 5\r\ncontent-length: 5\r\n",
        "content-length: 5, 5\r\n",
        "content-length: -5\r\n",
        "content-length: +5\r\n",
        "content-length: 5 \t6\r\n",
        "content-length: 0x5\r\n",
        "content-length: 99999999999999999999\r\n",
        "x: y\r\n folded\r\n",
        "x: y\r\n\tcontent-length: 5\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        "transfer-encoding : chunked\r\n",
        "transfer-encoding: chunked\r\n\r\nzz\r\n",
        "bad header\r\n",
        "x\0y: z\r\n",
        "x: \0\r\n",
        "x: y\rcontent-length: 5\r\n",
    ],
)
def test_requests_that_two_servers_would_read_differently_are_refused(site, head):
    """Request smuggling: refused, and the connection closed, so that nothing behind it is ever a request."""
    request = (
        f"POST /stats HTTP/1.1\r\nhost: 127.0.0.1:{site.port}\r\n{head}\r\n0\r\n\r\n"
        f"GET /livez HTTP/1.1\r\nhost: 127.0.0.1:{site.port}\r\n\r\n"
    )
    answer = until_closed(site, request.encode("latin-1"))
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert answer.count(b"HTTP/1.1 ") == 1, answer


def test_a_head_without_end_is_cut_off(site):
    request = f"GET /livez HTTP/1.1\r\nhost: 127.0.0.1:{site.port}\r\nx: ".encode() + b"y" * 70_000
    answer = said(site, request)
    assert b" 431 " in answer
    assert b'"too-large"' in answer


def test_two_hosts_are_none(site):
    request = f"GET /livez HTTP/1.1\r\nhost: 127.0.0.1:{site.port}\r\nhost: evil.example\r\n\r\n"
    assert b" 400 " in said(site, request.encode())
