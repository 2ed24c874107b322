"""Limits: wrong keys, too many requests and bytes, too many uploads at once, senders that are too slow."""

from __future__ import annotations

import socket

import pytest
from sites import CONFIG, Site

import serving
from filemill.model.plan import LimitsPlan
from filemill.web.errors import ApiError
from filemill.web.limiting import LONGEST_PAUSE, MOST_ADDRESSES, Limits, Pace

LIMITS = """\
web:
  behind_proxy: true
  limits: {requests: 40, failed_keys: 3, uploads: 1, bytes_per_day: 500KB}
"""


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("limited"), CONFIG + LIMITS).running() as made:
        yield made


def test_wrong_keys_make_an_address_wait_and_no_other(limited):
    with limited.client("wrong") as wrong, limited.client() as right:
        here = {"x-forwarded-for": "198.51.100.1"}
        tried = [wrong.get("/stats", headers=here).status_code for _ in range(4)]
        assert tried == [401, 401, 401, 429]
        refused = right.get("/stats", headers=here)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["code"] == "too-many"
        # The address counts that the proxy added, the last one, and none that the client made up.
        made_up = {"x-forwarded-for": "203.0.113.9, 198.51.100.1"}
        assert right.get("/stats", headers=made_up).status_code == 429
        other = {"x-forwarded-for": "198.51.100.1, 203.0.113.9"}
        assert right.get("/stats", headers=other).status_code == 200
        serving.until(lambda: right.get("/stats", headers=here).status_code == 200)


def test_without_behind_proxy_nobody_says_where_he_comes_from(site):
    with site.client("wrong") as wrong:
        tried = [
            wrong.get("/stats", headers={"x-forwarded-for": f"198.51.100.{n}"}).status_code
            for n in range(11)
        ]
    assert tried == [401] * 10 + [429]


def test_too_many_requests_a_second_are_refused(limited):
    with limited.stranger() as one:
        here = {"x-forwarded-for": "198.51.100.2"}
        seen = [one.get("/livez", headers=here).status_code for _ in range(120)]
        assert 429 in seen
        assert seen[:30] == [200] * 30
        assert one.get("/livez", headers={"x-forwarded-for": "198.51.100.3"}).status_code == 200


def test_an_upload_too_many_waits_and_bytes_of_a_day_come_to_an_end(limited):
    with socket.create_connection(("127.0.0.1", limited.port), timeout=20) as slow:
        slow.sendall(
            (
                f"POST /upload?name=slow.csv HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 9\r\n"
                f"authorization: Bearer {limited.key}\r\n\r\na,b\n"
            ).encode()
        )
        serving.until(limited.staged)
        with limited.client() as client:
            refused = client.post("/upload?name=b.csv", content=b"a\n1\n")
            assert refused.status_code == 429
            assert "uploads at once" in refused.json()["error"]["message"]
            slow.sendall(b"1,2\n\n")
            assert b" 201 " in slow.recv(65536)
            assert client.post("/upload?name=c.csv", content=b"x" * 400_000).status_code == 201
            over = client.post("/upload?name=d.csv", content=b"x" * 200_000)
            assert over.status_code == 429
            assert "in a day" in over.json()["error"]["message"]
            assert int(over.headers["retry-after"]) > 1
            assert not limited.staged()


def test_a_pause_grows_and_ends_and_old_failures_are_forgotten():
    now = 0.0
    limits = Limits(lambda: LimitsPlan(failed_keys=3), lambda: now)

    def pause():
        try:
            limits.may_try("a")
        except ApiError as error:
            return int(error.headers["retry-after"])
        return 0

    found = []
    for _ in range(15):
        limits.failed("a")
        found.append(pause())
        now += found[-1]
        assert pause() == 0
    assert found[:7] == [0, 0, 1, 2, 4, 8, 16]
    assert found[-1] == LONGEST_PAUSE
    now += 3600
    limits.failed("a")
    assert pause() == 0


def test_only_so_many_addresses_are_remembered():
    limits = Limits(lambda: LimitsPlan(failed_keys=1))
    for number in range(MOST_ADDRESSES + 1):
        limits.failed(str(number))
    limits.may_try("0")
    with pytest.raises(ApiError):
        limits.may_try("1")


def test_a_sender_of_a_byte_now_and_then_is_cut_off_and_a_slow_disk_of_ours_is_not_its_fault():
    drip = Pace(100, 30)
    drip.took(29, 1)
    with pytest.raises(ApiError) as cut:
        drip.took(29, 1)
    assert cut.value.status == 408
    steady = Pace(100, 30)
    for _ in range(100):
        steady.took(10, 1001)


def test_a_crowd_of_idle_connections_keeps_nobody_out(site):
    """In short: as many as one address may have, and then some; whoever asks meanwhile is answered."""
    held = []
    try:
        held += _connections(site, 500)
        with site.stranger() as one:
            assert one.get("/livez").status_code == 200
        held += _connections(site, 100)
        assert b" 429 " in held[-1].recv(4096)
    finally:
        for each in held:
            each.close()
    serving.until(lambda: _answers(site))


def _connections(site, count):
    return [socket.create_connection(("127.0.0.1", site.port), timeout=20) for _ in range(count)]


def _answers(site):
    with site.stranger() as one:
        return one.get("/livez").status_code == 200
