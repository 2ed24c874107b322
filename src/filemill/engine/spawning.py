"""Starting and ending worker processes: one socket pair, one output pipe, one keeper (`engine/keeping.py`) each.

A worker's environment is not the server's: secrets that the configuration names go where the configuration says, not
to every line of users' code.
"""

from __future__ import annotations

import fnmatch
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Mapping

import msgspec

BROKEN = 70
"""Exit code of a worker that a step made unable to answer."""
STOP_GRACE = 2.0
"""Seconds between TERM and KILL for a worker that must go."""
_KEEPER_LIMIT = 3.0
"""Seconds a keeper may take to end everything; then it is stuck, and the kernel ends it and its worker."""
BASICS = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_*", "TZ", "TERM"),
    *("VIRTUAL_ENV", "CONDA_*", "PYTHON*", "LD_LIBRARY_PATH", "XDG_*", "SSL_CERT_*", "FILEMILL_*"),
)
"""What every worker sees, whatever `worker_environment:` says."""
_OURS = ("FILEMILL__", "FILEMILL_KEY")
"""What no worker sees: our own settings, and keys to other servers."""


class Spawned(msgspec.Struct):
    """A started worker process."""

    process: subprocess.Popen[bytes]
    """Its keeper, which ends as the worker ends."""
    connection: socket.socket
    """Our end of its socket pair."""
    output: int
    """Non-blocking read end of the pipe behind its stdout and stderr."""


def spawn(page: bytes, root: str, environment: Mapping[str, str] | None = None) -> Spawned:
    """Start a worker and its keeper; `environment` is the worker's, our own unless given.

    Called from the server's main thread only: a keeper ends with the *thread* that started it.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    output, sink = os.pipe2(os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
    os.set_blocking(output, False)
    process = None
    environment = dict(os.environ if environment is None else environment)
    environment |= {"POLARS_MAX_THREADS": "1", "PYTHONUNBUFFERED": ""}
    try:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "filemill.engine.keeping",
                str(theirs.fileno()),
                os.fsdecode(page),
                str(os.getpid()),
            ],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            pass_fds=(theirs.fileno(),),
            env=environment,
            cwd=root,
            start_new_session=True,
        )
    finally:
        theirs.close()
        os.close(sink)
        if process is None:
            ours.close()
            os.close(output)
    return Spawned(process, ours, output)


def environment_for(
    environ: Mapping[str, str], names: Collection[str] | None, secrets: Collection[str]
) -> dict[str, str]:
    """What a worker sees of our environment.

    `names` are globs of what it sees beside the basics; None: everything but what the configuration reads as a
    secret, and our own settings.
    """
    if names is None:
        return {
            name: value
            for name, value in environ.items()
            if name not in secrets and not name.startswith(_OURS)
        }
    return {
        name: value
        for name, value in environ.items()
        if any(fnmatch.fnmatchcase(name, each) for each in names)
        or (
            any(fnmatch.fnmatchcase(name, each) for each in BASICS)
            and name not in secrets
            and not name.startswith(_OURS)
        )
    }


def ask_to_end(process: subprocess.Popen[bytes]) -> None:
    """Have a worker, and what is in its group, end by TERM, if it heeds it."""
    process.send_signal(signal.SIGUSR1)


def end_now(process: subprocess.Popen[bytes]) -> int:
    """End the worker and all it started, and reap it; answers its exit code (negative: a signal)."""
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)  # one that stands still hears nothing else
    try:
        return process.wait(timeout=_KEEPER_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def describe_exit(code: int | None) -> str:
    """An exit code in words: `killed by SIGSEGV`, `exit code 3`."""
    if code is None:
        return "closed its socket"
    if code == BROKEN:
        return f"exit code {code}: the step closed descriptors that are not its own"
    if code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    return f"exit code {code}"
