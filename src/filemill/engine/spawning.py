"""Starting and ending worker processes: one socket pair, one output pipe, one keeper (`engine/keeping.py`) each.

A worker's environment is not the server's: secrets that the configuration names go where the configuration says, not
to every line of users' code.
"""

from __future__ import annotations

import fnmatch
import os
import signal
import socket
from collections.abc import Collection, Mapping

import msgspec

from filemill.engine.forking import fork
from filemill.engine.keepers import UNBORN, Keeper, Wanted

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

    keeper: Keeper
    """Of its keeper, which ends as the worker ends."""
    connection: socket.socket
    """Our end of its socket pair."""
    output: int
    """Non-blocking read end of the pipe behind its stdout and stderr."""


def spawn(
    page: bytes,
    root: str,
    environment: Mapping[str, str] | None = None,
    *,
    bytecode: bool = True,
) -> Spawned:
    """Start a worker and its keeper; `environment` is the worker's, our own unless given.

    It may still be starting when this returns: its first answer says that it is there.

    Raises:
        OSError: no process can be started.
    """
    environment = dict(os.environ if environment is None else environment)
    environment |= {"POLARS_MAX_THREADS": "1", "PYTHONUNBUFFERED": ""}
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    channel, told = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    output, sink = os.pipe2(os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
    os.set_blocking(output, False)
    try:
        descriptors = (theirs.fileno(), told.fileno(), sink)
        fork(root, environment, Wanted(page, os.fsencode(root), bytecode), descriptors)
    except BaseException:
        ours.close()
        channel.close()
        os.close(output)
        raise
    finally:
        theirs.close()
        told.close()
        os.close(sink)
    return Spawned(Keeper(channel), ours, output)


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


def ask_to_end(keeper: Keeper) -> None:
    """Have a worker, and what is in its group, end by TERM, if it heeds it."""
    keeper.signal(signal.SIGUSR1)


def end_soon(keeper: Keeper) -> None:
    """Have the worker and all it started killed; does not wait for it."""
    keeper.signal(signal.SIGTERM)


def end_now(keeper: Keeper) -> int:
    """End the worker and all it started; answers its exit code (negative: a signal)."""
    keeper.signal(signal.SIGTERM)
    keeper.signal(signal.SIGCONT)  # one that stands still hears nothing else
    try:
        return keeper.wait(_KEEPER_LIMIT)
    except TimeoutError:
        keeper.signal(signal.SIGKILL)
        keeper.give_up()
        return -signal.SIGKILL


def describe_exit(code: int | None) -> str:
    """An exit code in words: `killed by SIGSEGV`, `exit code 3`."""
    if code is None:
        return "closed its socket"
    if code == BROKEN:
        return f"exit code {code}: the step closed descriptors that are not its own"
    if code == UNBORN:
        return "its process could not be started"
    if code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    return f"exit code {code}"
