"""What a step may change of the worker's process, and what is put back before the next run.

Put back, because another run would suffer: the folder, the mask of new files, environment, import path, locale, signal
handlers, blocked signals and timers, soft limits, the standard streams, the garbage collector. What a module of users
sets when it is imported stays, since it is imported only once: a `load_dotenv()` at its top must last.

Not put back, because nobody else could say what was meant: the state of modules, threads that a step left running,
child processes in the worker's own session. They end with the worker; one that has gathered too many is `spent`.

What cannot be put back ends the worker: when its socket is closed or is something else now, `is_whole` says no, and the
run that is announced at that moment is charged.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import io
import locale
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
import time

from filemill.engine.processes import children_of, has_children

OUT_OF_REACH = 1000
"""Lowest descriptor number of the socket and of the kept output: no `range(3, 256)` of a step meets them."""
_MANY_THREADS = 128
_MANY_CHILDREN = 32
_LIMITS = (
    resource.RLIMIT_NOFILE,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_CPU,
    resource.RLIMIT_AS,
    resource.RLIMIT_DATA,
)
_SIGNALS = tuple(
    sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}),
)


class _Settings:
    """What a module may set for good when it is imported; the rest of a process is put back in any case."""

    def __init__(self) -> None:
        self.environment = dict(os.environ)
        self.path = list(sys.path)
        self.scratch = tempfile.tempdir
        self.locale = locale.setlocale(locale.LC_ALL)
        self.handlers = {number: signal.getsignal(number) for number in _SIGNALS}
        self.limits = {which: resource.getrlimit(which) for which in _LIMITS}
        self.recursion = sys.getrecursionlimit()


class Surroundings:
    """The worker's process as it was; `restore` between any two runs, from its main thread."""

    def __init__(self, connection: socket.socket, folder: str) -> None:
        self._socket = connection.fileno()
        self._socket_is = _identity(self._socket)
        self._output = out_of_reach(1)
        self._output_is = _identity(1)
        self._input = out_of_reach(0)
        self._streams = (sys.stdin, sys.stdout, sys.stderr)
        self._folder = folder
        self._umask = os.umask(0o022)
        os.umask(self._umask)
        self._blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._settings = _Settings()

    def adopt(self) -> None:
        """Take the process as it is now for what is put back from here on."""
        self._settings = _Settings()

    def is_whole(self) -> bool:
        """Say whether the worker can still answer: its socket and output are what they were."""
        return (
            _identity(self._socket) == self._socket_is
            and _identity(self._output) == self._output_is
        )

    def restore(self) -> None:
        """Put back what a step has changed."""
        if _identity(1) != self._output_is or _identity(2) != self._output_is:
            os.dup2(self._output, 1)
            os.dup2(self._output, 2)
        if _identity(0) is None:
            os.dup2(self._input, 0)
        if (sys.stdin, sys.stdout, sys.stderr) != self._streams or _any_closed(self._streams):
            self._mend_streams()
        os.umask(self._umask)
        with contextlib.suppress(OSError):  # it was removed: then nobody can be there
            os.chdir(self._folder)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._blocked)
        if not gc.isenabled():
            gc.enable()
        self._restore_settings()

    @property
    def spent(self) -> bool:
        """Whether steps left so much behind that a new worker should take over."""
        if threading.active_count() > _MANY_THREADS:
            return True
        if has_children() and len(children_of(os.getpid())) > _MANY_CHILDREN:
            return True
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            opened = len(os.listdir("/proc/self/fd"))
        except OSError:
            return False
        return most != resource.RLIM_INFINITY and opened > most // 2

    def _restore_settings(self) -> None:
        was = self._settings
        if dict(os.environ) != was.environment:
            os.environ.clear()
            os.environ.update(was.environment)
            time.tzset()
        tempfile.tempdir = was.scratch
        if sys.path != was.path:
            sys.path[:] = was.path
        if locale.setlocale(locale.LC_ALL) != was.locale:
            locale.setlocale(locale.LC_ALL, was.locale)
        for number, handler in was.handlers.items():
            # None: set by native code; it cannot be set from here.
            if signal.getsignal(number) is not handler and handler is not None:
                signal.signal(number, handler)
        for which, limit in was.limits.items():
            if resource.getrlimit(which) != limit:
                with contextlib.suppress(OSError, ValueError):  # a lowered hard limit stays low
                    resource.setrlimit(which, limit)
        if sys.getrecursionlimit() != was.recursion:
            sys.setrecursionlimit(was.recursion)

    def _mend_streams(self) -> None:
        """Standard streams that were replaced come back; those that were closed are opened anew."""
        kept = []
        for descriptor, stream in enumerate(self._streams):
            if stream is None or stream.closed:
                mode = "r" if descriptor == 0 else "w"
                stream = open(  # noqa: SIM115, PLW2901 -- it lives as long as the process
                    descriptor, mode, closefd=False, errors="backslashreplace"
                )
                if descriptor:
                    flush_by_line(stream)
            kept.append(stream)
        sys.stdin, sys.stdout, sys.stderr = kept
        self._streams = (kept[0], kept[1], kept[2])


def flush_by_line(stream: object) -> None:
    """What a step printed before it died must be in its record."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(line_buffering=True)


def out_of_reach(descriptor: int) -> int:
    """The same open file under a number that no step meets by accident, closed when a program is started."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = OUT_OF_REACH
    if most != resource.RLIM_INFINITY:
        lowest = max(3, min(OUT_OF_REACH, most - 16))
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)


def _identity(descriptor: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _any_closed(streams: tuple[io.TextIOBase | object, ...]) -> bool:
    return any(getattr(stream, "closed", True) for stream in streams)
