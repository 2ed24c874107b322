"""What holds for every command there is: it is found by walking the command line, so a new one is held to it too."""

import asyncio
import json
import os
import pty
import re
import subprocess

import pytest
import stories
from shell import FILEMILL, Shell

from filemill.cli import application
from filemill.cli.main import COMMANDS, load
from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.model.deeds import Deed
from filemill.model.sessions import StoredSession


def walk():
    """(words, command) of every command that does something."""
    import typer

    for name in COMMANDS:
        load(name)
    waiting = [((), typer.main.get_command(application.app))]
    while waiting:
        words, command = waiting.pop()
        below = getattr(command, "commands", None)
        if below is None:
            yield words, command
        else:
            waiting += [((*words, name), each) for name, each in below.items()]


ALL = {" ".join(words): command for words, command in walk()}
READS = {
    "audit ls": [],
    "audit verify": [],
    "check": [],
    "config show": [],
    "config schema": [],
    "config log": [],
    "dead ls": [],
    "dead show": ["bbbbbbbb"],
    "doctor": [],
    "encryption status": [],
    "explain": ["orders.csv"],
    "files ls": [],
    "files show": ["aa"],
    "graph": [],
    "held ls": [],
    "held show": ["cc"],
    "keys ls": [],
    "sessions ls": [],
    "status": [],
    "steps ls": [],
    "steps show": ["route"],
    "tail": ["--no-follow"],
    "try": ["orders.csv"],
}
"""Every command that reads, with words that it answers to here."""
WORKS = {"completion", "demo", "init", "pause", "resume", "run", "reload", "drain", "upload"}
WORKS |= {"encryption init", "encryption rotate"}
WORKS |= {"backfill", "backup", "gc", "restore", "verify", "config rollback", "config diff"}
WORKS |= {
    "dead discard",
    "dead edit",
    "dead export",
    "dead input",
    "dead resubmit",
    "dead redrive",
    "dead resolve",
    "files cancel",
    "files erase",
    "files replay",
    "held discard",
    "held release",
    "audit export",
    "keys create",
    "open",
    "sessions end",
    "keys revoke",
}
"""Every command that does something, that prints a program or a difference, or that needs a whole data directory."""


def test_every_command_is_known_to_this_test():
    assert set(READS) | WORKS >= set(ALL), "say below READS or WORKS what the new one is"
    assert set(READS) <= set(ALL)


async def _log_in(path):
    ledger = await SqliteLedger.open(path)
    session = StoredSession(
        id="5e551011", hash=b"s", principal="ana", how="link", created_ns=1, used_ns=1, expires_ns=2**62
    )  # fmt: skip
    assert await ledger.open_session(session, Deed("ana", 1))
    await ledger.close()


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    root = tmp_path_factory.mktemp("told")
    stories.tell(root)
    (root / "inbox").mkdir()
    (root / "orders.csv").write_text("order_id,amount\nA,1\n")
    (root / "filemill.yaml").write_text(
        "version: 1\nsources: {inbox: {folder: inbox}}\ntags: {orders: {name: '*.csv'}}\n"
        "pipelines: {orders: {when: orders, steps: [read_csv, {write: out}]}}\nsinks: {out: {folder: out}}\n"
    )
    Shell(root)(
        "keys", "create", "acme", "--role", "uploader"
    )  # so that each list has something in it
    asyncio.run(_log_in(str(root / ".filemill" / "ledger.db")))
    return root


@pytest.fixture
def ask(told, filemill):
    filemill.folder = told
    return filemill


@pytest.mark.parametrize("name", READS)
def test_reading_commands_print_json_and_nothing_else(ask, name):
    done = subprocess.run(
        [*FILEMILL, *name.split(), *READS[name], "--json"],
        cwd=ask.folder, env=ask.environ, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    if name == "tail":  # a stream: one object a line
        for line in done.stdout.splitlines():
            assert json.loads(line)["event"]
        return
    told = json.loads(done.stdout)
    assert name == "config schema" or re.fullmatch(r"filemill\.[\w-]+/\d+", told["schema"])


@pytest.mark.parametrize("name", READS)
def test_into_a_pipe_nothing_is_coloured_or_drawn(ask, name):
    # What the words of the environment say is decided in one place for all commands.
    for environ in ({}, {"NO_COLOR": "1"}, {"TERM": "dumb"}) if name == "files ls" else ({},):
        done = subprocess.run(
            [*FILEMILL, *name.split(), *READS[name]],
            cwd=ask.folder, env=ask.environ | environ, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert done.returncode in (0, 1)
        assert "\x1b" not in done.stdout + done.stderr
        assert "\r" not in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["files ls", "status", "graph", "doctor", "tail", "dead ls"])
@pytest.mark.parametrize("environ", [{"NO_COLOR": "1", "TERM": "xterm"}, {"TERM": "dumb"}])
def test_a_terminal_that_wants_no_colour_gets_none(ask, name, environ):
    main, child = pty.openpty()
    process = subprocess.Popen(
        [*FILEMILL, *name.split(), *READS[name]],
        cwd=ask.folder, env=ask.environ | environ, stdout=child, stderr=child,
    )  # fmt: skip
    os.close(child)
    said = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:
            break
        if not part:
            break
        said += part
    os.close(main)
    assert process.wait(60) in (0, 1)
    assert said
    assert b"\x1b" not in said


@pytest.mark.parametrize("name", [*READS, "", "--version", "files", "completion bash"])
def test_a_full_disk_behind_stdout_is_said_and_is_no_defect(ask, name):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*FILEMILL, *name.split(), *READS.get(name, [])],
            cwd=ask.folder, env=ask.environ, stdout=full, stderr=subprocess.PIPE, text=True, timeout=100, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert "the output cannot be written: No space left on device" in done.stderr
    assert "defect" not in done.stderr


@pytest.mark.parametrize("name", ALL)
def test_every_command_shows_an_example(name):
    assert "filemill " + name in (ALL[name].epilog or "")


def test_a_misspelt_command_is_asked_about(ask):
    assert "did you mean `doctor`?" in ask("docter", code=2).stderr
    assert "did you mean `redrive`?" in ask("dead", "redriv", code=2).stderr
