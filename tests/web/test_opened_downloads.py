"""Encrypted content goes out plain to who may have it, by a process between, and the key never comes near HTTP."""

import os
import signal
import socket
import sqlite3
import threading
import time
from pathlib import Path

import httpx2
import pyrage
import pytest
from sealed_sites import BIG, CANARY, TABLE, SealedSite
from sites import web_child

import serving
from filemill.encryption import handing_out
from filemill.encryption.age import Sealer
from filemill.encryption.handing_out import ASK, REFUSED, STARTS, HandingOut, Setup, Ticket


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with SealedSite(tmp_path_factory.mktemp("opened")).running() as made:
        yield made


@pytest.fixture(scope="module")
def files(site):
    """The ids of some files, by name."""
    with site.client() as client:
        sent = {
            name: client.post("/upload", files={"file": (name, content)}).json()["files"][0]["id"]
            for name, content in (("small.csv", TABLE), ("big.csv", BIG), ("none.bin", b""))
        }
        for name in ("small.csv", "big.csv"):
            site.output(name)
        return sent


def opener(site):
    """The pid of the process that opens content for this site."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if b"filemill.encryption.handing_out" in words and (entry / "cwd").resolve() == (
                site.root.resolve()
            ):
                return int(entry.name)
        except OSError:
            continue
    return None


def test_a_file_goes_out_as_it_came(site, client, files):
    for name, content in (("small.csv", TABLE), ("big.csv", BIG), ("none.bin", b"")):
        answer = client.get(f"/files/{files[name]}/content")
        assert (answer.status_code, answer.content == content) == (200, True)
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
        assert answer.headers["content-length"] == str(len(content))
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("sandbox;")
    assert site.leaks() == []
    assert not any(CANARY in p.read_bytes() for p in Path(site.workspace).rglob("*") if p.is_file())


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-", 10, None),
        ("bytes=-7", -7, None),
        ("bytes=1000000-1100000", 1_000_000, 1_100_001),
        ("bytes=524286-524291", 524_286, 524_292),
    ],
)
def test_a_range_is_answered(client, files, asked, start, end):
    answer = client.get(f"/files/{files['big.csv']}/content", headers={"range": asked})
    assert answer.status_code == 206, answer.text
    assert answer.content == BIG[start:end]
    first = start % len(BIG)
    last = first + len(answer.content) - 1
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(BIG)}"


def test_ranges_that_are_not_there_and_several(client, files):
    path = f"/files/{files['small.csv']}/content"
    beyond = client.get(path, headers={"range": f"bytes={len(TABLE)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(TABLE)}")
    several = client.get(path, headers={"range": "bytes=0-1,4-5"})
    assert (several.status_code, several.content) == (200, TABLE)


def test_an_output_stays_encrypted_for_its_reader(site, client, files):
    shown = client.get(f"/files/{files['small.csv']}").json()
    (output,) = shown["runs"][0]["outputs"]
    answer = client.get(f"/files/{files['small.csv']}/outputs/{output['publication']}")
    assert answer.status_code == 200, answer.text
    assert pyrage.decrypt(answer.content, [site.identity]) == TABLE


def test_each_is_in_the_audit(site, client, files):
    client.get(f"/files/{files['small.csv']}/content")
    serving.until(lambda: {"decrypt", "download"} <= audited(site, files["small.csv"]))


def audited(site, file):
    ledger = sqlite3.connect(site.root / ".filemill" / "ledger.db")
    try:
        rows = ledger.execute("SELECT action FROM audit WHERE object = ?", (file,))
        return {action for (action,) in rows}
    finally:
        ledger.close()


def test_many_at_once_and_a_reader_that_goes_away(client, files, site):
    path = f"/files/{files['big.csv']}/content"
    with client.stream("GET", path) as half:
        next(half.iter_bytes())
    found = []

    def read():
        with site.client() as own:
            found.append(own.get(path).content == BIG)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == [True] * 8


def test_the_process_that_opens_dies_and_comes_back(site, client, files):
    path = f"/files/{files['small.csv']}/content"
    assert client.get(path).content == TABLE
    before = opener(site)
    os.kill(before, signal.SIGKILL)
    serving.until(lambda: opener(site) != before)
    assert client.get(path).content == TABLE
    assert opener(site) not in (None, before)


def test_damaged_content_is_said_or_cut_off_and_never_taken_for_whole(site, client):
    sent = client.post("/upload", files={"file": ("bad.bin", BIG)}).json()["files"][0]["id"]
    serving.until(lambda: client.get(f"/files/{sent}").json()["digest"])
    (path,) = (site.root / ".filemill" / "content").rglob(f"{sent}.*")
    whole = path.read_bytes()
    path.write_bytes(whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:])
    with pytest.raises(httpx2.RemoteProtocolError):
        client.get(f"/files/{sent}/content")
    assert client.get(f"/files/{sent}/content", headers={"range": "bytes=0-9"}).content == BIG[:10]
    path.write_bytes(whole[:300] + bytes([whole[300] ^ 1]) + whole[301:])
    answer = client.get(f"/files/{sent}/content")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "corrupt")
    path.unlink()
    assert client.get(f"/files/{sent}/content").status_code == 404


def test_the_key_is_in_no_memory_of_the_process_that_speaks_http(site, client, files):
    """And the control: it is in that of the one that opens content."""
    if os.geteuid():
        pytest.skip("only root reads another process's memory")
    assert client.get(f"/files/{files['small.csv']}/content").content == TABLE
    secret = str(site.identity).encode()
    assert holds(opener(site), raw(secret))
    assert not holds(web_child(site), raw(secret))
    assert not holds(web_child(site), secret)
    for pid in (opener(site), web_child(site)):
        told = Path(f"/proc/{pid}/environ").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()
        assert secret not in told
        assert b"FILEMILL__" not in told, (
            "settings, and what else begins so, are the server's alone"
        )
    assert "FILEMILL__WEB__LISTEN" in site.environ


def raw(identity):
    """The 32 bytes that an identity is a text of (bech32)."""
    letters = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    data = identity.decode().lower().rpartition("1")[2][:-6]
    bits = "".join(f"{letters.index(each):05b}" for each in data)
    return int(bits[:256], 2).to_bytes(32, "big")


def holds(pid, wanted):
    """Whether these bytes are anywhere in the memory of a process."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb") as mem:
        for line in maps:
            span, rights = line.split()[:2]
            if not rights.startswith("rw"):
                continue
            start, end = (int(each, 16) for each in span.split("-"))
            try:
                mem.seek(start)
                if wanted in mem.read(end - start):
                    return True
            except OSError:
                continue
    return False


@pytest.fixture
def handing(tmp_path):
    """Content that may be read, and who reads it, in this process."""
    identity = pyrage.x25519.Identity.generate()
    sealer = Sealer([str(identity.to_public())])
    path = tmp_path / f"a.{sealer.key}.age"
    path.write_bytes(sealer.data(TABLE))
    made = HandingOut(Setup(str(identity), sealer.key))
    threading.Thread(target=made.listen, daemon=True).start()
    made.admit(Ticket(b"t" * 32, os.fsencode(path)))
    return made


def asked(handing, ticket, start=0, end=1 << 20):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(handing.address)
        connection.sendall(ASK.pack(ticket, start, end))
        found = b""
        while more := connection.recv(65536):
            found += more
        return found


def test_a_ticket_is_good_once_and_for_a_moment_and_no_other_is(handing, monkeypatch):
    assert asked(handing, b"x" * 32).startswith(REFUSED)
    assert asked(handing, b"t" * 32, 2, 5) == STARTS + TABLE[2:5]
    assert asked(handing, b"t" * 32).startswith(REFUSED)
    monkeypatch.setattr(handing_out, "LIFE", 0.01)
    handing.admit(Ticket(b"u" * 32, b"/etc/hostname"))
    time.sleep(0.05)
    assert asked(handing, b"u" * 32).startswith(REFUSED)
