"""The fork server: a process that has imported what workers need, and forks a keeper and its worker when asked.

A Python that starts and imports all that takes a quarter of a second of a processor; one that is forked has most of it
behind it, and shares the memory. Users' modules are imported by each worker, as before.

Nothing is forked beside a thread: a lock that it held would stay locked. Polars starts threads when it is imported, so
each worker imports it for itself; `POLARS_FREE` is all that comes before. Where something else has started a thread (a
`sitecustomize`, a profiler), keepers are started from scratch.

It ends when its socket closes, which is as the server ends, and the kernel tells the keepers (`engine/keeping.py`).
When only no more will be asked of it, it ends with the last of its keepers.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import resource
import select
import signal
import socket
import sys
import threading

from filemill.engine.keepers import Wanted, asked
from filemill.engine.keeping import call_myself, keep
from filemill.engine.processes import has_children

LOOKS = 1.0
"""Seconds between two looks, of one that was let go, whether there are keepers left."""
POLARS_FREE = (
    "filemill.engine.worker",
    "filemill.engine.emitting",
    "filemill.engine.headers",
    "filemill.engine.observing",
    "filemill.engine.tolerating",
    "filemill.engine.trouble",
    "filemill.records.rowwise",
    "gzip",
    "xml.parsers.expat",
)
"""The worker, and what it imports when it gets a plan and can be had without Polars; with these, what they import."""


def main(arguments: list[str]) -> int:
    """Serve on the given socket. Answers only in what was forked: the exit code of a worker."""
    call_myself("filemill-forks")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    server = socket.socket(fileno=int(arguments[0]))
    gc.disable()
    for name in POLARS_FREE:
        importlib.import_module(name)
    gc.freeze()  # else each collection of a worker would copy all pages
    gc.enable()
    started_in = os.getcwd()
    # What was said until here, by an import that failed, is for the first who asked.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for standard in (1, 2):
        os.dup2(nowhere, standard)
    os.close(nowhere)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, _bury)
    me = os.getpid()
    while (order := asked(server)) is not None:
        wanted, descriptors = order
        try:
            forked = os.fork()
        except OSError as error:
            # Where nobody reads it any more, the other workers live on.
            with contextlib.suppress(OSError):
                os.write(descriptors[2], f"a worker cannot be forked: {error}\n".encode())
            forked = -1
        if forked == 0:
            server.close()
            return _begin(wanted, descriptors, me, started_in)
        for each in descriptors:
            os.close(each)
    hung_up = select.poll()
    hung_up.register(server, 0)
    while has_children() and not hung_up.poll(LOOKS * 1000):
        _bury()
    os._exit(0)


def _begin(wanted: Wanted, descriptors: list[int], parent: int, started_in: str) -> int:
    """Become the keeper, as if it had been started in the folder it works in."""
    connection, channel, output = descriptors
    os.setsid()
    for standard in (1, 2):
        os.dup2(output, standard)
    os.close(output)
    os.chdir(wanted.root)
    if not wanted.bytecode:
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        sys.dont_write_bytecode = True
    if _threads() > 1:
        for each in (connection, channel):
            os.set_inheritable(each, True)
        numbers = map(str, (connection, channel, parent))
        words = ["-m", "filemill.engine.keeping", *numbers, os.fsdecode(wanted.page)]
        os.execv(sys.executable, [sys.executable, *words])  # noqa: S606 -- ourselves
    if sys.path[:1] == [started_in]:  # another folder may have come into its place
        sys.path[0] = os.getcwd()
    importlib.invalidate_caches()
    return keep(connection, channel, wanted.page, parent)


def _bury(*_: object) -> None:
    """Take leave of keepers that ended; what they took of the processor is counted as ours by that."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _threads() -> int:
    """How many threads ran when this process was forked off: a fork has its own alone, but its parent is there."""
    try:
        return len(os.listdir(f"/proc/{os.getppid()}/task"))
    except OSError:
        return threading.active_count()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
