"""Connections of clients that take or send nothing, or never end: each costs little, and comes to an end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time

import pytest
import uvicorn
import uvloop
from authority import Authority
from starlette.exceptions import HTTPException

import serving
from filemill.web import bodies, connection, door, lingering
from filemill.web.bodies import Body
from filemill.web.serving import _Server


async def small(scope, receive, send):
    """Answers without reading anything; at /early it says that it closes, at /wait it takes its time."""
    body = b"here"
    if scope["path"] == "/large":
        body = b"x" * (64 << 20)
    if scope["path"] == "/wait":
        await asyncio.sleep(0.4)
    headers = [(b"content-length", str(len(body)).encode())]
    headers += [(b"connection", b"close")] if scope["path"] == "/early" else []
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for at in range(0, len(body), 65_536):
        more = at + 65_536 < len(body)
        piece = body[at : at + 65_536]
        await send({"type": "http.response.body", "body": piece, "more_body": more})


class Served:
    """`small`, by the connections of the product, in a thread."""

    def __init__(self, context=None):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        config = uvicorn.Config(
            small, http=connection.Connection, ws="none", lifespan="off", log_config=None,
            access_log=False, timeout_graceful_shutdown=1,
        )  # fmt: skip
        if context is not None:
            config.ssl_context_factory = lambda *_: context
        self._ready = threading.Event()
        self.server = _Server(config, self._ready.set)
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        uvloop.run(self.server.serve(sockets=[self.socket]))

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_):
        self.server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def count(self):
        return len(self.server.server_state.connections)


@pytest.fixture
def served():
    # `capture_signals` of uvicorn is for the main thread alone, and does nothing in this one.
    with Served() as made:
        yield made


def said(made):
    """All that comes until the other side ends."""
    answer = b""
    with contextlib.suppress(ConnectionResetError, ssl.SSLError):
        while piece := made.recv(65_536):
            answer += piece
    return answer


REQUEST = b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n"


def test_who_goes_on_sending_after_its_answer_is_cut_off(served, monkeypatch):
    monkeypatch.setattr(lingering, "LINGER", 1.5)
    began = time.monotonic()
    with served.connect() as made:
        made.sendall(REQUEST % b"/early")
        sent = 0
        with pytest.raises(OSError):  # noqa: PT012 -- which of them is a race
            while time.monotonic() < began + 20:
                made.sendall(b"x")
                sent += 1
                time.sleep(0.05)
        assert sent > 5, "it had time to read"
    assert 1 < time.monotonic() - began < 20
    serving.until(lambda: served.count() == 0)


def test_who_falls_silent_after_its_answer_is_let_go(served, monkeypatch):
    monkeypatch.setattr(lingering, "SILENCE", 0.3)
    with served.connect() as made:
        made.sendall(REQUEST % b"/early")
        assert b"here" in said(made)
        serving.until(lambda: served.count() == 0)


@pytest.mark.parametrize("path", [b"/early", b"/"])
def test_who_sends_all_and_reads_then_has_its_answer_and_an_end(served, path):
    with served.connect() as made:
        made.sendall(REQUEST % path + b"x" * 900_000)
        assert b"here" in said(made)
    serving.until(lambda: served.count() == 0)


def test_a_client_that_takes_nothing_of_its_answer_is_given_up(served, monkeypatch):
    monkeypatch.setattr(connection, "STUCK", 0.5)
    with served.connect() as made:
        made.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        serving.until(lambda: served.count() == 1)
        serving.until(lambda: served.count() == 0)


def test_a_client_that_takes_its_answer_slowly_is_not(served, monkeypatch):
    """Also where the kernel has taken so much that it asks for no more for long."""
    monkeypatch.setattr(connection, "STUCK", 1.5)
    with served.connect() as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        made.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        taken = 0
        ends = time.monotonic() + 5
        while time.monotonic() < ends:
            taken += len(made.recv(16_384))
            time.sleep(0.1)
        made.settimeout(30)
        while taken < 64 << 20 and (piece := made.recv(1 << 20)):
            taken += len(piece)
        assert taken > 64 << 20, "with the head"


def test_an_unfinished_head_does_not_cut_into_the_answer_before_it(served, monkeypatch):
    """Two requests at once, the second one cut off, or none at all: the first is answered whole."""
    monkeypatch.setattr(connection, "HEAD_PATIENCE", 0.2)
    first = b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n"
    for second in (b"GET /", b"\x00\x01\x02", b"GET / HTTP/1.1\r\nx: " + b"y" * 40_000):
        with served.connect() as made:
            made.sendall(first + second)
            answer = said(made)
            assert answer.startswith(b"HTTP/1.1 200 ") or not answer
            assert answer.count(b"HTTP/1.1 200 ") <= 1
            if second == b"GET /":
                assert b"here" in answer
                assert b" 408 " in answer


def test_what_is_no_request_is_refused_in_the_one_shape(served):
    with served.connect() as made:
        made.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01")
        answer = said(made)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"bad-request"' in answer
    number = answer.split(b"x-request-id: ")[1].partition(b"\r\n")[0]
    assert b'"request_id":"%s"' % number in answer


def test_an_upgrade_that_nobody_speaks_is_answered_as_it_was_asked(served):
    with served.connect() as made:
        made.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n")
        assert b"HTTP/1.1 200 " in made.recv(65_536)


@pytest.fixture
def secured(tmp_path):
    authority = Authority(tmp_path)
    certificate, key = authority.sign("web")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Served(context) as made:
        made.trusting = ssl.create_default_context(cafile=str(authority.path))
        yield made


def greeted(secured):
    with secured.trusting.wrap_socket(secured.connect(), server_hostname="127.0.0.1") as made:
        made.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        return said(made)


def test_handshakes_that_never_end_are_counted_and_end(secured, monkeypatch):
    monkeypatch.setattr(door, "HANDSHAKE", 4)
    monkeypatch.setattr(door, "PER_ADDRESS", 3)
    silent = [secured.connect() for _ in range(3)]
    began = time.monotonic()
    time.sleep(0.2)
    with secured.connect() as one_too_many:
        assert said(one_too_many) == b"", "and no handshake is begun for it"
    assert time.monotonic() - began < 3
    for each in silent:
        said(each)
        each.close()
    assert 3 < time.monotonic() - began < 30
    # They see their end a moment before they are no longer counted.
    serving.until(lambda: b"here" in _try(secured))


def test_new_connections_of_one_address_wait_their_turn_and_nobody_elses(secured, monkeypatch):
    monkeypatch.setattr(door, "NEW_A_SECOND", 4)
    monkeypatch.setattr(door, "NEW_AT_ONCE", 2)
    done, there = [], threading.Barrier(9)

    def greet(address, number):
        made = socket.create_connection(
            ("127.0.0.1", secured.port), timeout=20, source_address=(address, 0)
        )
        if address == "127.0.0.1":
            there.wait(20)
        with secured.trusting.wrap_socket(made, server_hostname="127.0.0.1"):
            done.append((address, number))

    many = [threading.Thread(target=greet, args=("127.0.0.1", n)) for n in range(8)]
    for each in many:
        each.start()
    there.wait(20)
    serving.until(lambda: len(done) >= 2)
    greet("127.0.0.2", 0)
    for each in many:
        each.join()
    assert len(done) == 9, "none is turned away"
    assert done.index(("127.0.0.2", 0)) < 8, "another address waits for none of them"


def test_a_handshake_that_fails_is_not_counted_for_ever(secured, monkeypatch):
    monkeypatch.setattr(door, "PER_ADDRESS", 2)
    for _ in range(5):
        with secured.connect() as made:
            made.sendall(b"GET / HTTP/1.1\r\n\r\n")
            said(made)
    serving.until(lambda: b"here" in _try(secured))


def _try(secured):
    with contextlib.suppress(ssl.SSLError, OSError):
        return greeted(secured)
    return b""


def test_a_refusal_is_read_under_tls_too(secured, monkeypatch):
    monkeypatch.setattr(lingering, "SILENCE", 0.5)
    with secured.trusting.wrap_socket(secured.connect(), server_hostname="127.0.0.1") as made:
        made.sendall(REQUEST % b"/early" + b"x" * 1_000_000)
        assert b"here" in said(made)


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(bodies, "PATIENCE", 0.1)
    scope = {"headers": [(b"content-length", b"10")]}

    async def never():
        await asyncio.sleep(20)

    body = Body(scope, never, is_bounded=True)
    with pytest.raises(HTTPException) as cut:
        asyncio.run(body.receive())
    assert cut.value.status_code == 408
    assert not body.is_whole


def test_the_end_of_a_connection_may_be_waited_for_as_long_as_it_takes(monkeypatch):
    monkeypatch.setattr(bodies, "PATIENCE", 0.05)
    messages = [{"type": "http.request", "body": b"1", "more_body": False}]

    async def receive():
        if messages:
            return messages.pop()
        await asyncio.sleep(0.3)
        return {"type": "http.disconnect"}

    async def read():
        body = Body({"headers": [(b"transfer-encoding", b"chunked")]}, receive, is_bounded=True)
        await body.receive()
        assert body.is_whole
        return await body.receive()

    assert asyncio.run(read())["type"] == "http.disconnect"
