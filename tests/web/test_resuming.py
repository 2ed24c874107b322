"""Uploads in parts: what was answered stays, whatever is cut or killed; every word of tus by hand-written requests."""

import asyncio
import base64
import contextlib
import hashlib
import os
import signal
import socket
import sqlite3
import time

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sites import Site, web_child

import serving
from filemill.durable import Durable, Failpoints
from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.model.deeds import Deed
from filemill.service import acts
from filemill.service.part_uploads import LIFE_NS, PartUploads
from filemill.sources.http import HttpSource
from filemill.testing.clock import FakeClock

TUS = {"tus-resumable": "1.0.0"}
PART = TUS | {"content-type": "application/offset+octet-stream"}
TABLE = b"a,b\n" + b"1,2\n" * 1000


def metadata(**words):
    return ",".join(f"{key} {base64.b64encode(w.encode()).decode()}" for key, w in words.items())


def begin(client, name, length, **more):
    headers = TUS | {"upload-metadata": metadata(filename=name), "upload-length": str(length)}
    headers |= {key.replace("_", "-"): value for key, value in more.items()}
    return client.post("/uploads", headers=headers)


def add(client, location, offset, data, **more):
    headers = PART | {"upload-offset": str(offset)}
    headers |= {key.replace("_", "-"): value for key, value in more.items()}
    return client.patch(location, content=data, headers=headers)


def offset_of(client, location):
    answer = client.head(location, headers=TUS)
    assert answer.status_code == 200, answer.text
    return int(answer.headers["upload-offset"])


def test_a_file_in_parts(site, client):
    begun = begin(client, "parts.csv", len(TABLE))
    assert begun.status_code == 201, begun.text
    location = begun.headers["location"]
    assert begun.headers["upload-offset"] == "0"
    assert "upload-expires" in begun.headers
    first = add(client, location, 0, TABLE[:1000])
    assert (first.status_code, first.headers["upload-offset"]) == (204, "1000"), first.text
    assert offset_of(client, location) == 1000
    wrong = add(client, location, 900, TABLE[900:])
    assert (wrong.status_code, wrong.headers["upload-offset"]) == (409, "1000")
    last = add(client, location, 1000, TABLE[1000:])
    assert last.status_code == 204, last.text
    assert offset_of(client, location) == len(TABLE)
    shown = client.get(last.headers["filemill-file"]).json()
    assert (shown["name"], shown["source"]) == ("parts.csv", "upload")
    serving.until((site.root / "out" / "parts.csv").exists)
    assert (site.root / "out" / "parts.csv").read_bytes() == TABLE
    assert location.rpartition("/")[2] not in site.staged()
    assert client.delete(location, headers=TUS).status_code == 409


def test_what_is_spoken_is_told_without_a_key(stranger):
    answer = stranger.options("/uploads")
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == answer.headers["tus-resumable"] == "1.0.0"
    assert {"creation", "termination", "checksum"} <= set(
        answer.headers["tus-extension"].split(",")
    )
    assert answer.headers["tus-checksum-algorithm"] == "sha256,sha1"
    assert int(answer.headers["tus-max-size"]) == 1 << 30
    refused = stranger.post("/uploads", headers=TUS)
    assert refused.status_code == 401
    assert refused.headers["tus-resumable"] == "1.0.0"


def test_another_version_is_refused(client):
    answer = client.post("/uploads", headers={"tus-resumable": "0.2.2", "upload-length": "3"})
    assert (answer.status_code, answer.headers["tus-version"]) == (412, "1.0.0")


@pytest.mark.parametrize(
    ("name", "length", "status"),
    [("big.csv", 3_000_000, 413), ("page.html", 3, 415), (".hidden", 3, 422), ("a.csv", "x", 400)],
)
def test_what_would_be_refused_is_refused_at_once(client, name, length, status):
    assert begin(client, name, length).status_code == status


def test_the_source_and_tags_are_named_in_the_metadata(client):
    said = metadata(filename="named.csv", source="other", tag="batch:7,urgent", filetype="x/y")
    answer = begin(client, "", len(TABLE), upload_metadata=said)
    done = add(client, answer.headers["location"], 0, TABLE)
    shown = client.get(done.headers["filemill-file"]).json()
    assert shown["source"] == "other"
    assert {"partner:acme", "batch:7", "urgent"} <= set(shown["tags"])
    said = metadata(filename="named.csv", source="nowhere")
    assert begin(client, "", 3, upload_metadata=said).status_code == 422


def test_another_content_ends_the_upload(site, client):
    location = begin(client, "really.csv", 100_000).headers["location"]
    refused = add(client, location, 0, b"%PDF-1.7\n" + bytes(70_000))
    assert refused.status_code == 415
    assert client.head(location, headers=TUS).status_code == 404
    assert location.rpartition("/")[2] not in site.staged()


def test_a_checksum_counts_the_whole_part_or_nothing(client):
    location = begin(client, "sums.csv", len(TABLE)).headers["location"]
    wrong = base64.b64encode(hashlib.sha256(b"else").digest()).decode()
    refused = add(client, location, 0, TABLE[:100], upload_checksum=f"sha256 {wrong}")
    assert refused.status_code == 460
    assert offset_of(client, location) == 0
    unknown = add(client, location, 0, TABLE[:100], upload_checksum="crc32 AAAA")
    assert unknown.status_code == 400
    right = base64.b64encode(hashlib.sha1(TABLE[:100]).digest()).decode()
    assert add(client, location, 0, TABLE[:100], upload_checksum=f"sha1 {right}").status_code == 204
    wrong_end = add(client, location, 100, TABLE[100:], upload_checksum=f"sha256 {wrong}")
    assert wrong_end.status_code == 460
    assert offset_of(client, location) == 100
    assert add(client, location, 100, TABLE[100:]).status_code == 204


def test_the_length_may_come_later_and_the_first_bytes_with_the_beginning(client):
    headers = PART | {
        "upload-defer-length": "1",
        "upload-metadata": metadata(filename="later.csv"),
    }
    begun = client.post("/uploads", content=TABLE[:10], headers=headers)
    assert (begun.status_code, begun.headers["upload-offset"]) == (201, "10"), begun.text
    location = begun.headers["location"]
    assert client.head(location, headers=TUS).headers["upload-defer-length"] == "1"
    more = add(client, location, 10, b"", upload_length=str(len(TABLE)))
    assert more.status_code == 204
    assert client.head(location, headers=TUS).headers["upload-length"] == str(len(TABLE))
    assert "filemill-file" in add(client, location, 10, TABLE[10:]).headers
    deferred = client.post("/uploads", headers=headers, content=TABLE)
    ended = add(
        client, deferred.headers["location"], len(TABLE), b"", upload_length=str(len(TABLE))
    )
    assert "filemill-file" in ended.headers, ended.text


def test_an_empty_file_is_whole_at_once(client):
    begun = begin(client, "empty.txt", 0)
    assert begun.status_code == 201
    assert "filemill-file" in begun.headers


def test_an_upload_is_given_up(site, client):
    location = begin(client, "up.csv", len(TABLE)).headers["location"]
    add(client, location, 0, TABLE[:50])
    override = {"x-http-method-override": "DELETE"}
    assert client.post(location, headers=TUS | override).status_code == 204
    assert client.head(location, headers=TUS).status_code == 404
    assert location.rpartition("/")[2] not in site.staged()


def test_more_than_was_said_is_refused(client):
    location = begin(client, "more.csv", 10).headers["location"]
    assert add(client, location, 0, TABLE).status_code == 400
    assert offset_of(client, location) == 0


def test_a_key_finds_the_upload_again(client):
    first = begin(client, "key.csv", len(TABLE), idempotency_key="k1")
    location = first.headers["location"]
    add(client, location, 0, TABLE[:10])
    again = begin(client, "key.csv", len(TABLE), idempotency_key="k1")
    assert (again.headers["location"], again.headers["upload-offset"]) == (location, "10")
    assert begin(client, "other.csv", len(TABLE), idempotency_key="k1").status_code == 422
    add(client, location, 10, TABLE[10:])
    known = begin(client, "key.csv", len(TABLE), idempotency_key="k1")
    assert known.headers["upload-offset"] == str(len(TABLE))
    posted = client.post(
        "/upload", files={"file": ("key.csv", TABLE)}, headers={"idempotency-key": "k1"}
    )
    assert (posted.status_code, posted.json()["files"][0]["url"]) == (
        200,
        known.headers["filemill-file"],
    )


def test_the_whole_must_have_its_digest(client):
    digest = base64.b64encode(hashlib.sha256(TABLE).digest()).decode()
    for data, status in ((TABLE, 204), (TABLE.replace(b"2", b"3"), 422)):
        begun = begin(client, "whole.csv", len(TABLE), repr_digest=f"sha-256=:{digest}:")
        assert add(client, begun.headers["location"], 0, data).status_code == status


def test_what_came_before_a_cut_is_kept_and_nobody_else_goes_on_meanwhile(site, client):
    location = begin(client, "cut.csv", len(TABLE)).headers["location"]
    with socket.create_connection(("127.0.0.1", site.port)) as line:
        line.sendall(
            f"PATCH {location} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {site.key}\r\n"
            "tus-resumable: 1.0.0\r\ncontent-type: application/offset+octet-stream\r\n"
            f"upload-offset: 0\r\ncontent-length: {len(TABLE)}\r\n\r\n".encode()
            + TABLE[:700]
        )
        # Looked at from outside: another request would be one that goes on with it, and this one be refused.
        serving.until(lambda: location.rpartition("/")[2] in site.staged())
        assert add(client, location, 0, TABLE).status_code == 423
    serving.until(lambda: offset_of(client, location) == 700)
    serving.until(lambda: add(client, location, 700, TABLE[700:]).status_code == 204)


def test_bytes_that_were_never_acknowledged_are_cut_off(site, client):
    location = begin(client, "torn.csv", len(TABLE)).headers["location"]
    add(client, location, 0, TABLE[:100])
    name = location.rpartition("/")[2]
    assert name in site.staged()
    with (site.root / ".filemill" / "uploads" / name).open("ab") as file:
        file.write(b"torn" * 5000)
    assert add(client, location, 100, TABLE[100:]).status_code == 204
    serving.until((site.root / "out" / "torn.csv").exists)
    assert (site.root / "out" / "torn.csv").read_bytes() == TABLE


def test_an_upload_that_lost_bytes_is_gone(site, client):
    location = begin(client, "lost.csv", len(TABLE)).headers["location"]
    add(client, location, 0, TABLE[:100])
    name = location.rpartition("/")[2]
    assert name in site.staged()
    os.truncate(site.root / ".filemill" / "uploads" / name, 99)
    assert add(client, location, 100, TABLE[100:]).status_code == 410
    assert client.head(location, headers=TUS).status_code == 404
    assert location.rpartition("/")[2] not in site.staged()
    with site_ledger(site) as ledger:
        (row,) = ledger.execute("SELECT object FROM audit WHERE action = 'upload-lost'")
    assert row[0] == name


@contextlib.contextmanager
def site_ledger(site):
    ledger = sqlite3.connect(site.root / ".filemill" / "ledger.db")
    try:
        yield ledger
    finally:
        ledger.close()


def test_the_child_is_killed_in_the_middle(site, client):
    location = begin(client, "child.csv", len(TABLE)).headers["location"]
    add(client, location, 0, TABLE[:1500])
    child = web_child(site)
    os.kill(child, signal.SIGKILL)
    serving.until(lambda: web_child(site) not in (None, child) and site.answers())
    assert offset_of(client, location) == 1500
    assert add(client, location, 1500, TABLE[1500:]).status_code == 204
    serving.until((site.root / "out" / "child.csv").exists)
    assert (site.root / "out" / "child.csv").read_bytes() == TABLE


@pytest.mark.crash
def test_the_server_is_killed_in_the_middle(tmp_path):
    site = Site(tmp_path)
    server = serving.begin(tmp_path, site.environ, tmp_path / "first.log")
    try:
        serving.until(site.answers)
        with site.client() as client:
            location = begin(client, "kill.csv", len(TABLE)).headers["location"]
            add(client, location, 0, TABLE[:2000])
    finally:
        server.kill()
        server.wait()
    with site.running(), site.client() as client:
        assert len(site.staged()) == 1
        assert offset_of(client, location) == 2000
        assert add(client, location, 2000, TABLE[2000:]).status_code == 204
        serving.until((tmp_path / "out" / "kill.csv").exists)
        assert (tmp_path / "out" / "kill.csv").read_bytes() == TABLE


@pytest.mark.crash
@pytest.mark.parametrize("point", ["web.sync_file:1:kill", "web.sync_directory:1:kill"])
def test_a_crash_around_the_sync_counts_nothing(tmp_path, point):
    """Before the offset is committed the part was never answered: it is sent again, from the former offset."""
    site = Site(tmp_path)
    once = tmp_path / "once"
    once.mkdir()
    more = {"FILEMILL_FAIL": point, "FILEMILL_FAIL_ONCE": str(once)}
    with serving.serving(tmp_path, site.environ | more):
        serving.until(site.answers)
        with site.client() as client:
            location = begin(client, "sync.csv", len(TABLE)).headers["location"]
            with pytest.raises(httpx2.HTTPError):
                add(client, location, 0, TABLE[:2000])
        serving.until(site.answers)
        with site.client() as client:
            assert offset_of(client, location) == 0
            assert add(client, location, 0, TABLE[:500]).status_code == 204
            assert add(client, location, 500, TABLE[500:]).status_code == 204
            serving.until((tmp_path / "out" / "sync.csv").exists)
            assert (tmp_path / "out" / "sync.csv").read_bytes() == TABLE


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sizes=st.lists(st.integers(1, 90_000), min_size=1, max_size=6),
    cuts=st.lists(st.booleans(), min_size=6, max_size=6),
    seed=st.integers(0, 1 << 30),
)
def test_any_parts_and_any_cuts_give_the_same_bytes(site, client, sizes, cuts, seed):
    data = f"{seed}\n".encode() + os.urandom(sum(sizes) // 2).hex().encode()
    location = begin(client, f"any-{seed}.txt", len(data)).headers["location"]
    offset = 0
    for size, cut in zip(sizes, cuts, strict=False):
        part = data[offset : offset + size]
        if cut and offset + size < len(data):
            cut_off(site, location, offset, part, len(data) - offset)
        before, offset = offset, added(client, location, offset, part)
        assert before + len(part) == offset
    while offset < len(data):
        offset = added(client, location, offset, data[offset:])
    name = location.rpartition("/")[2]
    shown = client.get(f"/files/{name}").json()
    serving.until(lambda: client.get(f"/files/{name}").json().get("digest"))
    shown = client.get(f"/files/{name}").json()
    assert (shown["size"], shown["digest"]) == (len(data), hashlib.sha256(data).hexdigest())


def added(client, location, offset, part):
    """Send a part as clients do that were cut off: ask where to go on, try again; the offset after it."""
    end = offset + len(part)
    while True:
        there = offset_of(client, location)
        assert offset <= there <= end
        if there == end:
            return end
        answer = add(client, location, there, part[there - offset :])
        if answer.status_code == 204:
            return int(answer.headers["upload-offset"])
        assert answer.status_code in (409, 423), answer.text
        time.sleep(0.02)


def cut_off(site, location, offset, data, length):
    """Send a part of `length` bytes, of which only `data` comes, and hang up."""
    with socket.create_connection(("127.0.0.1", site.port)) as line:
        line.sendall(
            f"PATCH {location} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {site.key}\r\n"
            "tus-resumable: 1.0.0\r\ncontent-type: application/offset+octet-stream\r\n"
            f"upload-offset: {offset}\r\ncontent-length: {length}\r\n\r\n".encode()
            + data
        )


OLD, NEW = "o" * 13, "n" * 13


def test_what_nobody_goes_on_with_is_removed(tmp_path):
    """By the row's time; and at a start the bytes that no row knows."""

    async def story():
        durable = Durable(Failpoints("test"), sync=False)
        ledger = await SqliteLedger.open(str(tmp_path / "ledger.db"), durable=durable)
        clock = FakeClock()
        parts = PartUploads(ledger, ledger, os.fsencode(tmp_path), durable, clock)
        ann = Deed("ann", 1)
        for file in (OLD, NEW):
            await parts.open(acts.OpenUpload(file=file, source="up", relative=b"x"), ann)
            (tmp_path / file).write_bytes(b"abc")
        later = clock.wall_ns() + LIFE_NS
        await ledger.note_offset(NEW, "ann", before=0, offset=3, length=None, expires_ns=later + 1)
        await parts.expire(later - 1)
        assert (tmp_path / OLD).exists()
        await parts.expire(later)
        assert not (tmp_path / OLD).exists()
        assert (tmp_path / NEW).exists()
        assert await ledger.open_uploads() == [NEW]
        await ledger.close()

    asyncio.run(story())


@pytest.mark.parametrize("path", ["/uploads", "/uploads/acme"])
def test_no_source_takes_the_place_of_uploads_in_parts(path):
    with pytest.raises(ValueError, match="uploads in parts"):
        HttpSource.Options(http=path)
    assert HttpSource.Options(http="/uploads-acme").http == "/uploads-acme"
