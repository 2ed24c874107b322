"""The outputs of one chunked run in the joining, and the books of its chunks: what is known of the file so far.

Everything here can be taken up again from a checkpoint. Record and line numbers of later chunks become the file's own
as they are joined.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from filemill.engine.states import Carried, discard, holds
from filemill.engine.tolerating import DETAILED, RunBook, over_tolerance
from filemill.engine.trouble import advice
from filemill.model.errors import SystemFault, plainly
from filemill.model.plan import Tolerance
from filemill.model.runs import (
    BadRecord,
    ChunkRange,
    ChunkResult,
    Failure,
    Hold,
    Mark,
    RecordForm,
    RunOrder,
    RunResult,
    StagedOutput,
    StepCount,
)
from filemill.ports.sink import HasStagingFolder, Joined, Joining, SealedUp, Sink
from filemill.records.layout import Hints


class Books(msgspec.Struct):
    """Sums over the chunks that are joined."""

    records: int = 0
    blank: int = 0
    lines: int = 0
    took_ns: int = 0
    steps: tuple[StepCount, ...] = ()
    bad: list[BadRecord] = []
    bad_total: int = 0
    bad_by_step: dict[str, int] = {}
    tracebacks: dict[str, str] = {}
    hold: Hold | None = None
    form: RecordForm | None = None
    """Of the first chunk with a bad record."""

    def add(self, chunk: ChunkRange, result: ChunkResult) -> None:
        """Take in the next chunk."""
        records = self.records - (chunk.first_record - 1)
        lines = self.lines - (chunk.first_line - 1)
        for bad in result.bad[: DETAILED - len(self.bad)]:
            place = {"record": bad.record + records, "line": bad.line + lines}
            self.bad.append(msgspec.structs.replace(bad, **place))
        if self.hold is None and result.hold is not None:
            self.hold = msgspec.structs.replace(result.hold, line=result.hold.line + lines)
        self.form = self.form or result.form
        self.bad_total += result.bad_total
        for step, count in result.bad_by_step.items():
            self.bad_by_step[step] = self.bad_by_step.get(step, 0) + count
        self.tracebacks = {**result.tracebacks, **self.tracebacks}
        self.records += result.records
        self.blank += result.blank
        self.lines += result.lines
        self.took_ns += result.took_ns
        pairs = zip(self.steps, result.steps, strict=True)
        self.steps = tuple(_sum(*pair) for pair in pairs) if self.steps else result.steps


class State(msgspec.Struct, frozen=True):
    """What a checkpoint holds."""

    revision: int
    """Of the plan under which it was done: another plan may do other things."""
    chunk_size: int
    hints: Hints
    """What the next chunk has to know."""
    marks: tuple[Mark, ...]
    books: Books
    carried: Carried | None = None
    """What steps that see the whole file have seen."""


class Joint:
    """One run's outputs and books. Methods that touch the disk are called in threads, one at a time."""

    def __init__(self, order: RunOrder, sinks: Mapping[str, Sink]) -> None:
        self.order = order
        self.books = Books()
        self.carried: Carried | None = None
        """What steps that see the whole file have seen of it."""
        self._sinks = sinks
        self._joinings: dict[str, Joining] = {}

    def take_up(self, state: State) -> bool:
        """Go on from a checkpoint; False, and nothing is left of it, if bytes it names are not there any more."""
        if state.carried is not None and not holds(state.carried):
            self.drop(state)
            return False
        for mark in state.marks:
            sink = self._sinks.get(mark.sink)
            joining = sink.joining(self.order.fence, mark) if sink is not None else None
            if joining is None:
                self.abort()
                return False
            self._joinings[mark.sink] = joining
        self.books, self.carried = state.books, state.carried
        return True

    def drop(self, state: State) -> None:
        """Remove what a checkpoint names, which nobody will take up."""
        for mark in state.marks:
            sink = self._sinks.get(mark.sink)
            if sink is not None:
                sink.forget([mark.staged])
        if state.carried is not None:
            discard(state.carried)

    def drop_paths(self, paths: Sequence[bytes]) -> None:
        """Remove what a checkpoint names that cannot be read any more."""
        for path in paths:
            folder = os.path.dirname(path)
            for sink in self._sinks.values():
                if isinstance(sink, HasStagingFolder) and sink.staging_folder() == folder:
                    sink.forget([path])
                    break
            else:
                discard(Carried(path, ""))

    def receive(self, result: ChunkResult) -> ChunkResult:
        """Take a chunk's parts over from its worker, before that is sent anything else.

        Raises:
            OSError: they are gone, with the worker.
        """
        received: list[StagedOutput] = []
        try:
            for part in result.parts:
                received.append(self._sinks[part.sink].receive(part))  # noqa: PERF401 -- kept in case of an error
        except OSError:
            for part in received:
                self._sinks[part.sink].forget([part.staged])
            raise
        return msgspec.structs.replace(result, parts=tuple(received))

    def append(self, chunk: ChunkRange, result: ChunkResult) -> None:
        """Join a chunk's parts.

        Raises:
            SystemFault: the sink's place or the machine failed; the run has to be taken up again from its last
                checkpoint.
        """
        for part in result.parts:
            joining = self._joinings.get(part.sink)
            if joining is None:
                made = self._sinks[part.sink].joining(self.order.fence)
                assert made is not None, "without a mark there is nothing to miss"  # noqa: S101
                joining = self._joinings[part.sink] = made
            with _fault_of(part.sink):
                joining.append(part)
        self.books.add(chunk, result)

    def marks(self) -> tuple[Mark, ...]:
        """How far each output is."""
        marks = (joining.mark() for joining in self._joinings.values())
        return tuple(mark for mark in marks if mark is not None)

    def forget(self, results: Sequence[ChunkResult]) -> None:
        """Remove chunks' parts."""
        for result in results:
            for part in result.parts:
                self._sinks[part.sink].forget([part.staged])

    def joined(self, tolerance: Tolerance) -> list[Joined]:
        """What workers have to encrypt before `finish`, where that will publish something.

        Raises:
            SystemFault: the sink's place or the machine failed.
        """
        if self.books.hold is not None or self._failure(tolerance) is not None:
            return []
        found: list[Joined] = []
        for sink, joining in self._joinings.items():
            with _fault_of(sink):
                joined = joining.joined()
            found += [joined] if joined is not None else []
        return found

    def sealed(self, sink: str, done: SealedUp) -> None:
        """A worker has encrypted the output of that sink."""
        self._joinings[sink].sealed(done)

    def _failure(self, tolerance: Tolerance) -> Failure | None:
        books, book = self.books, RunBook()
        book.bad, book.bad_total, book.bad_by_step = books.bad, books.bad_total, books.bad_by_step
        book.traceback = books.tracebacks
        return over_tolerance(book, books.records, self.order.pipeline, tolerance)

    def finish(self, chunks: int, tolerance: Tolerance) -> RunResult:
        """The run's result: its outputs synced, or why nothing of it may be published."""
        books = self.books
        failure = self._failure(tolerance)
        outputs: list[StagedOutput] = []
        if failure is None and books.hold is None:
            for sink, joining in self._joinings.items():
                with _fault_of(sink):
                    output = joining.finish()
                outputs += [output] if output is not None else []
            self._drop_carried()  # a crash before these outputs are known begins the file anew
        else:
            self.abort()
        hold = books.hold if failure is None else None
        return RunResult(
            self.order.run,
            self.order.fence,
            outputs=tuple(outputs),
            steps=books.steps,
            bad=tuple(books.bad),
            bad_total=books.bad_total,
            form=books.form,
            records=books.records,
            blank=books.blank,
            took_ns=books.took_ns,
            failure=failure,
            hold=hold.said() if hold else "",
            hold_step=hold.step if hold else "",
            choices=hold.choices if hold else (),
            chunks=chunks,
        )

    def leave(self) -> None:
        """Let go of everything as it is, to be taken up again or aborted."""
        for joining in self._joinings.values():
            joining.leave()

    def abort(self) -> None:
        """Remove everything joined, and begin anew."""
        joinings, self._joinings = self._joinings, {}
        for joining in joinings.values():
            joining.abort()
        self._drop_carried()
        self.books = Books()

    def _drop_carried(self) -> None:
        carried, self.carried = self.carried, None
        if carried is not None:
            discard(carried)


@contextlib.contextmanager
def _fault_of(sink: str) -> Iterator[None]:
    """What goes wrong while its output is joined is a sink's trouble."""
    try:
        yield
    except OSError as error:
        message = f"joining the chunks of a big file for sink `{sink}` failed: {plainly(error)}"
        raise SystemFault(message, help=advice(error), sink=sink) from error


def _sum(one: StepCount, other: StepCount) -> StepCount:
    return StepCount(
        one.step,
        one.taken + other.taken,
        one.given + other.given,
        one.added + other.added,
        one.filtered + other.filtered,
        one.bad + other.bad,
        one.took_ns + other.took_ns,
    )
