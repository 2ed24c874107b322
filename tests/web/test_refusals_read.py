"""Whoever is refused while it sends can read why: nothing is cut off under its hands."""

from __future__ import annotations

import socket
import time

import pytest

PIECE = b"x" * 65_536
MOST = 48
"""Pieces: 3 MB, which is more than one file may have here."""
CASES = {
    "its name": ("/upload?name=x.exe", 415, MOST),
    "its size": ("/upload?name=large.csv", 413, MOST),
    "no route reads it": ("/runs", 405, 12),
    "its key": ("/upload?name=a.csv", 401, 6),
    "its host": ("/upload?name=a.csv", 421, MOST),
}
"""Why it is refused, and of how many pieces its body is."""


def head(site, why, length):
    path, _, _ = CASES[why]
    key = "fm_no" if why == "its key" else site.key
    host = "evil.example" if why == "its host" else "127.0.0.1"
    return (
        f"POST {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n"
        f"content-length: {length}\r\n"
    )


def everything(connection):
    answer = b""
    while piece := connection.recv(65_536):
        answer += piece
    return answer


def refused(site, why, *, pause=0.0, expects=False):
    """What is read when all is sent."""
    count = CASES[why][2]
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as connection:
        more = "expect: 100-continue\r\n" if expects else ""
        connection.sendall((head(site, why, count * len(PIECE)) + more + "\r\n").encode())
        for _ in range(count):
            time.sleep(pause)
            connection.sendall(PIECE)
        return everything(connection)


@pytest.mark.parametrize("why", [each for each in CASES if each != "its key"])
def test_a_refusal_is_read_by_a_client_that_sends_all_first(site, why):
    """Before it was said that nobody reads the body, so the client goes on; many times, since it is a race."""
    status = CASES[why][1]
    for number in range(40):
        answer = refused(site, why, expects=number % 2 == 1)
        assert answer.count(b"HTTP/1.1 ") == 1 + (b" 100 " in answer), answer[:400]
        assert f"HTTP/1.1 {status} ".encode() in answer
        assert b"connection: close" in answer


@pytest.mark.parametrize("why", CASES)
def test_what_comes_behind_a_refusal_is_no_head(site, why):
    """It was taken for the head of another request, and answered 431 on top, or 408 where it was slow."""
    status = CASES[why][1]
    answer = refused(site, why, pause=0.02)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert f"HTTP/1.1 {status} ".encode() in answer


def test_what_was_said_to_be_a_body_is_never_a_request(site):
    """A client that got its refusal instead of `100 Continue` may leave the body out; then nothing can follow."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as connection:
        connection.sendall(
            (head(site, "its name", 200) + "expect: 100-continue\r\n\r\n").encode()
            + b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
        )
        answer = everything(connection)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b" 415 " in answer
