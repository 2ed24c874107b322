"""Keys and the audit from the command line, with and without a server."""

import json
import os
import re
import stat

import apsw
import pytest

from filemill.cli.completing import offers
from filemill.identity import keys, pepper
from filemill.ports.clock import SystemClock
from filemill.service.reading import open_queries
from serving import serving

INSIDE = True

CONFIG = """\
sources:
  inbox: {folder: inbox}
tags:
  log: {name: "*.log"}
pipelines:
  logs: {when: log, retry: {attempts: 1}, steps: [read_lines, write: out]}
sinks:
  out: {folder: out}
"""


@pytest.fixture
def mill(filemill):
    (filemill.folder / "inbox").mkdir()
    (filemill.folder / "filemill.yaml").write_text(CONFIG)
    return filemill


def let_in(mill, text):
    data = str(mill.folder / ".filemill")
    with open_queries(data) as queries:
        return keys.recognise(text.strip(), pepper.read(data), queries.key, SystemClock().wall_ns())


def test_a_key_is_shown_once_lets_in_and_is_revoked_at_once(mill):
    made = mill(
        "keys", "create", "acme", "--role", "uploader", "--source", "inbox", "--expires", "90d"
    )
    assert re.fullmatch(keys.PATTERN + "\n", made.stdout), "the key stands alone on stdout"
    assert "It is not shown again" in made.stderr
    assert "curl" in made.stderr and "/upload" in made.stderr  # noqa: PT018
    data = mill.folder / ".filemill"
    assert stat.S_IMODE((data / "pepper").stat().st_mode) == 0o600
    principal = let_in(mill, made.stdout)
    assert (principal.name, principal.roles, principal.sources) == (
        "key:acme",
        ("uploader",),
        ("inbox",),
    )
    secret = made.stdout.split("_")[2].strip().encode()
    for path in data.rglob("*"):
        assert path.is_dir() or secret[:52] not in path.read_bytes(), "no secret is on the disk"
    assert "in force" in mill("keys", "ls").stdout
    again = mill("keys", "create", "acme", "--role", "uploader", code=2)
    assert "in force" in again.stderr
    assert "keys revoke acme" in again.stderr
    assert "add --yes" in mill("keys", "revoke", "acme", code=2).stderr
    assert "revoked" in mill("keys", "revoke", "acme", "--yes", "--reason", "over").stdout
    assert let_in(mill, made.stdout) is None
    (listed,) = json.loads(mill("keys", "ls", "--json").stdout)["items"]
    assert (listed["state"], listed["name"], listed["roles"]) == ("revoked", "acme", ["uploader"])
    told = json.loads(mill("audit", "ls", "--json").stdout)["items"]
    assert [(row["action"], row["object"]) for row in told] == [
        ("revoke-key", listed["id"]),
        ("create-key", listed["id"]),
    ]
    assert told[0]["detail"] == {"name": "acme", "reason": "over"}


def test_a_running_server_makes_and_revokes_keys(mill):
    mill("run", "--once")
    with serving(mill.folder, mill.environ):
        made = json.loads(mill("keys", "create", "bo", "--role", "operator", "--json").stdout)
        assert let_in(mill, made["key"]).key == made["id"]
        mill("keys", "revoke", made["key"], "--yes")  # a whole key is understood, too
        assert let_in(mill, made["key"]) is None
    assert mill("audit", "verify").stdout.startswith("rows 1 to 2: 2 rows, the chain is whole")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["acme", "--role", "uplaoder"], "did you mean `uploader`?"),
        (["acme"], "a key without a role opens nothing"),
        (["acme", "--role", "uploader", "--source", "inbix"], "did you mean `inbox`?"),
        (["acme", "--role", "viewer-meta", "--pipeline", "lags"], "did you mean `logs`?"),
        (["Ac me", "--role", "uploader"], "no name for a key"),
        (["acme", "--role", "uploader", "--expires", "soon"], "not a length of time"),
        (["acme", "--role", "uploader", "--expires", "0s"], "expired already"),
    ],
)
def test_what_makes_no_key_says_why(mill, words, said):
    assert said in mill("keys", "create", *words, code=2).stderr


def test_no_such_key_is_said_with_what_was_meant(mill):
    mill("keys", "create", "acme", "--role", "uploader")
    assert "did you mean `acme`?" in mill("keys", "revoke", "acne", "--yes", code=2).stderr
    mill("keys", "revoke", "acme", "--yes")
    assert "revoked already" in mill("keys", "revoke", "acme", "--yes", code=2).stderr


def test_the_audit_is_verified_and_exported(mill):
    (mill.folder / "inbox/a.log").write_text("one\n")
    mill("run", "--once")
    for name in ("ana", "bo", "cy"):
        mill("keys", "create", name, "--role", "scraper")
    whole = mill("audit", "verify").stdout
    head = whole.rsplit("head ", 1)[1].strip()
    mill("audit", "verify", "--head", head)
    rows = [json.loads(line) for line in mill("audit", "export").stdout.splitlines()]
    assert [row["number"] for row in rows] == [1, 2, 3]
    assert rows[-1]["chain"] == head.split(":")[1]
    assert "no head" in mill("audit", "verify", "--head", "12", code=2).stderr
    db = apsw.Connection(str(mill.folder / ".filemill/ledger.db"))
    db.execute("DROP TRIGGER audit_kept")
    db.execute("DELETE FROM audit WHERE number = 3")
    assert mill("audit", "verify").returncode == 0
    assert "removed at the end" in mill("audit", "verify", "--head", head, code=1).stderr
    db.execute("DELETE FROM audit WHERE number = 1")
    db.close()
    told = json.loads(mill("audit", "verify", "--json", code=1).stdout)
    assert (told["whole"], told["wrong"]) == (False, 2)


def test_a_restored_ledger_knows_its_keys(mill):
    made = mill("keys", "create", "acme", "--role", "uploader").stdout
    mill("backup", "saved", "--verify")
    mill("restore", "saved", "--force")
    assert let_in(mill, made).name == "key:acme"
    (mill.folder / "saved/pepper").write_bytes(b"x" * 32)
    assert "pepper is not what it was" in mill("restore", "saved", "--force", code=1).stderr


def test_keys_are_completed(mill):
    mill("keys", "create", "acme", "--role", "uploader")
    here = os.getcwd()
    os.chdir(mill.folder)
    try:
        assert "acme" in dict(offers("filemill keys revoke "))
        assert "uploader" in dict(offers("filemill keys create x --role up"))
        assert "inbox" in dict(offers("filemill keys create x --source "))
        assert "key:acme" in dict(offers("filemill audit ls --principal k"))
        assert set(dict(offers("filemill keys "))) == {"create", "ls", "revoke"}
    finally:
        os.chdir(here)
