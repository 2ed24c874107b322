"""The command line in this process: what a user in some folder gets, without the time that a process takes to start."""

import contextlib
import io
import os
import sys

from filemill.cli.application import run
from filemill.cli.completing import answer
from filemill.cli.main import COMMANDS


def ended(folder, words, environ):
    """(exit code, stdout, stderr) of `filemill words` there, with these variables and no others."""
    out, err = _stream(), _stream()
    decoded = [os.fsdecode(word) for word in words]
    with _in(folder), _environ(environ), _streams(out, err):
        if decoded[:1] == ["__complete"]:
            code = answer(decoded[1:])
        else:
            code = run(decoded, [n for n in COMMANDS if n in decoded] or list(COMMANDS))
    return code, _text(out), _text(err)


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
def _environ(wanted):
    before = dict(os.environ)
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
