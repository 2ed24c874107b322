"""Secrets go where the configuration says and nowhere else: not into files, logs, answers, errors, or children."""

import base64
import os
import re
import subprocess
import urllib.parse
from pathlib import Path

import pytest
from sites import Site, web_child
from tenants import make_key, revoke

import serving

SALT = "canary-salt-7f3a91c2d4"
PLACE = "canary-place-55e0b7"
CONFIG = """\
version: 1
workers: 1
sources:
  inbox: {folder: inbox, create: true}
  upload: {http: /upload}
tags:
  table: {name: "*.csv"}
pipelines:
  tables:
    when: table
    retry: {attempts: 1}
    steps:
      - read_csv
      - redact: {columns: {email: {hash: {secret: SALT}}}}
      - write: out
sinks:
  out: {folder: out}
"""
TABLE = b"id,email\n1,ann@example.org\n"
KEPT = {"local.key", "pepper"}
"""Files that hold a secret, and are there for it."""


class Told:
    """What was printed or answered, with what asked for it."""

    def __init__(self, site):
        self.site = site
        self.texts = {}

    def command(self, *words, code=0):
        done = subprocess.run(
            [*serving.FILEMILL, *words],
            cwd=self.site.root, env=self.site.environ, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, (words, done.stdout, done.stderr)
        self.texts["filemill " + " ".join(words)] = done.stdout + done.stderr
        return done.stdout

    def request(self, client, method, path, **asked):
        answer = client.request(method, path, **asked)
        self.texts[f"{method} {path}"] = answer.content + repr(answer.headers.raw).encode()
        return answer


class Secret(Site):
    """A site whose configuration reads secrets from the environment and from a file."""

    @property
    def environ(self):
        return super().environ | {"SALT": SALT, "PLACE_FILE": str(self.root / "place")}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    root = tmp_path_factory.mktemp("secrets")
    made = Secret(root, CONFIG)
    (root / "place").write_text(PLACE)
    (root / "place").chmod(0o600)
    with made.running():
        yield made


def spellings(secret):
    """A secret in every way in which it may be written down."""
    raw = secret.encode()
    return {
        raw,
        base64.b64encode(raw),
        base64.urlsafe_b64encode(raw).rstrip(b"="),
        raw.hex().encode(),
        urllib.parse.quote(secret).encode(),
        secret.encode("utf-16-le"),
    }


def test_no_secret_is_written_down_or_told(site):
    told = Told(site)
    made = {
        name: make_key(site, name, role) for name, role in (("ann", "admin"), ("bo", "uploader"))
    }
    with site.client(made["bo"]) as sender, site.client(made["ann"]) as staff:
        assert (
            told.request(sender, "POST", "/upload?wait=20s&name=a.csv", content=TABLE).json()[
                "files"
            ][0]["state"]
            == "done"
        )
        # Dead: the step that has the secret does not find its column.
        dead = told.request(
            sender, "POST", "/upload?wait=20s&name=b.csv", content=b"id,mail\n1,x\n"
        )
        assert dead.json()["files"][0]["state"] == "dead"
        told.request(sender, "GET", "/stats")
        # Who pastes a key into a path: the refusal is noted, and the key is not.
        told.request(sender, "GET", f"/files/{made['bo']}/content")
        for path in ("/files", "/dead", "/audit", "/revisions", "/sinks", "/openapi.json"):
            told.request(staff, "GET", path)
        told.request(staff, "POST", "/dead/redrive", json={"query": {}, "reason": "again"})
        told.request(staff, "POST", "/config/reload", json={})
    with site.stranger() as stranger:
        wrong = made["ann"][:-1] + ("a" if made["ann"][-1] != "a" else "b")
        for given in (wrong, made["ann"][3:], made["ann"] + "x", f"{made['bo']} {made['ann']}"):
            headers = {"authorization": f"Bearer {given}"}
            assert told.request(stranger, "GET", "/stats", headers=headers).status_code in {
                401,
                429,
            }
        told.request(stranger, "GET", f"/stats?key={made['ann']}")
    revoke(site, "bo")
    _break_and_mend(site, told)
    for words in (
        ("config", "show"), ("config", "show", "--json"), ("config", "log"), ("check",), ("doctor",),
        ("status", "--json"), ("files", "ls", "--json"), ("dead", "ls"), ("keys", "ls", "--json"),
        ("audit", "export"), ("audit", "ls"),
    ):  # fmt: skip
        told.command(*words)
    told.texts["the server's log"] = (site.root / "server.log").read_bytes()

    secrets = {"salt": SALT, "place": PLACE, "local key": site.key}
    secrets |= {f"key of {name}": key.rpartition("_")[2] for name, key in made.items()}
    hidden = {what: spellings(secret) for what, secret in secrets.items()}
    pepper = (site.root / ".filemill" / "pepper").read_bytes()
    hidden["pepper"] = {pepper, pepper.hex().encode(), base64.b64encode(pepper)}
    for what, text in (told.texts | _files(site.root)).items():
        for name, ways in hidden.items():
            found = [way for way in ways if way in text]
            assert not found, f"the {name} is in {what}"
    # The control: what is looked for is found where it is.
    assert SALT.encode() in b"".join(f"{k}={v}".encode() for k, v in site.environ.items())
    assert made["bo"].split("_")[1].encode() in told.texts["filemill audit export"]


def _break_and_mend(site, told):
    """A configuration whose error is about the very value that is secret."""
    file = site.root / "filemill.yaml"
    try:
        file.write_text(CONFIG.replace("{folder: out}", "{folder: out, format: {secret: PLACE}}"))
        told.command("check", "-v", code=2)
        assert b"***" in told.texts["filemill check -v"]
        with site.client() as local:
            answer = told.request(local, "POST", "/config/reload", json={})
        assert answer.status_code == 422, answer.text
    finally:
        file.write_text(CONFIG)


def _files(root):
    """Every file below a project, but those that are there for a secret."""
    return {
        str(path): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name not in KEPT and path != root / "place"
    }


def test_no_child_inherits_a_secret_or_a_file(site, client):
    """What parses strangers' bytes or runs users' code has its own environment, few descriptors, and leaves no core."""
    child = web_child(site)
    server = client.get("/readyz?verbose=true").json()["server"]["pid"]
    workers = [each["pid"] for each in client.get("/workers").json()["items"]]
    assert child
    assert workers
    assert SALT.encode() in Path(f"/proc/{server}/environ").read_bytes(), "the control"
    for pid in (child, *workers):
        assert SALT.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
    for pid in (server, child, *workers):
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"^Max core file size +0 ", limits, re.MULTILINE), limits
    for pid in workers:
        held = _held(pid)
        assert not [each for each in held if "ledger" in each or "lock" in each], held
        assert len([each for each in held if each.startswith("socket:")]) == 1, held
    web = _held(child)
    assert not [each for each in web if each.endswith(("/lock", "/reserve", "/pepper"))], web


def _held(pid):
    folder = f"/proc/{pid}/fd"
    return [os.readlink(f"{folder}/{each}") for each in os.listdir(folder)]


def test_a_secret_that_is_changed_is_taken_by_a_reload(site, client):
    """Rotation: the file that holds it is written anew, and the next reload reads it."""
    config = site.root / "filemill.yaml"
    config.write_text(CONFIG.replace("{folder: out}", "{folder: {secret: PLACE}}"))
    try:
        for place in ("first-place", "second-place"):
            (site.root / "place").write_text(place)
            done = client.post("/config/reload", json={})
            assert done.status_code == 200, done.text
            sent = client.post(f"/upload?wait=20s&name={place}.csv", content=TABLE)
            assert sent.json()["files"][0]["state"] == "done"
            assert (site.root / place / f"{place}.csv").exists()
        assert done.json()["changes"] == ["secrets changed"]
        assert client.post("/config/reload", json={}).json()["changes"] == [], "the control"
    finally:
        config.write_text(CONFIG)
        assert client.post("/config/reload", json={}).status_code == 200


def test_what_the_server_makes_is_its_users_alone(site, client):
    """0700 and 0600 all over the data directory, after it did everything above."""
    assert client.post("/upload?wait=20s&name=private.csv", content=TABLE).is_success
    data = site.root / ".filemill"
    assert os.stat(data).st_mode & 0o077 == 0
    open_ = [
        (str(path), oct(os.lstat(path).st_mode))
        for path in data.rglob("*")
        if not path.is_symlink() and os.lstat(path).st_mode & 0o077
    ]
    assert open_ == []
