"""`filemill upload` as a process, against a real server: whatever breaks meanwhile, each file comes, and comes once."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time

import pytest
from gateways import ANSWER, Gateway
from senders import asking, command, files_named, run
from sites import CONFIG, Site

import serving
from filemill.client.files import look_at
from filemill.client.forms import Form
from filemill.client.parcels import Entrance, Parcel
from filemill.web.multipart import Begun, Data, Ended, Field, Multipart

TABLE = "a,b\n1,2\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    config = CONFIG.replace('types: [text/csv, "*.txt"]', 'types: [text/csv, "*.txt", "*.json"]')
    with Site(tmp_path_factory.mktemp("sent"), config).running() as made:
        yield made


def test_from_the_projects_folder_it_needs_neither_address_nor_key(site):
    (site.root / "one.csv").write_text(TABLE)
    (site.root / "two.csv").write_text(TABLE + "3,4\n")
    words = ("one.csv", "two.csv", "--source", "upload", "--tag", "partner:acme", "--wait")
    out, err = run(site.root, *words)
    lines = out.splitlines()
    assert lines[0].split() == ["ID", "NAME", "SIZE", "STATE", "WHAT"]
    assert [line.split()[1] for line in lines[1:3]] == ["one.csv", "two.csv"]
    assert all("done" in line for line in lines[1:3])
    assert str(site.root / "out") in lines[1]
    assert err == "sent 2 files, 20 B\n"
    with site.client() as client:
        told = client.get(f"/files/{files_named(site, 'one.csv')[0]['id']}").json()
    assert "partner:acme" in told["tags"]


def test_json_has_the_receipts_and_how_they_ended(site, tmp_path):
    (tmp_path / "told.csv").write_text(TABLE + "9,9\n")
    out, _ = run(tmp_path, "told.csv", "--wait", "--json", **asking(site))
    document = json.loads(out)
    assert (document["schema"], document["failed"], document["left"]) == (
        "filemill.upload/1",
        [],
        0,
    )
    (file,) = document["files"]
    assert file["sha256"] == hashlib.sha256((TABLE + "9,9\n").encode()).hexdigest()
    assert (file["fresh"], file["state"], file["name"]) == (True, "done", "told.csv")
    assert file["url"] == f"{site.url}/files/{file['id']}"
    assert file["runs"][0]["outputs"][0]["state"] == "published"


def test_the_same_command_again_takes_nothing_twice_unless_it_is_told_to(site, tmp_path):
    (tmp_path / "twice.csv").write_text(TABLE)
    first, _ = run(tmp_path, "twice.csv", **asking(site))
    again, _ = run(tmp_path, "twice.csv", **asking(site))
    assert "taken before" not in first
    assert "taken before" in again
    assert len(files_named(site, "twice.csv")) == 1
    run(tmp_path, "twice.csv", "--tag", "other:way", **asking(site))
    assert len(files_named(site, "twice.csv")) == 2, "sent in another way it is another file"
    run(tmp_path, "twice.csv", "--again", **asking(site))
    assert len(files_named(site, "twice.csv")) == 3


NAMES = [
    b"n\xff\xfe.csv",
    b'q"uo;t=e.csv',
    b"spa ce \xf0\x9f\x8d\x95.csv",
    b"%41+a&b=c.csv",
    b"-rf.csv",
]


def test_names_that_are_any_bytes_arrive_as_they_are(site, tmp_path):
    for number, name in enumerate(NAMES):
        with open(os.path.join(os.fsencode(tmp_path), name), "w") as file:
            file.write(f"{TABLE}{number},{number}\n")
    words = [b"./" + name for name in NAMES]
    out, _ = run(tmp_path, *words, "--json", **asking(site))
    assert len(json.loads(out)["files"]) == len(NAMES)
    with site.client() as client:
        for file in json.loads(out)["files"]:
            told = client.get(f"/files/{file['id']}").json()
            assert {k: told.get(k) for k in ("name", "name_base64")} == {
                k: file.get(k) for k in ("name", "name_base64")
            }
    site.outputs(len(NAMES))
    serving.until(lambda: all(os.path.exists(os.fsencode(site.root) + b"/out/" + n) for n in NAMES))


@pytest.mark.parametrize("name", [*NAMES, b'back\\\\sl"ash\\.csv', b'"', b"a;filename=b", b"\xe9"])
def test_the_form_says_the_name_to_the_servers_own_parser(tmp_path, name):
    path = os.path.join(os.fsencode(tmp_path), b"x")
    with open(path, "wb") as file:
        file.write(b"some\r\nbytes--")
    (found,) = look_at([path])
    named = type(found)(found.path, name, found.size, found.modified_ns)
    parcel = Parcel(named, b"\1" * 32, Entrance("upload", "/upload"), ("a:b", "ü"))
    form = Form(parcel, lambda _: None)

    async def body():
        return b"".join([piece async for piece in form])

    whole = asyncio.run(body())
    assert len(whole) == int(form.headers["content-length"])
    events = list(Multipart(form.headers["content-type"]).feed(whole))
    assert [(e.name, e.value) for e in events if isinstance(e, Field)] == [
        ("tag", "a:b"),
        ("tag", "ü"),
    ]
    assert [e.name for e in events if isinstance(e, Begun)] == [name]
    assert b"".join(e.data for e in events if isinstance(e, Data)) == b"some\r\nbytes--"
    assert isinstance(events[-1], Ended)


def test_a_word_that_is_no_file_stops_all_of_it_before_anything_is_sent(site, tmp_path):
    (tmp_path / "good.csv").write_text(TABLE)
    (tmp_path / "sub").mkdir()
    os.mkfifo(tmp_path / "pipe")
    _, err = run(tmp_path, "good.csv", "sub", "missing.csv", "pipe", code=2, **asking(site))
    assert "sub: is a folder" in err
    assert "missing.csv: there is no such file" in err
    assert "pipe: is no file" in err
    assert "nothing was sent" in err
    assert files_named(site, "good.csv") == []
    _, err = run(tmp_path, "good.csv", "--tag", "no tag", code=2, **asking(site))
    assert "is no tag" in err


def test_one_that_is_refused_keeps_no_other_from_being_taken(site, tmp_path):
    (tmp_path / "fine.csv").write_text(TABLE + "7,7\n")
    (tmp_path / "refused.exe").write_bytes(b"MZ\0\0")
    (tmp_path / "large.csv").write_bytes(b"a,b\n" + b"1,2\n" * 600_000)
    out, err = run(
        tmp_path, "refused.exe", "large.csv", "fine.csv", "--json", code=1, **asking(site)
    )
    document = json.loads(out)
    assert [each["name"] for each in document["files"]] == ["fine.csv"]
    assert [each["name"] for each in document["failed"]] == ["refused.exe", "large.csv"]
    assert "refused.exe: its name says" in err
    assert "large.csv: upload takes up to 2MB" in err
    assert site.staged() == []


def test_a_run_that_dies_ends_the_command_with_1_and_says_why(site, tmp_path):
    (tmp_path / "bad.csv").write_bytes(b'a,b\n"never closed\n')
    out, _ = run(tmp_path, "bad.csv", "--wait", code=1, **asking(site))
    assert "dead" in out
    assert "quote" in out


def test_whoever_may_only_send_needs_no_other_right(site, tmp_path):
    with site.client() as client:
        assert client.get("/sources").status_code == 200
    made, _ = command(
        site.root, "keys", "create", "mere", "--role", "uploader", "--source", "upload"
    )
    key = tmp_path / "mere.key"
    key.write_text(made)
    (tmp_path / "mine.csv").write_text(TABLE + "5,5\n")
    out, _ = run(tmp_path, "mine.csv", "--wait", "--key-file", "mere.key", "--url", site.url)
    assert "done" in out
    assert str(site.root) not in out, "a mere sender is told no path of the server"
    out, _ = command(
        tmp_path, "files", "show", "mine.csv", "-v", "--url", site.url, "--key-file", "mere.key"
    )
    assert "sent by key:mere" in out
    assert str(site.root) not in out, "not in the values that the command reads either"
    with site.client(key.read_text().strip()) as client:
        told = client.get("/sources").json()["items"]
    assert [(each["source"], each["path"]) for each in told] == [("upload", "/upload")]


def test_a_key_that_is_none_ends_it_at_once_and_is_not_said(site, tmp_path):
    (tmp_path / "k.csv").write_text(TABLE)
    _, err = run(
        tmp_path, "k.csv", code=2, FILEMILL_URL=site.url, FILEMILL_KEY="fm_not_a_key_at_all"
    )
    assert "no such key" in err
    assert "fm_not" not in err
    _, err = run(tmp_path, "k.csv", code=2, FILEMILL_URL=site.url, FILEMILL_KEY="two words secret")
    assert "no key" in err
    assert "secret" not in err
    _, err = run(tmp_path, "k.csv", code=2, FILEMILL_URL=site.url)
    assert "needs a key" in err


def test_nobody_there_is_said_at_once(tmp_path):
    (tmp_path / "k.csv").write_text(TABLE)
    began = time.monotonic()
    _, err = run(
        tmp_path, "k.csv", code=75, FILEMILL_URL="http://127.0.0.1:9", FILEMILL_KEY="fm_12345678"
    )
    assert "does not answer" in err
    assert time.monotonic() - began < 30


def test_connections_that_break_cost_nothing_but_time(site, tmp_path):
    """Every fourth request is cut in the middle, of every fourth the answer is lost."""
    for number in range(8):
        (tmp_path / f"cut{number}.csv").write_text(TABLE + f"{number},0\n" * 2_000)
    with Gateway(site.port) as gateway:
        gateway.cuts = lambda number: {1: 6_000, 2: ANSWER}.get(number % 4)
        words = [f"cut{number}.csv" for number in range(8)]
        url = f"http://127.0.0.1:{gateway.port}"
        out, err = run(tmp_path, *words, "--json", FILEMILL_URL=url, FILEMILL_KEY=site.key)
    assert gateway.cut >= 3, "the gateway cut nothing"
    assert len(json.loads(out)["files"]) == 8
    assert "trying again" in err
    for number in range(8):
        assert len(files_named(site, f"cut{number}.csv")) == 1, "it was taken twice"


def test_a_server_that_says_later_is_asked_later(site, tmp_path):
    (tmp_path / "later.csv").write_text(TABLE + "8,8\n")
    with Gateway(site.port) as gateway:
        gateway.says_later = 3
        began = time.monotonic()
        out, err = run(
            tmp_path,
            "later.csv",
            FILEMILL_URL=f"http://127.0.0.1:{gateway.port}",
            FILEMILL_KEY=site.key,
        )
    assert gateway.said_later == 3
    assert time.monotonic() - began > 3, "Retry-After is borne"
    assert "too busy for it; trying again" in err
    assert "taken" in out


def test_patience_ends(site, tmp_path):
    (tmp_path / "never.csv").write_text(TABLE)
    with Gateway(site.port) as gateway:
        gateway.says_later = 1_000
        url = f"http://127.0.0.1:{gateway.port}"
        _, err = run(
            tmp_path,
            "never.csv",
            "--patience",
            "2s",
            code=75,
            FILEMILL_URL=url,
            FILEMILL_KEY=site.key,
        )
    assert "too busy" in err
    assert "1 file left: the same command again goes on" in err
    assert files_named(site, "never.csv") == []


def test_the_wait_has_an_end_if_it_is_given_one(site, tmp_path):
    command(site.root, "pause", "texts")
    (tmp_path / "slow.txt").write_text("one\n")
    for words in (["--wait", "--timeout", "1s"], ["--wait", "1s"]):
        _, err = run(tmp_path, "slow.txt", *words, code=75, **asking(site))
        assert "not at an end in time" in err
    command(site.root, "resume", "texts")
