"""What a hostile client sends: words, bodies, heads, names. The answer is a refusal in one shape, or harmless."""

import base64
import gzip
import io
import os
import re
import socket
import urllib.parse
import zipfile

import pytest
from fastapi.routing import APIRoute
from sites import Site

import serving
from filemill.web.application import ROUTERS
from filemill.web.guarding import MOST_BODY
from filemill.web.multipart import MOST_FIELDS, MOST_PARTS

TABLE = b"a,b\n1,2\n"
CONFIG = """\
version: 1
sources:
  inbox: {folder: inbox, create: true, settle: 20ms}
  upload: {http: /upload, max_size: 2MB, types: [text/csv]}
tags:
  any: {name: "*"}
pipelines:
  all: {when: any, steps: [read_lines, {write: out}]}
sinks:
  out: {folder: out}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    made = Site(tmp_path_factory.mktemp("hostile"), CONFIG)
    for name in NAMES:
        with open(os.fsencode(made.root) + b"/inbox/" + name, "wb") as file:
            file.write(TABLE)
    with made.running():
        yield made


NAMES = (
    b"a\r\nx-injected: yes\r\n\r\n.csv",
    b'"; filename="run.exe',
    b"\xff\xfe.csv",
    b"a%2f..%0d%0ax-injected: yes.csv",
    b"a\\..\\..\\windows.csv",
    "\u202evsc.exe".encode(),
    "Übung €.csv".encode(),
    b"\x1b[31mred\x07.csv",
    b"<img src=x onerror=alert(1)>.csv",
    b" ;  .csv",
    b"n" * 251 + b".csv",
)


def test_no_name_gets_out_of_its_header(site, client):
    """Of an original and of an output: one `attachment`, nothing that breaks the line, and the name whole."""

    def done():
        items = client.get("/files", params={"state": "done", "limit": 500}).json()["items"]
        found = {each["name"]: each["id"] for each in items if each["source"] == "inbox"}
        return found if len(found) == len(NAMES) else None

    serving.until(done)
    for name, file in done().items():
        (output,) = client.get(f"/files/{file}").json()["runs"][0]["outputs"]
        paths = {
            f"/files/{file}/content": name,
            f"/files/{file}/outputs/{output['publication']}": output["name"],
        }
        for path, called in paths.items():
            answer = client.get(path)
            assert (answer.status_code, answer.content) == (200, TABLE), (name, answer.text)
            assert "x-injected" not in answer.headers
            (said,) = answer.headers.get_list("content-disposition")
            assert said.isprintable(), said
            plain = re.fullmatch(r'attachment; filename="([\w .()\[\]-]+)"', said)
            coded = re.fullmatch(r"attachment; filename\*=utf-8''([\w.~%/-]+)", said)
            assert plain or coded, said
            told = plain[1] if plain else urllib.parse.unquote(coded[1])
            assert told == os.path.basename(called), said
            assert answer.headers["content-type"] == "application/octet-stream"


WORDS = (
    "'; DROP TABLE file; --",
    '" OR 1=1 --',
    "x' UNION SELECT id, hash FROM principal --",
    "%",
    "\x00",
    "\r\nset-cookie: a=b",
    "../../etc/passwd",
    "{0.__class__}",
    "\ud83d",
    "9" * 400,
    "9" * 19,
    "99999999999d",
    "\xb2",
    "-1",
    "*" * 200,
    "*n" * 100 + "x",
)


def asked_words():
    """(method, path, query parameter) of every route that only reads; "" is a part of its path."""
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute) and "GET" in route.methods and route.path != "/events":
                for each in route.dependant.query_params:
                    yield route.path, each.alias
                if "{" in route.path:
                    yield route.path, ""


def test_no_word_breaks_a_question_or_learns_of_the_inside(site, client):
    """Whatever stands in a parameter or a path is a value: never SQL, never a path, never a trace for the asker."""
    asked = sorted(set(asked_words()))
    assert len(asked) > 20
    before = client.get("/stats").json()["total"]
    for path, parameter in asked:
        for word in WORDS:
            text = urllib.parse.quote(word.encode("utf-8", "surrogatepass"), safe="")
            place = re.sub(r"\{\w+\}", "zzz" if parameter else text, path)
            answer = client.get(f"{place}?{parameter}={text}" if parameter else place)
            assert answer.status_code in {200, 400, 404, 422}, (path, parameter, word, answer.text)
            if path == "/livez":
                continue
            inside = answer.text.replace("/etc/passwd", "")
            for sign in (
                str(site.root),
                "Traceback",
                'File "',
                "sqlite",
                "apsw",
                "SELECT",
                "uvicorn",
            ):
                if sign not in word:
                    assert sign not in inside, (path, parameter, word, answer.text)
            assert "set-cookie" not in answer.headers
    assert client.get("/stats").json()["total"] == before


def test_a_narrowing_word_narrows(client):
    """The control of the one above: a value that is no SQL finds nothing, where SQL would find all."""
    for parameter in ("name", "tag", "pipeline"):
        answer = client.get("/files", params={parameter: "' OR 1=1 --", "limit": 500})
        assert answer.json()["items"] == [], parameter


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * 500_000, 422),
        (b'{"ids":' * 100_000, 422),
        (b'{"ids": ["a"], "ids": ["b"], "reason": "' + b"\\ud800" * 10 + b'"}', 422),
        (b'{"ids": [1e999]}', 422),
        (b'{"ids": NaN}', 422),
        (b"\xff\xfe{}", 422),
        (b"null", 422),
        (b'{"groups": {"a": 1}}', 422),
    ],
)
def test_a_body_that_is_no_body_is_refused(client, body, status):
    answer = client.post(
        "/dead/resolve", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code in {400, status}, answer.text[:300]
    assert set(answer.json()["error"]) == {"code", "message", "help", "request_id"}


def test_a_body_without_a_length_is_counted_while_it_comes(client):
    def pieces():
        yield b'{"reason": "'
        for _ in range(MOST_BODY // 65536 + 1):
            yield b"x" * 65536

    answer = client.post(
        "/dead/resolve", content=pieces(), headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too-large")


def zipped(**files):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return made.getvalue()


POLYGLOTS = {
    "pdf and zip": b"%PDF-1.7\n1 0 obj\n" + zipped(a="x"),
    "gif and script": b"GIF89a/*" + bytes(8) + b"*/=1;alert(1)",
    "png and csv": b"\x89PNG\r\n\x1a\na,b\n1,2\n",
    "zip called csv": zipped(a="a,b\n"),
    "gzip called csv": gzip.compress(TABLE),
    "program": b"MZ" + bytes(58) + b"\x40\0\0\0" + bytes(64) + b"a,b\n1,2\n",
    "elf": b"\x7fELF\x02\x01\x01" + bytes(60) + TABLE,
    "class": b"\xca\xfe\xba\xbe\0\0\0\x34" + TABLE,
    "csv and zip": TABLE * 10 + zipped(evil="x"),
    "page": b"<!doctype html><script>alert(1)</script>\na,b\n",
    "svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
}


@pytest.mark.parametrize("kind", POLYGLOTS)
def test_what_is_two_things_at_once_is_not_what_its_name_says(site, client, kind):
    answer = client.post("/upload?name=a.csv", content=POLYGLOTS[kind])
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "wrong-type")
    assert site.staged() == []


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (b"filename*=UTF-8''..%2f..%2fstar.csv", None),
        (b'filename="..\\\\..\\\\slash.csv"', "slash.csv"),
        (b'filename="a.csv"; filename="b.csv"', None),
        (b"filename*=UTF-16''%00a.csv", None),
        (b"filename*=nonsense''a.csv", None),
        (b"filename*=UTF-8''a%0d%0ax%3a%20y.csv", None),
        (b'filename="a\x00.csv"', None),
        (b'filename=""', None),
    ],
)
def test_a_name_in_a_form_is_a_plain_name_or_none(site, client, disposition, name):
    """Taken under a name without a way in it and without control characters, or refused; nothing else."""
    body = (
        b'--x\r\ncontent-disposition: form-data; name="file"; ' + disposition
        + b"\r\n\r\n" + TABLE + b"\r\n--x--\r\n"
    )  # fmt: skip
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = client.post("/upload", content=body, headers=headers)
    if name is not None:
        assert answer.status_code == 201, answer.text
    if answer.status_code == 201:
        (file,) = answer.json()["files"]
        assert name is None or file["name"] == name
        assert not re.search(r"[\x00-\x1f\x7f/\\]|^\.", file["name"]), file
    else:
        assert answer.status_code in {400, 422}, answer.text
    assert site.staged() == []


FIRST = ("file", ("first.csv", TABLE, "text/csv"))


@pytest.mark.parametrize(
    ("second", "status"),
    [
        (("file", ("second.csv", b"a,b\n" + b"1,2\n" * 600_000, "text/csv")), 413),
        (("file", ("second.csv", b"%PDF-1.7\n", "text/csv")), 415),
        (("file", ("second.exe", TABLE, "text/csv")), 415),
        (("file", (".hidden.csv", TABLE, "text/csv")), 422),
        (("tag", (None, "NO TAG")), 422),
    ],
)
def test_where_the_second_is_refused_the_first_is_not_taken(site, client, second, status):
    answer = client.post("/upload", files=[FIRST, second])
    assert answer.status_code == status, answer.text
    assert client.get("/files?name=first.csv").json()["items"] == []
    assert site.staged() == []


@pytest.mark.parametrize(
    ("part", "most"),
    [
        (b'content-disposition: form-data; name="tag"\r\n\r\na', MOST_FIELDS),
        (b'content-disposition: form-data; name="f"; filename="f.csv"\r\n\r\na', MOST_PARTS),
    ],
)
def test_a_form_of_too_many_parts_is_refused_while_it_comes(site, client, part, most):
    body = b"".join(b"--x\r\n" + part + b"\r\n" for _ in range(most + 1)) + b"--x--\r\n"
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = client.post("/upload", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too-large")
    assert site.staged() == []


def said(site, request):
    """What the server says to these very bytes, until it closes or falls silent."""
    answer = b""
    with socket.create_connection(("127.0.0.1", site.port), timeout=15) as connection:
        connection.sendall(request)
        while piece := connection.recv(65536):
            answer += piece
    return answer


@pytest.mark.parametrize(
    "head",
    [
        b"transfer-encoding : chunked\r\n",
        b"transfer-encoding: xchunked\r\n",
        b"transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        b"content-length: 5\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n",
        b"content-length: +5\r\n",
        b"content-length: 0x5\r\n",
        b"x: a\x00b\r\n",
        b"x: a\rb: c\r\n",
        b": nameless\r\n",
    ],
)
def test_a_head_of_two_meanings_ends_the_connection(site, head):
    """And what follows in the same bytes is never taken for a second request."""
    begin = b"POST /upload HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n" % site.port
    second = b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n\r\n" % site.port
    answer = said(site, begin + head + b"\r\n0\r\n\r\n" + second)
    assert re.match(rb"HTTP/1\.1 4\d\d ", answer), answer
    assert b'"status":"ok"' not in answer
    assert answer.count(b"HTTP/1.1 ") == 1


def test_no_other_page_is_let_in_and_no_cookie_opens_anything(site, client, stranger):
    """No CORS, no cookies: a browser that somebody else steers has nothing to go by."""
    asked = {
        "origin": "https://evil.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
    }
    for method, path in (("OPTIONS", "/files"), ("OPTIONS", "/uploads"), ("GET", "/stats")):
        answer = client.request(method, path, headers=asked)
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "set-cookie" not in answer.headers
    for cookie in (f"key={site.key}", f"authorization=Bearer {site.key}", f"session={site.key}"):
        assert stranger.get("/stats", headers={"cookie": cookie}).status_code == 401
    basic = base64.b64encode(f"x:{site.key}".encode()).decode()
    assert stranger.get("/stats", headers={"authorization": f"Basic {basic}"}).status_code == 401
    assert stranger.get(f"/stats?key={site.key}&access_token={site.key}").status_code == 401


def test_what_is_shown_as_a_page_has_no_place_for_names(client):
    """The one page there is holds nothing that anybody sent."""
    answer = client.get("/docs")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "onerror" not in answer.text
    assert "<script" not in answer.text
