"""The command line in this process, as somebody in another folder who is not the server's user."""

from __future__ import annotations

import contextlib
import io
import os
import sys

from filemill.cli.application import run as run_words
from filemill.cli.main import COMMANDS


def run(folder, *words, code=0, **environ):
    """`filemill upload`: its (stdout, stderr), after this exit code."""
    return command(folder, "upload", *words, code=code, **environ)


def command(folder, *words, code=0, **environ):
    """Any command: its (stdout, stderr), after this exit code; `code` None: after whichever."""
    out, err = _stream(), _stream()
    decoded = [os.fsdecode(word) for word in words]
    with _in(folder), _environ(environ), _streams(out, err):
        ended = run_words(decoded, [n for n in COMMANDS if n in decoded] or list(COMMANDS))
    said = tuple(_text(each) for each in (out, err))
    assert code in (None, ended), f"{ended}\n{said[0]}\n{said[1]}"
    assert "unexpected" not in said[1]
    return said


def environ_of(more):
    kept = {"PATH", "LANG", "LC_ALL", "TMPDIR"}
    there = {k: v for k, v in os.environ.items() if k in kept}
    return there | {"PYTHONUTF8": "1", "HOME": "/nonexistent"} | more


def asking(site):
    return {"FILEMILL_URL": site.url, "FILEMILL_KEY": site.key}


def files_named(site, name):
    with site.client() as client:
        items = client.get("/files", params={"name": name, "limit": 500}).json()["items"]
    return [each for each in items if each["name"] == name]


def _stream():
    return io.TextIOWrapper(io.BytesIO(), "utf-8", "surrogateescape")


def _text(stream):
    stream.flush()
    return stream.buffer.getvalue().decode("utf-8", "surrogateescape")


@contextlib.contextmanager
def _in(folder):
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _environ(environ):
    before = dict(os.environ)
    wanted = environ_of(environ)
    os.environ.clear()
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _streams(out, err):
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = out, err
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
