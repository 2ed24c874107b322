"""backup, restore and verify as people meet them, and a mill whose ledger or content is damaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import apsw
import pytest

from filemill.durable import Durable, Failpoints
from filemill.service.restoring import restore
from filemill.testing.clock import FakeClock
from serving import serving, until

INSIDE = True

CONFIG = """\
version: 1
workers: 1
sources:
  inbox: {folder: inbox, settle: 5ms, settle_unproven: 20ms}
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


def drop(mill, **files):
    for name, text in files.items():
        (mill.folder / "inbox" / name.replace("_", ".")).write_text(text)


def files(mill):
    found = json.loads(mill("files", "ls", "--json").stdout)["items"]
    return {each["name"]: each["state"] for each in found}


def content_of(mill, text):
    root = mill.folder / ".filemill/content"
    (path,) = (p for p in root.rglob("*") if p.is_file() and p.read_text() == text)
    return path


def queue(mill, *names):
    """Files whose runs wait: taken while their pipeline is paused."""
    mill("run", "--once")
    mill("pause", "logs")
    drop(mill, **{f"{name}_log": f"{name}\n" for name in names})
    with serving(mill.folder, mill.environ):
        until(lambda: len(files(mill)) == len(names))
    mill("resume", "logs")


@pytest.mark.parametrize("how", ["--copy", None])
def test_a_backup_is_restored_and_the_mill_goes_on(mill, how):
    drop(mill, a_log="one\n", b_bin="nobody wants it\n")
    mill("run", "--once", code=1)
    made = json.loads(mill("backup", "saved", "--verify", "--json", *([how] if how else [])).stdout)
    assert (made["files"], made["missing"], made["verified"]) == (2, 0, True)
    drop(mill, c_log="later\n")
    mill("run", "--once")
    assert "not empty" in mill("restore", "saved", code=2).stderr
    told = mill("restore", "saved", "--force").stdout
    (aside,) = mill.folder.glob(".filemill.before-restore-*")
    assert str(aside) in told
    assert files(mill) == {"a.log": "done", "b.bin": "held"}
    assert mill("verify", "--deep").stdout.startswith("sound: ")
    drop(mill, d_log="anew\n")
    mill("run", "--once")
    assert files(mill)["d.log"] == "done"
    assert (mill.folder / "out/d.log").read_text() == "anew\n"
    # The backup has not changed with what was restored from it.
    assert "the backup is whole" in mill("restore", "saved", "--dry-run").stdout


def test_what_was_there_is_kept_by_each_of_two_restores_in_one_second(mill):
    drop(mill, a_log="one\n")
    mill("run", "--once")
    mill("backup", "saved")
    saved, data, clock = str(mill.folder / "saved"), str(mill.folder / ".filemill"), FakeClock()
    for _ in range(3):
        restored = restore(
            saved,
            data,
            durable=Durable(Failpoints("test")),
            clock=clock,
            told=lambda *_: None,
            force=True,
        )
        assert restored.aside is not None
        clock.advance(0.001)
    assert len(list(mill.folder.glob(".filemill.before-restore-*"))) == 3
    assert not list(mill.folder.glob(".filemill.restoring-*"))
    assert mill("verify", "--deep").stdout.startswith("sound: ")


def test_a_backup_beside_a_running_server(mill):
    drop(mill, a_log="one\n")
    with serving(mill.folder, mill.environ):
        until(lambda: files(mill) == {"a.log": "done"})
        for n in range(40):
            drop(mill, **{f"n{n}_log": f"{n}\n"})
        mill("backup", "saved", "--verify")
        until(lambda: len(files(mill)) == 41)
        assert "in use by process" in mill("restore", "saved", "--force", code=75).stderr
    mill("restore", "saved", "--data", "elsewhere")
    shown = mill("verify", "--deep", FILEMILL_DATA_DIR=str(mill.folder / "elsewhere"))
    assert shown.stdout.startswith("sound: ")


def test_what_was_live_in_the_backup_goes_on_after_the_restore(mill):
    queue(mill, "a", "b")
    mill("backup", "saved")
    told = mill("restore", "saved", "--force")
    assert "2 files were not at an end" in told.stdout
    mill("run", "--once")
    assert files(mill) == {"a.log": "done", "b.log": "done"}


def test_a_damaged_backup_is_refused_and_changes_nothing(mill):
    drop(mill, a_log="one\n")
    mill("run", "--once")
    mill("backup", "saved", "--copy")
    (inside,) = (p for p in (mill.folder / "saved/content").rglob("*") if p.is_file())
    inside.write_text("two\n")
    before = sorted(os.listdir(mill.folder))
    assert "is not what it was" in mill("restore", "saved", "--force", code=1).stderr
    assert sorted(os.listdir(mill.folder)) == before
    os.unlink(mill.folder / "saved/manifest.json")
    assert "is no backup" in mill("restore", "saved", "--force", code=2).stderr


def test_content_that_is_gone_or_changed_costs_only_its_own_file(mill):
    queue(mill, "a", "b", "c")
    content_of(mill, "a\n").unlink()
    content_of(mill, "b\n").write_text("longer than it was\n")
    found = json.loads(mill("verify", "--json", code=1).stdout)
    assert sorted(each["problem"] for each in found["content"]) == [
        "has 19 bytes, it had 2",
        "is gone",
    ]
    mill("run", "--once", code=1)
    assert files(mill) == {"a.log": "dead", "b.log": "dead", "c.log": "done"}
    told = mill("dead", "ls").stdout
    assert "the content of this file is gone" in told
    assert "the content of this file has 19 bytes, it had 2" in told


def test_bytes_that_rotted_are_found_by_a_deep_look(mill):
    drop(mill, a_log="one\n")
    mill("run", "--once")
    content_of(mill, "one\n").write_text("oNe\n")
    mill("verify")
    assert "is not what it was" in mill("verify", "--deep", code=1).stdout


def test_a_ledger_that_is_gone_beside_content_is_not_made_anew(mill):
    drop(mill, a_log="one\n")
    mill("run", "--once")
    mill("backup", "saved")
    (mill.folder / ".filemill/ledger.db").unlink()
    refused = mill("run", "--once", code=1).stderr
    assert "its ledger is gone" in refused
    assert "filemill restore BACKUP --force" in refused
    assert not (mill.folder / ".filemill/ledger.db").exists()
    mill("restore", "saved", "--force")
    mill("run", "--once")
    assert files(mill) == {"a.log": "done"}


@pytest.mark.parametrize("place", ["header", "page", "log", "commits"])
def test_a_damaged_ledger_is_refused_with_the_steps_that_restore_it(mill, place):
    drop(mill, a_log="one\n")
    mill("run", "--once")
    mill("backup", "saved", "--copy")
    damage(mill.folder / ".filemill/ledger.db", place)
    words = ["verify"] if place == "page" else ["run", "--once"]
    refused = mill(*words, code=1).stderr
    assert "filemill restore BACKUP --force" in refused, refused
    # It does not heal by being asked again.
    assert "filemill restore BACKUP --force" in mill(*words, code=1).stderr
    mill("restore", "saved", "--force")
    mill("run", "--once")
    assert files(mill) == {"a.log": "done"}


def damage(ledger, place):
    if place == "header":
        with ledger.open("r+b") as file:
            file.write(bytes(100))
    elif place == "page":
        with ledger.open("r+b") as file:
            file.seek(4096 * 3 + 1000)
            file.write(os.urandom(2000))
            file.seek(4096 * 5)
            file.write(bytes(512))
    else:
        write_a_log(ledger)
        with open(f"{ledger}-wal", "r+b") as log:
            log.seek(0 if place == "log" else 32 + 24 + 100)
            log.write(os.urandom(64))


def write_a_log(ledger):
    """Five commits that are only in the log, as a killed server leaves them."""
    program = (
        "import apsw, os, sys\n"
        "db = apsw.Connection(sys.argv[1]); db.wal_autocheckpoint(0); db.pragma('synchronous', 'full')\n"
        "for n in range(5): db.execute('INSERT INTO pause VALUES (?, 1, ?, ?)', (f'p{n}', 'me', 'x' * 3000))\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", program, ledger], check=True)


def test_a_log_cut_where_a_power_cut_leaves_it_is_no_damage(mill):
    drop(mill, a_log="one\n")
    mill("run", "--once")
    ledger = mill.folder / ".filemill/ledger.db"
    write_a_log(ledger)
    size = os.path.getsize(f"{ledger}-wal")
    with open(f"{ledger}-wal", "r+b") as log:
        log.seek(size - 3000)
        log.write(bytes(3000))
    mill("run", "--once")
    assert files(mill) == {"a.log": "done"}


def test_an_older_program_refuses_a_newer_ledger(mill):
    mill("run", "--once")
    db = apsw.Connection(str(mill.folder / ".filemill/ledger.db"))
    db.execute("INSERT INTO version VALUES (999, 1)")
    db.close()
    for words in (["run", "--once"], ["run"], ["files", "ls"], ["gc"], ["verify"], ["status"]):
        refused = mill(*words, code=2).stderr
        assert "999" in refused, words
        assert "pip install -U filemill" in refused, words
