"""`filemill gc` and `retention:` as people meet them: real files, a real ledger, with a server and without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import apsw
import pytest

from serving import serving, until

INSIDE = True

CONFIG = """\
version: 1
workers: 1
sources:
  inbox: {folder: inbox, settle: 5ms, settle_unproven: 20ms}
  stay: {folder: stay, settle: 5ms, settle_unproven: 20ms, after: keep}
tags:
  log: {name: "*.log"}
  bad: {name: "*.json"}
pipelines:
  logs: {when: log, steps: [read_lines, write: out]}
  values: {when: bad, steps: [read_json, write: out]}
sinks:
  out: {folder: out}
"""


@pytest.fixture
def mill(filemill):
    for folder in ("inbox", "stay"):
        (filemill.folder / folder).mkdir()
    (filemill.folder / "filemill.yaml").write_text(CONFIG)
    return filemill


def ask(mill, query):
    db = apsw.Connection(str(mill.folder / ".filemill/ledger.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def contents(mill):
    root = mill.folder / ".filemill/content"
    return sorted(path.read_text() for path in root.rglob("*") if path.is_file())


def gc(mill, *words):
    return json.loads(mill("gc", "--json", *words).stdout)


def drop(mill, **files):
    for name, text in files.items():
        (mill.folder / "inbox" / name.replace("_", ".")).write_text(text)


def test_bytes_and_rows_go_and_what_waits_for_a_person_stays(mill):
    drop(mill, a_log="one\n", b_log="two\n", c_json="{broken", d_bin="nobody wants it")
    mill("run", "--once", code=1)
    assert len(contents(mill)) == 4
    would = gc(mill, "--dry-run", "--older-than", "0s")
    assert (would["files"], would["bytes"], would["forgotten"]) == (2, 8, 2)
    assert len(contents(mill)) == 4
    refused = mill("gc", "--older-than", "0s", code=2)
    assert "--yes does it" in refused.stderr
    did = gc(mill, "--older-than", "0s", "--yes")
    assert (did["files"], did["bytes"], did["forgotten"]) == (2, 8, 2)
    assert contents(mill) == ["nobody wants it", "{broken"]
    assert json.loads(mill("status", "--json").stdout)["files"] == {"dead": 1, "held": 1}
    assert ask(mill, "SELECT count(*) FROM garbage") == [(0,)]
    for table in ("run", "attempt"):
        assert ask(mill, f"SELECT count(*) FROM {table}") == [(1,)], table
    assert mill("gc").stdout == "nothing is old enough to go\n"
    assert ("gc", "retention") in ask(mill, "SELECT action, object FROM audit")


def test_a_dead_letter_that_is_discarded_goes_with_its_kept_input(mill):
    drop(mill, c_json="{broken")
    mill("run", "--once", code=1)
    mill("dead", "discard", "--yes", "--all")
    assert gc(mill, "--older-than", "0s", "--yes")["forgotten"] == 1
    assert contents(mill) == []
    assert ask(mill, "SELECT count(*) FROM file") == [(0,)]


def test_dead_letters_go_when_the_configuration_says_so(mill):
    text = CONFIG + "retention: {dead: 1ms}\n"
    (mill.folder / "filemill.yaml").write_text(text)
    drop(mill, c_json="{broken", a_log="one\n")
    mill("run", "--once", code=1)
    assert gc(mill)["forgotten"] == 1
    assert contents(mill) == ["one\n"]


def test_a_file_that_is_kept_in_its_source_is_not_taken_again_when_its_row_is_gone(mill):
    (mill.folder / "stay" / "a.log").write_text("one\n")
    mill("run", "--once")
    assert gc(mill, "--older-than", "0s", "--yes")["forgotten"] == 1
    mill("run", "--once")
    mill("gc", "--older-than", "0s", "--yes")
    mill("run", "--once")
    assert [name for name in os.listdir(mill.folder / "out") if name != ".filemill"] == ["a.log"]
    assert ask(mill, "SELECT count(*) FROM file") == [(0,)]
    assert ask(mill, "SELECT count(*) FROM kept") == [(1,)]
    # Another version of it is taken, and the first is remembered no longer.
    (mill.folder / "stay" / "a.log").write_text("other bytes\n")
    mill("run", "--once")
    mill("gc")
    assert ask(mill, "SELECT count(*) FROM kept") == [(0,)]
    assert ask(mill, "SELECT count(*) FROM file") == [(1,)]


def test_a_folder_that_is_not_mounted_is_no_reason_to_forget_what_was_taken_from_it(mill):
    stay = mill.folder / "stay"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", stay], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounts need root")
    try:
        (stay / "a.log").write_text("one\n")
        mill("run", "--once")
        assert gc(mill, "--older-than", "0s", "--yes")["forgotten"] == 1
        mill("gc")
    finally:
        subprocess.run(["umount", "-l", stay], check=True)
    mill("gc")
    assert ask(mill, "SELECT count(*) FROM kept") == [(1,)]


def test_a_duplicate_of_what_is_gone_says_so(mill):
    drop(mill, a_log="same\n")
    mill("run", "--once")
    db = apsw.Connection(str(mill.folder / ".filemill/ledger.db"))
    db.execute(
        "UPDATE file SET claimed_ns = 1, state_ns = 1, disposed_ns = 1; UPDATE run SET state_ns = 1"
    )
    db.close()
    drop(mill, b_log="same\n")
    mill("run", "--once")
    (second,) = (f for f in files(mill) if f["name"] == "b.log")
    assert gc(mill, "--older-than", "1h", "--yes")["forgotten"] == 1
    assert "(removed by retention)" in mill("files", "show", second["id"]).stdout
    shown = json.loads(mill("files", "show", "--json", second["id"]).stdout)["file"]
    assert shown["forgotten"] == [shown["duplicate_of"]]


def files(mill):
    return json.loads(mill("files", "ls", "--json").stdout)["items"]


def test_beside_a_server_the_server_does_it(mill):
    drop(mill, a_log="one\n", c_json="{broken")
    with serving(mill.folder, mill.environ) as log:
        until(
            lambda: json.loads(mill("status", "--json").stdout)["files"] == {"done": 1, "dead": 1}
        )
        did = gc(mill, "--older-than", "0s", "--yes")
        assert (did["files"], did["forgotten"]) == (1, 1)
        assert contents(mill) == ["{broken"]
        assert "in use by process" in mill("gc", "--compact", code=75).stderr
    assert "retention: 4 B of 1 file freed, 1 file forgotten" in log.read_text()


def test_compacting_gives_back_what_is_free(mill):
    drop(mill, a_log="one\n")
    mill("run", "--once")
    done = gc(mill, "--compact")
    assert done["ledger_bytes"]["after"] <= done["ledger_bytes"]["before"]
    assert ask(mill, "PRAGMA freelist_count") == [(0,)]
    assert ask(mill, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.crash
@pytest.mark.parametrize(
    "rule", [f"gc.{action}:{n}:kill" for action in ("unlink", "commit") for n in (1, 2, 3)]
)
def test_a_kill_in_the_middle_leaves_no_bytes_behind_and_no_row_without_bytes(mill, rule):
    drop(mill, a_log="one\n", b_log="two\n", c_json="{broken")
    mill("run", "--once", code=1)
    words = [sys.executable, "-m", "filemill", "gc", "--older-than", "0s", "--yes"]
    subprocess.run(words, cwd=mill.folder, env=mill.environ | {"FILEMILL_FAIL": rule}, check=False)
    stored = ask(mill, "SELECT content FROM file WHERE freed_ns IS NULL")
    for (reference,) in stored:
        assert (mill.folder / ".filemill/content" / reference).exists(), rule
    gc(mill, "--older-than", "0s", "--yes")
    assert contents(mill) == ["{broken"]
    assert ask(mill, "SELECT count(*) FROM garbage") == [(0,)]
