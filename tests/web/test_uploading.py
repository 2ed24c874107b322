"""Sending files: acknowledged means safe, refused means nothing was taken."""

import asyncio
import base64
import hashlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import types
from pathlib import Path

import httpx2
import pytest
from sites import Site, web_child

import serving
from filemill.model.access import Principal
from filemill.model.errors import UsageError
from filemill.service import acts
from filemill.service.asking import ask
from filemill.web.errors import ApiError
from filemill.web.pieces import pieces_of
from filemill.web.state import State

TABLE = b"a,b\n1,2\n3,4\n"


def test_a_file_is_acknowledged_and_its_result_appears(site, client):
    answer = client.post("/upload", files={"file": ("one.csv", TABLE)})
    assert answer.status_code == 201, answer.text
    (receipt,) = answer.json()["files"]
    assert receipt["name"] == "one.csv"
    assert receipt["size"] == len(TABLE)
    assert receipt["sha256"] == hashlib.sha256(TABLE).hexdigest()
    assert answer.headers["location"] == receipt["url"] == f"/files/{receipt['id']}"
    serving.until((site.root / "out" / "one.csv").exists)
    assert (site.root / "out" / "one.csv").read_bytes() == TABLE
    shown = client.get(receipt["url"]).json()
    assert shown["source"] == "upload"
    assert "from:upload" in shown["tags"]
    assert site.staged() == []


def test_the_answer_waits_for_the_results(site, client):
    answer = client.post("/upload?wait=20s&tag=partner:bo", files={"file": ("waited.csv", TABLE)})
    (receipt,) = answer.json()["files"]
    assert receipt["state"] == "done"
    (output,) = receipt["runs"][0]["outputs"]
    assert output["name"] == "waited.csv"
    assert os.path.exists(output["path"])
    assert "partner:bo" in client.get(receipt["url"]).json()["tags"]


def test_many_files_in_one_form(client):
    files = [("file", (f"many-{number}.csv", TABLE)) for number in range(5)]
    answer = client.post("/partners/acme", files=files, data={"tag": "batch:5"})
    assert answer.status_code == 201, answer.text
    receipts = answer.json()["files"]
    assert [each["name"] for each in receipts] == [f"many-{number}.csv" for number in range(5)]
    shown = client.get(receipts[4]["url"]).json()
    assert {"partner:acme", "batch:5"} <= set(shown["tags"])


def test_a_file_as_the_body(client):
    answer = client.post("/upload", content=TABLE, params={"name": "body.csv"})
    assert answer.status_code == 201, answer.text
    nameless = client.post("/upload", content=TABLE)
    assert nameless.status_code == 422
    assert "?name=" in nameless.json()["error"]["message"]


def test_the_same_key_is_the_same_file(site, client):
    headers = {"idempotency-key": "once"}
    first = client.post("/upload", files={"file": ("key.csv", TABLE)}, headers=headers)
    again = client.post("/upload", files={"file": ("key.csv", TABLE)}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["files"] == again.json()["files"]
    other = client.post("/upload", files={"file": ("key.csv", TABLE + b"5,6\n")}, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "key-reused")
    changed = TABLE.replace(b"4", b"5")
    serving.until(lambda: client.get(first.json()["files"][0]["url"]).json()["state"] == "done")
    twin = client.post("/upload", files={"file": ("key.csv", changed)}, headers=headers)
    assert (twin.status_code, twin.json()["error"]["code"]) == (422, "key-reused")
    assert site.staged() == []


def test_too_large_is_refused_while_it_comes(site, client):
    big = b"a\n" + b"1\n" * 1_100_000
    by_header = client.post("/upload", files={"file": ("big.csv", big)})
    assert by_header.status_code == 413

    def pieces():
        yield b"a\n"
        for _ in range(11):
            yield b"1\n" * 100_000

    streamed = client.post("/upload", content=pieces(), params={"name": "big.csv"})
    assert (streamed.status_code, streamed.json()["error"]["code"]) == (413, "too-large")
    assert site.staged() == []
    assert client.get("/files?name=big.csv").json()["items"] == []


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("page.html", b"<html></html>", 415),
        ("really.csv", b"%PDF-1.7\n1 0 obj", 415),
        ("really.csv", b"\x7fELF\x02\x01\x01" + bytes(60), 415),
        ("noted.txt", b"%PDF-1.7\n", 201),
        ("", TABLE, 422),
        ("..", TABLE, 422),
        (".hidden.csv", TABLE, 422),
        ("a" * 300 + ".csv", TABLE, 422),
    ],
)
def test_names_and_types_are_judged_by_content_and_name(site, client, name, content, status):
    answer = client.post("/upload", content=content, params={"name": name or " "})
    assert answer.status_code == status, answer.text
    assert site.staged() == []


@pytest.mark.parametrize(
    "name", ["../../etc/passwd.csv", "/etc/passwd.csv", "C:\\temp\\passwd.csv"]
)
def test_of_a_path_only_the_name_counts(client, name):
    answer = client.post("/upload", content=TABLE, params={"name": name})
    assert answer.json()["files"][0]["name"] == "passwd.csv"


def test_a_wrong_digest_is_refused(site, client):
    good = base64.b64encode(hashlib.sha256(TABLE).digest()).decode()
    bad = base64.b64encode(hashlib.sha256(b"x").digest()).decode()
    ask = {"content": TABLE, "params": {"name": "digest.csv"}}
    kept = client.post("/upload", **ask, headers={"content-digest": f"sha-256=:{good}:"})
    assert kept.status_code == 201
    for header, status in ((f"sha-256=:{bad}:", 422), ("sha-256=:x:", 400), ("md5=:x:", 400)):
        answer = client.post("/upload", **ask, headers={"content-digest": header})
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, "bad-digest")
    assert site.staged() == []


BOUNDARY = "x"
PART = b'--x\r\ncontent-disposition: form-data; name="file"; filename="f.csv"\r\n\r\n' + TABLE


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("multipart/form-data", PART + b"\r\n--x--\r\n", 400),
        ("multipart/form-data; boundary=x", PART, 400),
        ("multipart/form-data; boundary=x", b"", 400),
        ("multipart/form-data; boundary=x", b"--x--\r\n", 422),
        ("multipart/form-data; boundary=" + "x" * 71, PART, 400),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nhello\r\n--x--\r\n", 400),
        (
            "multipart/form-data; boundary=x",
            (
                b'--x\r\ncontent-disposition: form-data; name="a"\r\n'
                b'content-disposition: form-data; name="b"\r\n\r\nv\r\n--x--\r\n'
            ),
            400,
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\ncontent-disposition: form-data; name="other"\r\n\r\nv\r\n--x--\r\n',
            422,
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\ncontent-disposition: form-data; name="tag"\r\n\r\nNO TAG\r\n--x--\r\n',
            422,
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\ncontent-disposition: form-data; name="tag"\r\n\r\n'
            + b"v" * 2000
            + b"\r\n--x--\r\n",
            413,
        ),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\ncontent-disposition: " + b"v" * 9000 + b"\r\n\r\n\r\n--x--\r\n",
            400,
        ),
    ],
)
def test_broken_forms_are_refused_and_leave_nothing(site, client, kind, body, status):
    answer = client.post("/upload", content=body, headers={"content-type": kind})
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]
    assert site.staged() == []


def test_of_a_form_with_one_bad_file_none_is_taken(site, client):
    files = [("file", ("whole.csv", TABLE)), ("file", ("page.html", b"<html>"))]
    assert client.post("/upload", files=files).status_code == 415
    assert client.get("/files?name=whole.csv").json()["items"] == []
    assert site.staged() == []


def test_nobody_sends_where_no_source_is(client):
    assert client.post("/nowhere", files={"file": ("one.csv", TABLE)}).status_code == 404
    assert client.get("/upload").status_code == 405


def test_the_process_that_answers_dies_and_comes_back(site, client):
    """Files go on, what was acknowledged stays, and the next request is answered."""
    before = client.post("/upload", files={"file": ("before.csv", TABLE)}).json()["files"][0]
    child = web_child(site)
    assert child
    os.kill(child, signal.SIGKILL)

    def answers():
        try:
            return client.get(before["url"]).status_code == 200
        except httpx2.TransportError:
            return False

    serving.until(answers)
    after = client.post("/upload", files={"file": ("after.csv", TABLE)})
    assert after.status_code == 201


def test_acknowledged_files_survive_the_death_of_everything(tmp_path):
    """Kill all of it right after the answer: every file that was answered 201 is in the ledger, whole."""
    site = Site(tmp_path)
    log = tmp_path / "server.log"
    server = serving.begin(tmp_path, site.environ, log)
    serving.until(lambda: f"web {site.url}".encode() in log.read_bytes())
    receipts = []
    with site.client() as client:
        for number in range(20):
            table = TABLE + f"{number},0\n".encode()
            answer = client.post("/upload", files={"file": (f"kill-{number}.csv", table)})
            receipts += answer.json()["files"]
        server.kill()
        server.wait()
    with site.running(), site.client() as client:
        for each in receipts:
            assert client.get(each["url"]).json()["size"] == each["size"]
        assert len(site.outputs(20)) == 20
        assert client.get("/stats").json()["total"] == 20
    ledger = sqlite3.connect(tmp_path / ".filemill" / "ledger.db")
    assert ledger.execute("SELECT count(*) FROM file WHERE how = 'upload'").fetchone() == (20,)
    assert json.dumps(site.staged()) == "[]"


def documents(text):
    """JSON documents that follow one another."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        found, at = decoder.raw_decode(text, at)
        yield found


def test_the_curl_lines_of_the_page_do_what_it_says(site):
    page = (Path(__file__).resolve().parents[2] / "docs" / "http.md").read_text()
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    script = script.replace("http://127.0.0.1:8600", site.url)
    for name in ("orders.csv", "a.csv", "b.csv"):
        (site.root / name).write_bytes(TABLE)
    done = subprocess.run(
        ["bash", "-ec", script], cwd=site.root, capture_output=True, check=True, text=True
    )
    answers = list(documents(done.stdout))
    assert len(answers) == script.count("curl "), done.stdout
    # What is redriven and discarded there is of the page's own story.
    refused = [each["error"]["code"] for each in answers if "error" in each]
    assert set(refused) <= {"not-found"}, refused
    uploads = [each for each in answers if each.get("schema") == "filemill.upload/1"]
    assert [len(each["files"]) for each in uploads] == [1, 2, 1, 1]
    assert uploads[-1]["files"][0]["state"] == "done"


@pytest.mark.parametrize(
    ("file", "relative"),
    [
        ("../content/abc", b"a.csv"),
        ("/etc/passwd", b"a.csv"),
        ("", b"a.csv"),
        ("aaaaaaaaaaaaa", b"../a.csv"),
        ("aaaaaaaaaaaaa", b".."),
        ("aaaaaaaaaaaaa", b""),
    ],
)
def test_the_server_takes_no_path_for_an_id_or_a_name(site, file, relative):
    """Whoever asks it parses what strangers send."""
    data = str(site.root / ".filemill")
    take = acts.TakeUpload(file=file, source="upload", relative=relative, size=1)
    begin = acts.OpenUpload(file=file, source="upload", relative=relative)
    for act in (take, begin):
        with pytest.raises(UsageError, match="an upload has"):
            ask(data, act)


def test_a_large_file_leaves_the_reserve_alone(tmp_path):
    """It is refused while it comes, before the files in work lack the room to come to their end."""

    async def received(reserve):
        opening = types.SimpleNamespace(
            data=str(tmp_path), reserve=reserve, limits=types.SimpleNamespace(slowest=0)
        )
        limits = types.SimpleNamespace(received=lambda *_: None)
        state = State.__new__(State)
        state.opening, state.limits = opening, limits
        app = types.SimpleNamespace(state=types.SimpleNamespace(filemill=state))
        sent = [b"x" * (1 << 20)] * 8

        async def stream():
            for piece in sent:
                yield piece

        principal = Principal(name="somebody")
        request = types.SimpleNamespace(
            app=app, scope={"filemill.principal": principal}, stream=stream
        )
        return sum([len(piece) async for piece in pieces_of(request)])

    assert asyncio.run(received(0)) == 8 << 20
    with pytest.raises(ApiError) as refused:
        asyncio.run(received(1 << 60))
    assert (refused.value.status, refused.value.code) == (507, "no-room")
