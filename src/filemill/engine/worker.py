"""The worker process: runs users' code and parses strangers' bytes, so that the server never does.

Started by its keeper (`engine/keeping.py`), it serves one frame at a time until its socket closes. It never touches the
ledger and never makes anything visible: it reads content, stages outputs, answers.

Between any two runs it puts back what a step may have changed of the process (`engine/surroundings.py`), and after each
job it ends the daemons and removes the scratch files that steps left.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from filemill.durable import Durable, Failpoints
from filemill.durable.barrier import barrier_of
from filemill.encryption.age import Corrupt
from filemill.encryption.hiding import hide_memory
from filemill.encryption.texts import seal_captured, seal_facts, seal_result
from filemill.engine import frames
from filemill.engine.allocating import kept_memory
from filemill.engine.announcing import Page
from filemill.engine.description import answer
from filemill.engine.garbage import collect_seldom
from filemill.engine.importing import KeptModules
from filemill.engine.plaintext import Plaintext
from filemill.engine.processes import end_strays
from filemill.engine.scan_work import ScanWork
from filemill.engine.spawning import BROKEN
from filemill.engine.surroundings import Surroundings, flush_by_line, out_of_reach
from filemill.engine.work import empty, work_folder
from filemill.model.errors import FilemillError, PermanentError, SystemFault, plainly
from filemill.model.files import Facts, FileRef
from filemill.model.plan import Plan
from filemill.model.runs import RunOrder
from filemill.ports.registry import Registry
from filemill.ports.scanner import Outcome, Scanned
from filemill.records.finding import ON_IMPORT
from filemill.routing.explaining import explain
from filemill.routing.inspection import Inspector

if TYPE_CHECKING:
    from filemill.engine.chunk_work import ChunkWork
    from filemill.engine.execution import Executor

GROWN_FOR = 1.0
"""Seconds a worker keeps the memory of a chunk without being given the next one."""


class Worker:
    """One worker's state: the plan it serves and what was built for it."""

    def __init__(
        self,
        connection: socket.socket,
        page: Page,
        keeper: int,
        surroundings: Surroundings,
        work: bytes,
    ) -> None:
        self.connection = connection
        self.page = page
        self.keeper = keeper
        self.surroundings = surroundings
        self.work = work
        self.registry = Registry()
        self.failpoints = Failpoints.from_environment("worker")
        self.plan: Plan | None = None
        self.executor: Executor | None = None
        self.inspector: Inspector | None = None
        self.plaintext: Plaintext | None = None
        self.scanning: ScanWork | None = None
        self.grown = False
        """Whether memory is kept for the next chunk of a big file."""

    def serve(self) -> None:
        """Answer frames until the socket closes."""
        while (body := self._receive()) is not None:
            message = frames.unpack_to_worker(body)
            reply = self._answer(message)
            self._check()
            self.connection.sendall(frames.pack(reply))
            if isinstance(reply, frames.Broken):
                return
            if isinstance(
                message, frames.Execute | frames.CutUp | frames.ExecuteChunk | frames.SealUp
            ):
                # Only now: until the answer is out, whoever broke the worker has to be on the page.
                self.page.announce(message.job, [])

    def _receive(self) -> bytearray | None:
        """The next frame. A worker that waits for it longer than a moment gives back what big files left."""
        if self.grown and self.executor is not None:
            waiting = select.poll()  # its number may be beyond what `select` takes
            waiting.register(self.connection, select.POLLIN)
            if not waiting.poll(GROWN_FOR * 1000):
                self.executor.chunks.rest()
                self.grown = False
        return frames.receive(self.connection)

    def _answer(self, message: frames.ToWorker) -> frames.FromWorker:
        if self.executor is not None:
            self.executor.chunks.release()
        match message:
            case frames.Setup(plan, identity):
                return self._set_up(plan, identity)
            case frames.Ask(job, question):
                return frames.Answered(job, answer(question))
            case frames.Inspect() | frames.Scan():
                return self._judge(message)
            case frames.Explain() | frames.Try():
                return self._look(message)
            case frames.CutUp() | frames.ExecuteChunk() | frames.SealUp() | frames.Keep():
                return self._in_parts(message)
            case frames.Execute(job, orders):
                assert self.executor is not None, "Setup comes first"  # noqa: S101
                results = self.executor.execute(
                    orders, lambda some: self._begin(job, some), self.page.progress
                )
                if self.plaintext is not None:
                    sealer = self.plaintext.sealer
                    results = [seal_result(result, sealer) for result in results]
                spent = self._after(tame=self.executor.is_tame(orders[0].pipeline))
                return frames.Executed(job, tuple(results), resident_bytes(), spent)

    def _judge(self, message: frames.Inspect | frames.Scan) -> frames.FromWorker:
        """Find out about files before any step has them."""
        assert self.plan is not None, "Setup comes first"  # noqa: S101
        assert self.inspector is not None, "Setup comes first"  # noqa: S101
        job, files = message.job, message.files
        self.page.announce(job, [])
        if isinstance(message, frames.Scan):
            self.scanning = self.scanning or ScanWork(self.plan, self.registry)
            judged = self._scanned(self.scanning, files)
            return frames.Judged(job, judged, resident_bytes())
        facts = self._inspected(self.inspector, files)
        spent = self._after(tame=not self.inspector.asks_taggers)
        return frames.Inspected(job, facts, resident_bytes(), spent)

    def _begin(self, job: int, orders: Sequence[RunOrder]) -> None:
        """Announce what starts now, in a process as it was before the last run."""
        self._check()
        if self.executor is None or not self.executor.is_tame(orders[0].pipeline):
            self.surroundings.restore()
        self.page.announce(job, [order.run for order in orders])

    def _check(self) -> None:
        """End here, while the page still names the run, if a step made us unable to answer."""
        if not self.surroundings.is_whole():
            os._exit(BROKEN)

    def _after(self, *, tame: bool) -> bool:
        """Clean up, unless nobody was there who leaves anything; answers whether the worker is spent."""
        if tame:
            return False
        self._clean()
        return self.surroundings.spent

    def _clean(self) -> None:
        """After a job: no daemon, no scratch file and nothing half printed is left of it."""
        self._check()
        end_strays(self.keeper)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(ValueError, OSError):  # closed by a step: mended next
                stream.flush()
        self.surroundings.restore()
        empty(self.work)

    def _look(self, message: frames.Explain | frames.Try) -> frames.FromWorker:
        """Answer what would become of one file."""
        assert self.plan is not None, "Setup comes first"  # noqa: S101
        if isinstance(message, frames.Explain):
            if self.plaintext is None:
                return frames.Explained(message.job, explain(message.file, self.plan))
            with self.plaintext.file(message.file) as file:
                return frames.Explained(message.job, explain(file, self.plan))

        def progress(step: int, allowed: float) -> None:
            # The step's number stands in the job's place: should this process die, it tells where.
            self.page.announce(step, [])
            self.page.progress(allowed)

        from filemill.engine.trying import try_file  # noqa: PLC0415 -- as below

        trial = try_file(message.trial, self.plan, self.registry, progress)
        self._clean()
        return frames.Tried(message.job, trial)

    def _keep(self, message: frames.Keep, executor: Executor) -> frames.FromWorker:
        """Keep what the runs need to go on; each is announced, as the steps before work once more."""
        captured = []
        for order, step in zip(message.orders, message.steps, strict=True):
            self._begin(message.job, [order])
            captured.append(executor.inputs.capture(order, step, self.page.progress))
        if self.plaintext is not None:
            captured = [seal_captured(each, self.plaintext.sealer) for each in captured]
        self._clean()
        spent = self.surroundings.spent
        return frames.Kept(message.job, tuple(captured), resident_bytes(), spent)

    def _in_parts(
        self, message: frames.CutUp | frames.ExecuteChunk | frames.SealUp | frames.Keep
    ) -> frames.FromWorker:
        """A part of the file, or of the pipeline."""
        assert self.executor is not None, "Setup comes first"  # noqa: S101
        if isinstance(message, frames.Keep):
            return self._keep(message, self.executor)
        job, work = message.job, self.executor.chunks
        self._begin(job, [message.order])
        if isinstance(message, frames.CutUp):
            cut = work.cut(message.order, message.state)
            self._clean()
            return frames.CutDone(job, cut)
        if isinstance(message, frames.SealUp):
            return self._seal_up(message, work)
        self.grown = True
        done = work.execute(message.order, message.hints, self.page.progress, message.state)
        self._clean()
        return frames.ChunkExecuted(job, done, resident_bytes(), self.surroundings.spent)

    def _seal_up(self, message: frames.SealUp, work: ChunkWork) -> frames.SealDone:
        """Encrypt an output of a big file for who reads it."""
        try:
            return frames.SealDone(message.job, work.seal_up(message.joined, self.page.progress))
        except Corrupt as error:
            return frames.SealDone(message.job, why=error.message, damaged=True)
        except (FilemillError, OSError) as error:
            return frames.SealDone(message.job, why=plainly(error))

    def _scanned(self, scanning: ScanWork, files: Sequence[FileRef]) -> tuple[Scanned, ...]:
        """What scanners say, in order; with encryption file by file, so that few are plain at a time."""
        plaintext = self.plaintext
        if plaintext is None:
            return scanning.scan(files, self.page.progress)
        found: list[Scanned] = []
        for file in files:
            try:
                with plaintext.file(file) as plain:
                    found += scanning.scan([plain], self.page.progress)
            except SystemFault as fault:  # of other keys, or no room: nothing was found out
                found.append(Scanned(file.file, Outcome.DOWN, why=fault.message))
            except (PermanentError, OSError) as error:
                found.append(Scanned(file.file, Outcome.FAILED, why=plainly(error)))
        return tuple(found)

    def _inspected(self, inspector: Inspector, files: Sequence[FileRef]) -> tuple[Facts, ...]:
        """Facts, in order; with encryption file by file, so that few are plain at a time."""
        plaintext = self.plaintext
        if plaintext is None:
            return tuple(inspector.inspect(files))
        found = []
        for file in files:
            try:
                if inspector.pours:
                    facts = inspector.inspect([file])
                else:
                    with plaintext.file(file) as plain:
                        facts = inspector.inspect([plain])
                found += [seal_facts(each, plaintext.sealer) for each in facts]
            except SystemFault as fault:
                found.append(Facts(file.file, error=fault.message, fault=True, help=fault.help))
            except (PermanentError, OSError) as error:
                found.append(Facts(file.file, error=plainly(error)))
        return tuple(found)

    def _set_up(self, plan: Plan, identity: str) -> frames.FromWorker:
        # Polars comes with it, which no question about users' functions needs, and no fork server may have.
        with kept_memory():
            from filemill.engine.execution import Executor  # noqa: PLC0415

        if plan.root not in sys.path:
            sys.path.insert(0, plan.root)
        if plan.modules:
            KeptModules(plan.root, plan.modules).install()
        try:
            barrier = barrier_of(plan.data, self.failpoints)
            durable = Durable(self.failpoints, sync=plan.durability == "power", barrier=barrier)
            self.plan = plan
            if plan.encryption is not None:
                hide_memory()
                self.plaintext = Plaintext(plan, plan.encryption, identity)
            pour = self.plaintext.pour if self.plaintext is not None else None
            self.inspector = Inspector(plan, pour)
            self.executor = Executor(plan, self.registry, durable, plaintext=self.plaintext)
            collect_seldom()
        except FilemillError as error:
            return frames.Broken(error.message, error.help)
        if plan.worker_memory:
            limit = resource.getrlimit(resource.RLIMIT_DATA)[1]
            if limit == resource.RLIM_INFINITY or limit > plan.worker_memory:
                limit = plan.worker_memory
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        self.surroundings.adopt()
        ON_IMPORT[:] = [self.surroundings.adopt]
        return frames.Ready(os.getpid(), plan.revision)


def resident_bytes() -> int:
    """Memory this process holds now, in bytes; the peak where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(descriptor: int, page: bytes, keeper: int) -> int:
    """Serve on the given socket; answers the exit code."""
    # The terminal's Ctrl-C is for the server, which drains; it ends us through the socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for stream in (sys.stdout, sys.stderr):
        flush_by_line(stream)
    # Scratch files of steps are made in a folder of this worker's own, where they are counted and removed.
    work = work_folder(page)
    for folder in (os.path.dirname(work), work):  # the mode is for the last one only
        os.makedirs(folder, 0o700, exist_ok=True)
    # Said twice: what starts from here reads the variable, and `tempfile` would leave a full folder for `/tmp`.
    os.environ["TMPDIR"] = tempfile.tempdir = os.fsdecode(work)
    connection = socket.socket(fileno=out_of_reach(descriptor))
    os.close(descriptor)
    empty(work)
    surroundings = Surroundings(connection, os.getcwd())
    try:
        Worker(connection, Page(page), keeper, surroundings, work).serve()
    except (ConnectionError, BrokenPipeError):
        return 0
    except Exception:  # noqa: BLE001 -- the last frame before a bug ends this process
        with contextlib.suppress(OSError):
            connection.sendall(frames.pack(frames.Broken(traceback.format_exc(limit=-8))))
        return 1
    return 0
