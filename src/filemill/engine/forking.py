"""The server's side of its fork servers: one for each environment that workers have, started when first needed.

A plan gives all its workers one folder and one environment, so there is one of them, and another only when a reload
changes what workers see of the environment. The one that was not asked for longest is let go: it ends with the last of
its workers. All end with this process, whichever way it ends.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence

from filemill.engine.keepers import Wanted, ask

KEPT = 2
"""Fork servers that are not let go: for the current plan and, while there is work of it, for one from before."""
_END_LIMIT = 2.0
"""Seconds a fork server may take to end."""


class _ForkServer:
    """One running fork server (`engine/fork_server.py`)."""

    def __init__(self, root: str, environment: Mapping[str, str], output: int) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "filemill.engine.fork_server", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(),),
                env=environment,
                cwd=root,
                start_new_session=True,
            )
        except BaseException:
            self.socket.close()
            raise
        finally:
            theirs.close()

    def let_go(self) -> None:
        """Have it end when its last worker has. Our end stays open until then: when it closes, so do the workers."""
        self.socket.shutdown(socket.SHUT_WR)

    def end(self) -> None:
        """Have it end, which ends all workers that are left."""
        self.socket.close()
        try:
            self.process.wait(_END_LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


_lock = threading.Lock()
_running: dict[tuple[str, frozenset[tuple[str, str]]], _ForkServer] = {}
"""The one that was asked last is the last."""
_leaving: list[_ForkServer] = []


def fork(
    root: str, environment: Mapping[str, str], wanted: Wanted, descriptors: Sequence[int]
) -> None:
    """Have a worker forked that gets these descriptors: its socket, its keeper's channel, its output.

    Raises:
        OSError: no process can be started.
    """
    key = (root, frozenset(environment.items()))
    with _lock:
        _sweep()
        if (known := _running.pop(key, None)) is not None:
            if known.process.poll() is None:
                with contextlib.suppress(ConnectionError):
                    ask(known.socket, wanted, descriptors)
                    _running[key] = known
                    return
            known.end()  # it was killed, and all its workers with it
        started = _ForkServer(root, environment, descriptors[2])
        while len(_running) >= KEPT:
            _leaving.append(_running.pop(next(iter(_running))))
            _leaving[-1].let_go()
        _running[key] = started
        ask(started.socket, wanted, descriptors)


def _sweep() -> None:
    """Bury those that were let go and have ended."""
    for each in [each for each in _leaving if each.process.poll() is not None]:
        _leaving.remove(each)
        each.socket.close()


def _end_all() -> None:
    with _lock:
        for each in (*_running.values(), *_leaving):
            each.end()
        _running.clear()
        _leaving.clear()


def _forget_all() -> None:
    """In what was forked from this process: they are its parent's."""
    for each in (*_running.values(), *_leaving):
        each.socket.close()
        each.process.returncode = 0
    _running.clear()
    _leaving.clear()


atexit.register(_end_all)
os.register_at_fork(after_in_child=_forget_all)
