"""Keys and logins over HTTP: made, listed and ended by who may; nothing that opens anything is told twice."""

import json
import re
import subprocess
import sys
import time

import httpx2
import pytest
from senders import asking, command, environ_of
from sites import Site, web_child

import serving


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("admitting")).running() as made:
        yield made


def over(site, folder, *words, code=0, key=None):
    asked = asking(site) | ({"FILEMILL_KEY": key} if key else {})
    return command(folder, *words, code=code, **asked)


def test_a_key_is_made_listed_used_and_revoked(site, tmp_path):
    words = [
        "--role",
        "uploader",
        "--source",
        "upload",
        "--expires",
        "90d",
        "--reason",
        "a partner",
    ]
    out, told = over(site, tmp_path, "keys", "create", "acme", *words)
    assert f"{site.url}/upload" in told, "a line to try it with names the server that was asked"
    key = out.strip()
    with site.client(key) as client:
        assert client.post("/upload?name=a.csv", content=b"a\n1\n").status_code == 201
        assert client.post("/partners/acme?name=a.csv", content=b"a\n1\n").status_code == 403
    here = json.loads(command(site.root, "keys", "ls", "--json")[0])
    there = json.loads(over(site, tmp_path, "keys", "ls", "--json")[0])
    assert there == here
    (found,) = (each for each in there["items"] if each["name"] == "acme")
    assert (found["roles"], found["sources"], found["created_by"]) == (
        ["uploader"],
        ["upload"],
        "local",
    )
    ends = time.mktime(time.strptime(found["expires_at"][:19], "%Y-%m-%dT%H:%M:%S"))
    began = time.mktime(time.strptime(found["created_at"][:19], "%Y-%m-%dT%H:%M:%S"))
    assert abs(ends - began - 90 * 86_400) < 30
    with site.client() as client:
        said = client.get("/keys").text + client.get("/audit?limit=500").text
    headers = {
        "authorization": f"Bearer {site.key}",
        "accept": "application/vnd.filemill.values",
    }
    values = httpx2.get(f"{site.url}/keys", headers=headers).content
    assert b"acme" in values
    secret = key.rpartition("_")[2]
    assert secret not in said
    assert b"hash" not in values.replace(b"hash\xc4\x00", b""), (
        "a hash leaves the server in no answer"
    )
    out, _ = over(site, tmp_path, "keys", "revoke", "acme", "--yes", "--reason", "over")
    assert out.startswith("revoked ")
    with site.client(key) as client:
        assert client.get("/files").status_code == 401
    _, err = over(site, tmp_path, "keys", "revoke", "acme", "--yes", code=2)
    assert "revoked already" in err
    rows = json.loads(over(site, tmp_path, "audit", "ls", "--json")[0])["items"]
    deeds = [(row["by"], row["action"]) for row in rows if "key" in row["action"]]
    assert deeds[:2] == [("local", "revoke-key"), ("local", "create-key")]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"name": "x", "roles": ["king"]}, "king"),
        ({"name": "x", "roles": []}, "roles"),
        ({"name": "../x", "roles": ["admin"]}, "name"),
        ({"name": "x", "roles": ["admin"], "sources": ["nowhere"]}, "no source `nowhere`"),
        ({"name": "x", "roles": ["admin"], "pipelines": ["none"]}, "no pipeline `none`"),
        ({"name": "x", "roles": ["admin"], "expires": "soon"}, "expires"),
        ({"name": "x", "roles": ["admin"], "expires": "9" * 18 + "w"}, "expires"),
        ({"name": "x", "roles": ["admin"], "hash": "x"}, "hash"),
    ],
)
def test_a_key_that_would_be_wrong_is_not_made(site, body, said):
    with site.client() as client:
        before = client.get("/keys").json()
        answer = client.post("/keys", json=body)
        assert answer.status_code in {400, 422}, answer.text
        assert said in answer.text
        assert client.get("/keys").json() == before


def test_only_who_rules_over_all_lets_others_in(site, tmp_path):
    narrow, _ = over(
        site, tmp_path, "keys", "create", "half", "--role", "admin", "--source", "upload"
    )
    operator, _ = over(site, tmp_path, "keys", "create", "op", "--role", "operator")
    for key in (narrow.strip(), operator.strip()):
        with site.client(key) as client:
            for path, body in (
                ("/keys", {"name": "mine", "roles": ["admin"]}),
                ("/keys/revoke", {"keys": ["abcdefgh"]}),
                ("/sessions/end", {"sessions": ["abcdefgh"]}),
            ):
                assert client.post(path, json=body).status_code == 403
            for path in ("/keys", "/sessions", "/audit/verify"):
                assert client.get(path).status_code == 403


def test_browsers_are_listed_and_logged_out(site, tmp_path):
    link, _ = command(site.root, "open", "--no-browser")
    with site.stranger() as browser:
        ticket = re.search(r"[?&#]t=([^\s&]+)", link)[1]
        headers = {"origin": site.url, "sec-fetch-site": "same-origin"}
        answer = browser.post("/login/link", data={"t": ticket}, headers=headers)
        assert answer.status_code == 303, answer.text
        cookies = dict(browser.cookies)
        assert cookies
        here = json.loads(command(site.root, "sessions", "ls", "--json")[0])
        there = json.loads(over(site, tmp_path, "sessions", "ls", "--json")[0])
        assert there == here
        (login,) = there["items"]
        out, _ = over(site, tmp_path, "sessions", "end", login["id"])
        assert out == "1 session ended\n"
        assert json.loads(over(site, tmp_path, "sessions", "ls", "--json")[0])["items"] == []
    _, err = over(site, tmp_path, "sessions", "end", "nobody", code=2)
    assert "no session `nobody`" in err
    out, _ = over(site, tmp_path, "sessions", "end", "--all")
    assert out == "0 sessions ended\n"


def test_reading_along_goes_on_when_the_connection_does_not(site, tmp_path):
    words = [sys.executable, "-m", "filemill", "tail", "--json", "-n", "0"]
    log, noted = tmp_path / "told", tmp_path / "noted"
    with log.open("wb") as out, noted.open("wb") as err:
        tail = subprocess.Popen(
            words, cwd=tmp_path, env=environ_of(asking(site)), stdout=out, stderr=err
        )
    try:
        send_until_told(site, log, "before")
        child = web_child(site)
        subprocess.run(["kill", "-9", str(child)], check=True)
        serving.until(site.answers)
        with site.client() as client:
            assert client.post("/upload?name=after.csv&wait=9s", content=b"a\n1\n").is_success
        serving.until(lambda: "after.csv" in finished(log))
        assert sorted(set(finished(log))) == sorted(finished(log)), "each end is told once"
        said = noted.read_text()
        assert "it is asked again until it answers" in said
        assert "answers again" in said
    finally:
        tail.terminate()
        tail.wait()


def send_until_told(site, log, name):
    """Files, one after the other, until the first is read of: the reader has begun."""
    for number in range(100):
        with site.client() as client:
            file = f"{name}-{number}.csv"
            assert client.post(f"/upload?name={file}&wait=9s", content=b"a\n1\n").is_success
        if finished(log):
            return
        time.sleep(0.2)
    raise AssertionError("nothing was told")


def finished(log):
    events = [json.loads(line) for line in log.read_text().splitlines()]
    return [each["relative"] for each in events if each["event"] == "RunFinished"]
