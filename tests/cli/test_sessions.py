"""Links and sessions from the command line, with and without a server."""

import asyncio
import json
import os
import stat

import pytest

from filemill.cli import opening
from filemill.cli.completing import offers
from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.model.deeds import Deed
from filemill.model.sessions import StoredSession
from filemill.ports.clock import SystemClock
from serving import serving

INSIDE = True

CONFIG = """\
sources:
  inbox: {folder: inbox}
tags:
  log: {name: "*.log"}
pipelines:
  logs: {when: log, steps: [read_lines, write: out]}
sinks:
  out: {folder: out}
"""


@pytest.fixture
def mill(filemill):
    (filemill.folder / "inbox").mkdir()
    (filemill.folder / "filemill.yaml").write_text(CONFIG)
    return filemill


@pytest.fixture
def entered(mill):
    """Two people are logged in, one of them twice."""
    mill("run", "--once")
    asyncio.run(_enter(str(mill.folder / ".filemill" / "ledger.db"), ["ana", "oidc:bo", "oidc:bo"]))
    return mill


async def _enter(path, people):
    now = SystemClock().wall_ns()
    ledger = await SqliteLedger.open(path)
    for number, who in enumerate(people):
        made = StoredSession(
            id=f"0000000{number}", hash=bytes([number]) * 32, principal=who, roles=("operator",), how="link",
            address="127.0.0.1", created_ns=now, used_ns=now, expires_ns=now + 10**12,
        )  # fmt: skip
        assert await ledger.open_session(made, Deed(who, now))
    await ledger.close()


def test_without_a_server_there_is_no_link(mill):
    assert "nothing has run here" not in mill("open", code=2).stderr
    said = mill("open", code=2).stderr
    assert "no server runs" in said
    assert "filemill run" in said


def test_a_server_that_serves_no_http_makes_none(mill):
    with serving(mill.folder, mill.environ):
        said = mill("open", code=2).stderr
    assert "serves no HTTP" in said


def test_sessions_are_listed_and_ended(entered):
    table = entered("sessions", "ls").stdout
    assert table.count("oidc:bo") == 2
    assert "ana" in table
    listed = json.loads(entered("sessions", "ls", "--json").stdout)["items"]
    assert {each["id"] for each in listed} == {"00000000", "00000001", "00000002"}
    assert "hash" not in str(listed)
    assert "2 sessions ended" in entered("sessions", "end", "oidc:bo", "--reason", "lost").stdout
    assert "did you mean `ana`?" in entered("sessions", "end", "anna", code=2).stderr
    assert "say --all" in entered("sessions", "end", code=2).stderr
    ended = json.loads(entered("sessions", "end", "--all", "--json").stdout)["items"]
    assert ended == [{"id": "00000000", "principal": "ana", "moved": True}]
    assert "no browser is logged in" in entered("sessions", "ls").stderr
    rows = json.loads(entered("audit", "ls", "--action", "logout", "--json").stdout)["items"]
    assert [(row["object"], row["detail"]["of"]) for row in rows] == [
        ("00000000", "ana"), ("00000002", "oidc:bo"), ("00000001", "oidc:bo"),
    ]  # fmt: skip
    assert rows[1]["detail"]["reason"] == "lost"


def test_who_is_logged_in_is_offered(entered, monkeypatch):
    monkeypatch.chdir(entered.folder)
    assert {"ana", "oidc:bo", "00000000"} <= {text for text, _ in offers("filemill sessions end ")}


def test_a_restored_ledger_has_nobody_logged_in(entered):
    entered("backup", "kept")
    entered("restore", "kept", "--data", "again")
    environ = {"FILEMILL_DATA_DIR": str(entered.folder / "again")}
    assert json.loads(entered("sessions", "ls", "--json", **environ).stdout)["items"] == []
    assert len(json.loads(entered("sessions", "ls", "--json").stdout)["items"]) == 3


def test_no_other_user_reads_the_link_that_a_browser_is_given(tmp_path):
    """Arguments of a process are for every user of a machine to read; a file is not."""
    url = 'http://127.0.0.1:8600/login/link?t=x&y="'
    path = opening._written(str(tmp_path), url)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with open(path) as file:
        assert "t=x&amp;y=&quot;" in file.read()
