"""What is sent while content is encrypted: ciphertext from its first byte on the disk, by whatever way it comes."""

import base64
import contextlib
import hashlib
import sqlite3

import httpx2
import pyrage
import pytest
from sealed_sites import BIG, TABLE, SealedSite, kill_child
from sites import web_child
from test_resuming import TUS, add, begin, offset_of

import serving

LEFT_PLAIN = """
import sys
if 'filemill.web' in sys.orig_argv:
    from filemill.encryption.age import Sealer
    # One writer forgets it.
    Sealer.data = lambda self, plain: bytes(plain)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with SealedSite(tmp_path_factory.mktemp("sealed")).running() as made:
        yield made


@pytest.mark.parametrize(
    ("name", "table", "magic"),
    [
        ("small.csv", TABLE, b"age-encryption.org/v1"),
        ("big.csv", BIG, b"filemill-pieces/1"),
        ("empty.bin", b"", b"age-encryption.org/v1"),
    ],
)
def test_what_is_sent_is_ciphertext_and_works_as_ever(site, client, name, table, magic):
    answer = client.post("/upload", files={"file": (name, table)})
    assert answer.status_code == 201, answer.text
    assert site.staged() == []
    assert site.leaks() == []
    (receipt,) = answer.json()["files"]
    digest = hashlib.sha256(table).hexdigest()
    assert (receipt["size"], receipt["sha256"]) == (len(table), digest)
    assert site.content(receipt["id"]).startswith(magic)
    if name.endswith(".csv"):
        assert site.output(name) == table
    serving.until(lambda: client.get(receipt["url"]).json()["digest"] == digest)
    assert client.get(receipt["url"]).json()["size"] == len(table)
    assert site.leaks() == []


def test_a_form_of_many_and_one_that_is_refused(site, client):
    files = [("file", (f"many-{number}.csv", TABLE)) for number in range(5)]
    assert client.post("/upload", files=files).status_code == 201
    for number in range(5):
        assert site.output(f"many-{number}.csv") == TABLE
    refused = client.post("/upload", files=[*files, ("file", ("x.csv", b"%PDF-1.7\n" + BIG))])
    assert refused.status_code == 415
    assert site.staged() == []
    assert site.leaks() == []


def test_the_same_key_is_the_same_file(client):
    headers = {"idempotency-key": "once"}
    ask = {"content": TABLE, "params": {"name": "key.csv"}, "headers": headers}
    first, again = client.post("/upload", **ask), client.post("/upload", **ask)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["files"] == again.json()["files"]
    other = client.post("/upload", **(ask | {"content": TABLE[:-5] + b"9\n"}))
    assert (other.status_code, other.json()["error"]["code"]) == (422, "key-reused")


def test_parts_are_ciphertext_and_gone_on_with_when_the_child_was_killed(site, client):
    location = begin(client, "parts.csv", len(BIG)).headers["location"]
    assert add(client, location, 0, BIG[:700_001]).status_code == 204
    assert site.leaks() == []
    kill_child(site)
    assert offset_of(client, location) == 700_001
    assert add(client, location, 700_001, BIG[700_001:700_009]).status_code == 204
    (name,) = site.staged()
    with (site.root / ".filemill" / "uploads" / name).open("ab") as file:
        file.write(b"torn" * 5000)
    last = add(client, location, 700_009, BIG[700_009:])
    assert last.status_code == 204, last.text
    assert site.staged() == []
    assert site.output("parts.csv") == BIG
    shown = client.get(last.headers["filemill-file"]).json()
    serving.until(
        lambda: (
            client.get(last.headers["filemill-file"]).json()["digest"]
            == hashlib.sha256(BIG).hexdigest()
        )
    )
    assert shown["size"] == len(BIG)
    assert site.leaks() == []


def test_one_small_part_is_an_age_file(site, client):
    location = begin(client, "one.csv", len(TABLE)).headers["location"]
    last = add(client, location, 0, TABLE)
    file = last.headers["filemill-file"].rpartition("/")[2]
    assert pyrage.decrypt(site.content(file), [site.identity]) == TABLE


def test_the_whole_must_have_its_digest_however_it_comes(site, client):
    for name, table, status in (("r.csv", TABLE, 204), ("w.csv", TABLE[:-2] + b"9\n", 422)):
        digest = base64.b64encode(hashlib.sha256(TABLE).digest()).decode()
        begun = begin(client, name, len(TABLE), repr_digest=f"sha-256=:{digest}:")
        location = begun.headers["location"]
        wrong = base64.b64encode(hashlib.sha256(b"else").digest()).decode()
        assert add(client, location, 0, table[:9]).status_code == 204
        refused = add(client, location, 9, b"never", upload_checksum=f"sha256 {wrong}")
        assert refused.status_code == 460
        assert add(client, location, 9, table[9:100]).status_code == 204
        assert add(client, location, 100, table[100:]).status_code == status
    assert site.staged() == []


def test_another_content_ends_the_upload_also_when_its_first_bytes_come_one_by_one(site, client):
    body = b"%PDF-1.7\n" + bytes(100_000)
    location = begin(client, "really.csv", len(body)).headers["location"]
    assert add(client, location, 0, body[:30_000]).status_code == 204
    assert add(client, location, 30_000, body[30_000:60_000]).status_code == 204
    assert add(client, location, 60_000, body[60_000:]).status_code == 415
    assert client.head(location, headers=TUS).status_code == 404
    assert site.staged() == []


def test_what_has_to_be_known_of_former_bytes_is_read_back(site, client):
    """The type is told from the first bytes, the digest from all; whoever remembered them was killed."""
    digest = base64.b64encode(hashlib.sha256(BIG).digest()).decode()
    other = b"%PDF-1.7\n" + bytes(100_000)
    begun = [
        (begin(client, name, len(table), **more).headers["location"], table, status)
        for name, table, status, more in (
            ("again.csv", BIG, 204, {}),
            ("other.csv", other, 415, {}),
            ("right.csv", BIG, 204, {"repr_digest": f"sha-256=:{digest}:"}),
            ("wrong.csv", BIG[:-3] + b"7,7", 422, {"repr_digest": f"sha-256=:{digest}:"}),
            ("named.bin", BIG, 204, {}),
        )
    ]
    for location, table, _ in begun:
        assert add(client, location, 0, table[:1000]).status_code == 204
    kill_child(site)
    for location, table, status in begun:
        answer = add(client, location, 1000, table[1000:])
        assert answer.status_code == status, answer.text
    assert site.staged() == []
    assert site.output("right.csv") == BIG
    assert site.leaks() == []


def test_what_cannot_be_read_back_is_begun_again(site, client):
    location = begin(client, "lost.csv", len(BIG)).headers["location"]
    assert add(client, location, 0, BIG[:1000]).status_code == 204
    (name,) = site.staged()
    path = site.root / ".filemill" / "uploads" / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    kill_child(site)
    assert add(client, location, 1000, BIG[1000:]).status_code == 410
    assert site.staged() == []


@pytest.mark.crash
def test_the_server_is_killed_in_the_middle_and_everything_goes_on(tmp_path):
    site = SealedSite(tmp_path)
    server = serving.begin(tmp_path, site.environ, tmp_path / "first.log")
    try:
        serving.until(site.answers)
        with site.client() as client:
            location = begin(client, "kill.csv", len(BIG)).headers["location"]
            add(client, location, 0, BIG[:600_000])
            lone = client.post("/upload", files={"file": ("lone.csv", TABLE)})
            assert lone.status_code == 201
    finally:
        server.kill()
        server.wait()
    assert site.leaks() == []
    with site.running(), site.client() as client:
        assert offset_of(client, location) == 600_000
        assert add(client, location, 600_000, BIG[600_000:]).status_code == 204
        assert site.output("kill.csv") == BIG
        assert site.output("lone.csv") == TABLE
        assert site.leaks() == []


@pytest.mark.crash
@pytest.mark.timeout(240)
@pytest.mark.parametrize("point", ["rename", "sync_group", "sync_file", "sync_directory", "*"])
def test_killed_while_an_upload_is_taken_it_is_a_file_or_nothing(tmp_path, point):
    """No answer: whoever sends it again with its key has one file of it, and nothing plain lies anywhere."""
    site = SealedSite(tmp_path)
    once = tmp_path / "once"
    once.mkdir()
    with site.running():
        pass  # what a first start does is not meant
    numbers = {"rename": 1, "sync_group": 1, "sync_file": 1, "sync_directory": 1, "*": 9}
    more = {
        "FILEMILL_FAIL": f"server.{point}:{numbers[point]}:kill",
        "FILEMILL_FAIL_ONCE": str(once),
    }
    headers = {"idempotency-key": "once"}
    server = serving.begin(tmp_path, site.environ | more, tmp_path / "first.log")
    try:
        serving.until(lambda: site.answers() or server.poll() is not None)
        with contextlib.suppress(httpx2.HTTPError), site.client() as client:
            client.post("/upload", files={"file": ("k.csv", TABLE)}, headers=headers)
    finally:
        server.kill()
        server.wait()
    assert site.leaks() == []
    with site.running(), site.client() as client:
        again = client.post("/upload", files={"file": ("k.csv", TABLE)}, headers=headers)
        assert again.status_code in (200, 201), again.text
        assert site.output("k.csv") == TABLE
        assert site.leaks() == []
        assert site.staged() == []
    ledger = sqlite3.connect(tmp_path / ".filemill" / "ledger.db")
    assert ledger.execute("SELECT count(*) FROM file").fetchone() == (1,)
    ledger.close()


def test_what_was_begun_for_other_keys_or_plain_is_begun_again(tmp_path):
    site = SealedSite(tmp_path)
    config = tmp_path / "filemill.yaml"
    sealed = config.read_text()
    config.write_text(
        "".join(line for line in sealed.splitlines(True) if not line.startswith("encryption"))
    )
    plain = begin_parts(site, BIG[:900_000])
    assert site.leaks() != []
    config.write_text(sealed)
    with site.running(), site.client() as client:
        assert site.leaks() == []
        assert add(client, plain, 900_000, BIG[900_000:]).status_code == 410
    first = begin_parts(site, BIG[:900_000])
    other = pyrage.x25519.Identity.generate()
    (tmp_path / "key").write_text(f"{other}\n{site.identity}\n")
    config.write_text(sealed.replace(str(site.identity.to_public()), str(other.to_public())))
    with site.running(), site.client() as client:
        assert add(client, first, 900_000, BIG[900_000:]).status_code == 410
        assert site.staged() == []
        again = begin(client, "again.csv", len(BIG)).headers["location"]
        assert add(client, again, 0, BIG).status_code == 204


def begin_parts(site, some):
    """An upload of which these bytes came before the server ended."""
    with site.running(), site.client() as client:
        location = begin(client, "begun.csv", len(BIG)).headers["location"]
        assert add(client, location, 0, some).status_code == 204
    return location


def test_the_canary_finds_one_writer_that_forgot_it(tmp_path):
    """The negative control."""
    (tmp_path / "sitecustomize.py").write_text(LEFT_PLAIN)
    site = SealedSite(tmp_path)
    environ = site.environ | {"PYTHONPATH": str(tmp_path)}
    with site.room(), serving.serving(tmp_path, environ):
        serving.until(site.answers)
        with site.client() as client:
            location = begin(client, "parts.csv", len(BIG)).headers["location"]
            assert add(client, location, 0, BIG[:900_000]).status_code == 204
            assert len(site.leaks()) == 1
            assert client.post("/upload", files={"file": ("a.csv", TABLE)}).status_code == 201
            assert len(site.leaks()) == 2


def test_the_child_leaves_no_core_file(site):
    with open(f"/proc/{web_child(site)}/limits", encoding="ascii") as limits:
        (core,) = [line.split()[4:6] for line in limits if line.startswith("Max core")]
    assert core == ["0", "0"]
