"""The keeper: the small process between the server and one worker, which leaves nothing of the worker behind.

Whatever a step starts, however it detaches itself (`setsid`, double fork), stays below the keeper: the kernel gives it
every process whose parent ends (PR_SET_CHILD_SUBREAPER). So when the worker ends, is killed, or the server dies, the
keeper kills all that is left, says how the worker ended and only then ends itself.

It obeys two signals. USR1: ask the worker, and what is in its group, to end (TERM). TERM: end everything now; the
kernel sends this one when the fork server dies, which dies as the server does.

It is forked by the fork server (`engine/fork_server.py`), and forks in turn, while there is one thread; it imports
nothing itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
import time
from typing import NoReturn

from filemill.engine.keepers import say_born, say_ended
from filemill.engine.processes import children_of

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_HEEDED = frozenset({signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1})
_SWEEP_LIMIT = 5.0
"""Seconds after which what cannot be killed is left to the system."""


def main(arguments: list[str]) -> int:
    """Be a keeper that was started from scratch: on these descriptors, below this process, with this page."""
    connection, channel, parent = map(int, arguments[:3])
    for each in (connection, channel):
        os.set_inheritable(each, False)
    return keep(connection, channel, os.fsencode(arguments[3]), parent)


def keep(connection: int, channel: int, page: bytes, parent: int) -> int:
    """Keep a worker on the given socket, and end as it ends. Answers only in the worker: its exit code."""
    call_myself("filemill-keeper")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Blocked, they wait for `sigwait`: none is lost, and none can strike in the middle of the fork.
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEEDED)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    _control(_PR_SET_CHILD_SUBREAPER, 1)
    _control(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(0)
    try:
        say_born(channel)
    except OSError:  # nobody wants it any more
        os._exit(0)
    keeper = os.getpid()
    worker = os.fork()
    if worker:
        os.close(connection)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):
            os.dup2(nowhere, standard)
        status = _keep(worker)
        say_ended(channel, status)
        _end_as(status)
    os.close(channel)
    return _work(connection, page, keeper)


def call_myself(name: str) -> None:
    """The name that `ps` and `top` show; at most 15 letters are kept."""
    _control(_PR_SET_NAME, name.encode())


def _work(descriptor: int, page: bytes, keeper: int) -> int:
    """Become the worker, in a session of its own, that dies with its keeper."""
    call_myself("filemill-worker")
    os.setsid()
    _control(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEEDED)
    if os.getppid() != keeper:
        return 0
    # The kernel, out of memory, shall take a worker and never the server.
    with (
        contextlib.suppress(OSError),
        open("/proc/self/oom_score_adj", "w", encoding="ascii") as file,
    ):
        file.write("500")
    from filemill.engine.worker import main as work  # noqa: PLC0415 -- heavy; the keeper must not hold it

    return work(descriptor, page, keeper)


def _keep(worker: int) -> int:
    """Wait for the worker's end and end all that it leaves; answers its wait status."""
    status: int | None = None
    while status is None:
        match signal.sigwait(_HEEDED):
            case signal.SIGTERM:
                _signal(worker, signal.SIGKILL)
            case signal.SIGUSR1:
                with contextlib.suppress(OSError):
                    os.killpg(worker, signal.SIGTERM)
        while True:
            pid, ended = os.waitpid(-1, os.WNOHANG)
            if pid == worker:
                status = ended
                break
            if pid == 0:
                break
    _end_all()
    return status


def _end_all() -> None:
    """Kill every child until there is none: the children of those that die come to us, and are next."""
    me = os.getpid()
    ends = time.monotonic() + _SWEEP_LIMIT
    while time.monotonic() < ends:
        for pid in children_of(me):
            _signal(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.001)


def _end_as(status: int) -> NoReturn:
    """End by the signal that ended the worker, or with its exit code."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        with contextlib.suppress(OSError, ValueError):  # KILL and STOP have no handler to take away
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def _control(what: int, value: int | bytes) -> None:
    """Ask the kernel for something of this process; systems that have no such thing are left as they are."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(what, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
