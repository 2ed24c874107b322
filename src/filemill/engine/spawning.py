"""Starting and ending worker processes: one socket pair, one output pipe, one process group each."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping

import msgspec

STOP_GRACE = 2.0
"""Seconds between TERM and KILL for a worker that must go."""


class Spawned(msgspec.Struct):
    """A started worker process."""

    process: subprocess.Popen[bytes]
    connection: socket.socket
    """Our end of its socket pair."""
    output: int
    """Non-blocking read end of the pipe behind its stdout and stderr."""


def spawn(page: bytes, root: str, more: Mapping[str, str] | None = None) -> Spawned:
    """Start a worker in a process group of its own; `more` is added to its environment.

    Called from the server's main thread only: a worker dies with the *thread* that started it.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    output, sink = os.pipe2(os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
    os.set_blocking(output, False)
    process = None
    environment = (
        os.environ | {"POLARS_MAX_THREADS": "1", "PYTHONUNBUFFERED": ""} | dict(more or {})
    )
    try:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "filemill.engine.worker",
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


def signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    """Signal a worker and everything it started; nothing happens when they are gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def end_now(process: subprocess.Popen[bytes]) -> int:
    """Kill the worker's whole group and reap it; answers its exit code (negative: a signal)."""
    signal_group(process, signal.SIGKILL)
    return process.wait()


def describe_exit(code: int | None) -> str:
    """An exit code in words: `killed by SIGSEGV`, `exit code 3`."""
    if code is None:
        return "closed its socket"
    if code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    return f"exit code {code}"
