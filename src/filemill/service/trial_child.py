"""The worker child of a trial: asked how a file is routed, or to try it; watched as a server watches its workers.

What it prints is read while it works, so that a step that prints a lot is never held up, and a step that takes longer
than its `timeout:` is ended here, too.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import time

from filemill.engine import frames
from filemill.engine.announcing import Page
from filemill.engine.spawning import describe_exit, end_now, environment_for, spawn
from filemill.model.errors import SystemFault
from filemill.model.files import FileRef
from filemill.model.plan import Plan
from filemill.model.trials import Trial, TrialOrder
from filemill.routing.explaining import Explanation

START_LIMIT = 60.0
"""Seconds a child may take to start, and to import users' modules before its first step."""
PRINTED = 64 << 10
"""Bytes of what steps print that are kept: the last ones."""
_LOOK = 0.25
"""Seconds between two looks at the deadline."""
_HEAD = 4
"""Bytes of a frame's length."""


class ChildLost(Exception):
    """The child died, or was ended because a step took too long; `step` is the number of the step in hand."""

    def __init__(self, reason: str, step: int | None) -> None:
        super().__init__(reason)
        self.step = step


class TrialChild:
    """One child; `folder` is for its page and whatever its steps put into the temporary folder.

    Raises:
        SystemFault: it does not start.
    """

    def __init__(self, folder: str, plan: Plan) -> None:
        # As below a data directory: the child's scratch folder is made beside the folder of pages.
        pages = os.path.join(folder, "workers")
        os.makedirs(pages)
        self._page = os.fsencode(os.path.join(pages, "1.page"))
        environment = environment_for(os.environ, plan.worker_environment, plan.secrets)
        self._spawned = spawn(self._page, plan.root, environment, bytecode=False)
        self._printed = bytearray()
        self._ended = False
        self.serve(plan)

    def serve(self, plan: Plan) -> None:
        """Have it serve this plan from here on.

        Raises:
            SystemFault: it cannot; it is ended.
        """
        try:
            reply = self._ask(frames.Setup(plan.for_workers()))
        except ChildLost as lost:
            raise self._fault("did not start", lost) from lost
        if isinstance(reply, frames.Broken):
            self.end()
            raise SystemFault(f"a worker child did not start: {reply.error}", help=reply.help)

    def explain(self, file: FileRef) -> Explanation:
        """Have it say how the file would be tagged and routed.

        Raises:
            SystemFault: it died over it.
        """
        try:
            reply = self._ask(frames.Explain(1, file))
        except ChildLost as lost:
            raise self._fault("was lost while it looked at the file", lost) from lost
        if isinstance(reply, frames.Broken):
            self.end()
            raise SystemFault(f"a worker child failed: {reply.error}", help=reply.help)
        assert isinstance(reply, frames.Explained), "an Explain is answered by Explained"  # noqa: S101
        return reply.explanation

    def take(self, order: TrialOrder) -> Trial:
        """Have the file tried; what is printed counts from here.

        Raises:
            ChildLost: it died over it, or a step took too long.
        """
        self._printed.clear()
        reply = self._ask(frames.Try(1, order))
        if isinstance(reply, frames.Broken):
            raise ChildLost(reply.error, self._step_in_hand())
        assert isinstance(reply, frames.Tried), "a Try is answered by Tried"  # noqa: S101
        return reply.trial

    def _fault(self, what: str, lost: ChildLost) -> SystemFault:
        self.end()
        return SystemFault(f"a worker child {what}: {lost}", help=self.printed()[-2_000:])

    def printed(self) -> str:
        """What it printed, the last of it."""
        return self._printed.decode("utf-8", "backslashreplace")

    def end(self) -> None:
        """End the process and everything it started."""
        if self._ended:
            return
        self._ended = True
        self._spawned.connection.close()
        end_now(self._spawned.keeper)
        while self._drain():
            pass
        os.close(self._spawned.output)

    def _ask(self, message: frames.ToWorker) -> frames.FromWorker:
        connection, output = self._spawned.connection, self._spawned.output
        body = bytearray()
        try:
            connection.setblocking(True)
            connection.sendall(frames.pack(message))
            connection.setblocking(False)
            with selectors.DefaultSelector() as selector:
                selector.register(connection, selectors.EVENT_READ)
                selector.register(output, selectors.EVENT_READ)
                deadline = _Deadline(self._page)
                while not _complete(body):
                    if late := deadline.late():
                        raise ChildLost(late, self._step_in_hand())
                    for key, _ in selector.select(_LOOK):
                        if key.fd == output:
                            if self._drain() == b"":
                                selector.unregister(output)
                        elif data := connection.recv(1 << 20):
                            body += data
                        else:
                            raise self._lost()
        except OSError as error:
            raise self._lost() from error
        return frames.unpack_from_worker(body[_HEAD:])

    def _drain(self) -> bytes | None:
        """Take what is in the pipe; None when there is nothing now, empty when there never will be."""
        try:
            data = os.read(self._spawned.output, PRINTED)
        except BlockingIOError:
            return None
        self._printed += data
        del self._printed[:-PRINTED]
        return data

    def _lost(self) -> ChildLost:
        """It closed its socket, so it is ending: why."""
        code: int | None = None
        with contextlib.suppress(TimeoutError):  # else it lives on: that is said of it
            code = self._spawned.keeper.wait(2)
        return ChildLost(describe_exit(code), self._step_in_hand())

    def _step_in_hand(self) -> int | None:
        """The number of the step that began last; None before the first."""
        if not os.path.exists(self._page):
            return None
        page = Page(self._page)
        try:
            said = page.read()
        finally:
            page.close()
        return said.job if said.allowed else None


class _Deadline:
    """When a child has gone too long without a new step."""

    def __init__(self, page: bytes) -> None:
        self._path = page
        self._sequence = -1
        self._since = time.monotonic()

    def late(self) -> str:
        """Why it must go; empty while it need not."""
        sequence, allowed = 0, 0.0
        if os.path.exists(self._path):  # else it has not begun yet
            page = Page(self._path)
            sequence, allowed = page.glance()
            page.close()
        if sequence != self._sequence:
            self._sequence, self._since = sequence, time.monotonic()
        allowed = allowed or START_LIMIT
        if time.monotonic() - self._since <= allowed:
            return ""
        return f"timed out after {allowed:g}s"


def _complete(body: bytearray) -> bool:
    return len(body) >= _HEAD and len(body) >= _HEAD + frames.body_length(bytes(body[:_HEAD]))
