"""The worker process: runs users' code and parses strangers' bytes, so that the server never does.

Started as `python -m filemill.engine.worker SOCKET_FD PAGE`, it serves one frame at a time until its socket
closes. It never touches the ledger and never makes anything visible: it reads content, stages outputs, answers.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import resource
import signal
import socket
import sys
import traceback

from filemill.durable import Durable, Failpoints
from filemill.engine import frames
from filemill.engine.announcing import Page
from filemill.engine.description import answer
from filemill.engine.execution import Executor
from filemill.engine.garbage import collect_seldom
from filemill.engine.trying import try_file
from filemill.model.errors import FilemillError
from filemill.model.plan import Plan
from filemill.ports.registry import Registry
from filemill.routing.explaining import explain
from filemill.routing.inspection import Inspector

_PR_SET_PDEATHSIG = 1


class Worker:
    """One worker's state: the plan it serves and what was built for it."""

    def __init__(self, connection: socket.socket, page: Page) -> None:
        self.connection = connection
        self.page = page
        self.registry = Registry()
        self.failpoints = Failpoints.from_environment("worker")
        self.plan: Plan | None = None
        self.executor: Executor | None = None
        self.inspector: Inspector | None = None
        self.job = 0

    def serve(self) -> None:
        """Answer frames until the socket closes."""
        while (body := frames.receive(self.connection)) is not None:
            message = frames.unpack_to_worker(body)
            reply = self._answer(message)
            sys.stdout.flush()
            sys.stderr.flush()
            self.connection.sendall(frames.pack(reply))
            if isinstance(reply, frames.Broken):
                return

    def _answer(self, message: frames.ToWorker) -> frames.FromWorker:
        match message:
            case frames.Setup(plan):
                return self._set_up(plan)
            case frames.Ask(job, question):
                return frames.Answered(job, answer(question))
            case frames.Inspect(job, files):
                assert self.inspector is not None, "Setup comes first"  # noqa: S101
                self.page.announce(job, [])
                facts = tuple(self.inspector.inspect(files))
                return frames.Inspected(job, facts, resident_bytes())
            case frames.Explain() | frames.Try():
                return self._look(message)
            case frames.CutUp() | frames.ExecuteChunk():
                return self._in_chunks(message)
            case frames.Execute(job, orders):
                assert self.executor is not None, "Setup comes first"  # noqa: S101
                results = self.executor.execute(
                    orders,
                    lambda some: self.page.announce(job, [order.run for order in some]),
                    self.page.progress,
                )
                self.page.announce(job, [])
                return frames.Executed(job, tuple(results), resident_bytes())

    def _look(self, message: frames.Explain | frames.Try) -> frames.FromWorker:
        """Answer what would become of one file."""
        assert self.plan is not None, "Setup comes first"  # noqa: S101
        if isinstance(message, frames.Explain):
            return frames.Explained(message.job, explain(message.file, self.plan))

        def progress(step: int, allowed: float) -> None:
            # The step's number stands in the job's place: should this process die, it tells where.
            self.page.announce(step, [])
            self.page.progress(allowed)

        return frames.Tried(
            message.job, try_file(message.trial, self.plan, self.registry, progress)
        )

    def _in_chunks(self, message: frames.CutUp | frames.ExecuteChunk) -> frames.FromWorker:
        assert self.executor is not None, "Setup comes first"  # noqa: S101
        job, work = message.job, self.executor.chunks
        if isinstance(message, frames.CutUp):
            self.page.announce(job, [message.order.run])
            reply: frames.FromWorker = frames.CutDone(job, work.cut(message.order))
        else:
            done = work.execute(
                message.order,
                message.hints,
                lambda some: self.page.announce(job, [order.run for order in some]),
                self.page.progress,
            )
            reply = frames.ChunkExecuted(job, done, resident_bytes())
        self.page.announce(job, [])
        return reply

    def _set_up(self, plan: Plan) -> frames.FromWorker:
        if plan.root not in sys.path:
            sys.path.insert(0, plan.root)
        try:
            durable = Durable(self.failpoints, sync=plan.durability == "power")
            self.plan = plan
            self.inspector = Inspector(plan)
            self.executor = Executor(plan, self.registry, durable)
            collect_seldom()
        except FilemillError as error:
            return frames.Broken(error.message, error.help)
        return frames.Ready(os.getpid(), plan.revision)


def resident_bytes() -> int:
    """Memory this process holds now, in bytes; the peak where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when the server dies, even in the middle of a user's endless loop."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def main(arguments: list[str]) -> int:
    """Serve on the given socket; answers the exit code."""
    descriptor, page, parent = int(arguments[0]), os.fsencode(arguments[1]), int(arguments[2])
    _die_with(parent)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The terminal's Ctrl-C is for the server, which drains; it ends us through the socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What a step printed before it died must be in its record.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    connection = socket.socket(fileno=descriptor)
    connection.set_inheritable(False)
    try:
        Worker(connection, Page(page)).serve()
    except (ConnectionError, BrokenPipeError):
        return 0
    except Exception:  # noqa: BLE001 -- the last frame before a bug ends this process
        with contextlib.suppress(OSError):
            connection.sendall(frames.pack(frames.Broken(traceback.format_exc(limit=-8))))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
