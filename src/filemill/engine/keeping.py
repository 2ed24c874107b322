"""The keeper: the small process between the server and one worker, which leaves nothing of the worker behind.

Whatever a step starts, however it detaches itself (`setsid`, double fork), stays below the keeper: the kernel gives it
every process whose parent ends (PR_SET_CHILD_SUBREAPER). So when the worker ends, is killed, or the server dies, the
keeper kills all that is left and only then ends, by the same exit code or signal as the worker.

It obeys two signals. USR1: ask the worker, and what is in its group, to end (TERM). TERM: end everything now; the
kernel sends this one when the server dies. The server signals its own child only, whose number nobody else can have.

It forks before anything heavy is imported, while there is one thread, and imports nothing itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
import time

from filemill.engine.allocating import kept_memory
from filemill.engine.processes import children_of

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_HEEDED = frozenset({signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1})
_SWEEP_LIMIT = 5.0
"""Seconds after which what cannot be killed is left to the system."""


def main(arguments: list[str]) -> int:
    """Keep a worker on the given socket; ends as the worker ends."""
    descriptor, page, server = int(arguments[0]), arguments[1], int(arguments[2])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Blocked, they wait for `sigwait`: none is lost, and none can strike in the middle of the fork.
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEEDED)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    _control(_PR_SET_CHILD_SUBREAPER, 1)
    _control(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != server:
        return 0
    keeper = os.getpid()
    worker = os.fork()
    if worker == 0:
        return _work(descriptor, page, keeper)
    os.close(descriptor)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)
    return _end_as(_keep(worker))


def _work(descriptor: int, page: str, keeper: int) -> int:
    """Become the worker, in a session of its own, that dies with its keeper."""
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
    with kept_memory():
        from filemill.engine.worker import main as work  # noqa: PLC0415 -- heavy; the keeper must not hold it

    return work(descriptor, os.fsencode(page), keeper)


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


def _end_as(status: int) -> int:
    """End by the signal that ended the worker; answers its exit code where it was none."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        with contextlib.suppress(OSError, ValueError):  # KILL and STOP have no handler to take away
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.kill(os.getpid(), number)
    return os.waitstatus_to_exitcode(status)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def _control(what: int, value: int) -> None:
    """Ask the kernel for something of this process; systems that have no such thing are left as they are."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(what, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
