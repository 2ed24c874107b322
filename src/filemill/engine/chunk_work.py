"""One chunk of a big file in a worker: the same steps as for a whole file, on the bytes that the chunk's order names.

Its outputs are parts that the server joins in order. A chunk decides nothing about its file: whether there are too
many bad records is judged when all of them are known.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import BinaryIO

import msgspec

from filemill.engine.allocating import give_back
from filemill.engine.attempt import Attempt
from filemill.engine.chain import Chain
from filemill.engine.chunks import ChunkDone, Cut
from filemill.engine.failures import FAILS, failure_of
from filemill.engine.plaintext import Plaintext, reading_of
from filemill.engine.sending import Sends, Sinks
from filemill.engine.states import Carried, StateLost, load, save, states_folder
from filemill.engine.trouble import advice
from filemill.model.errors import SystemFault
from filemill.model.plan import Plan
from filemill.model.runs import ChunkResult, Failure, RunOrder
from filemill.ports.sink import Joined, SealedUp
from filemill.ports.step import Scope
from filemill.records.layout import Drifted, Hints, Restart

SECTION = 16
"""Chunks in one piece where pieces follow one another: fewer states to save, and one is read ahead while another is
worked on."""

_STALL = 60.0
"""Seconds that one piece of an output may take to be encrypted and written."""


class ChunkWork:
    """Cuts big files and works on their chunks, under one plan."""

    def __init__(
        self,
        plan: Plan,
        chains: Callable[[str], Chain],
        sinks: Sinks,
        plaintext: Plaintext | None = None,
    ) -> None:
        self._plan = plan
        self._chain = chains
        self._sinks = sinks
        self._plaintext = plaintext
        self._reading = reading_of(plaintext)
        self._answered: Sends | None = None
        """Of the last chunk: its parts may be in this worker's memory."""

    def release(self) -> None:
        """Let go of the last chunk's parts: whoever sends the next job has received them."""
        answered, self._answered = self._answered, None
        if answered is not None:
            answered.release()

    def rest(self) -> None:
        """Let go of what is kept for the next chunk, but not of parts: the server may not have received them yet."""
        self._sinks.rest()
        give_back()

    def cut(self, order: RunOrder, state: bytes = b"") -> Cut:
        """Where the chunks of this order's file end. Whatever is wrong with the file is left to its reader to say.

        `state` is where an earlier attempt stood; it is answered opened.
        """
        if self._plaintext is not None and state:
            state = self._plaintext.small(state) or b""
        return msgspec.structs.replace(self._cut(order), state=state)

    def _cut(self, order: RunOrder) -> Cut:
        try:
            chain = self._chain(order.pipeline)
            why = _why_whole(chain) or self._why_not_by_place(chain, order.file.path)
            if why:
                return Cut(whole=why)
            attempt = self._attempt(chain, order, Hints(), _unwatched)
            try:
                ends = attempt.cut()
                why = self._why_unjoined(chain, attempt)
            finally:
                attempt.close()
        except FAILS as error:  # a file or pipeline that cannot be read fails as a whole one
            return Cut(whole=f"{type(error).__name__}: {error}")
        if why:
            return Cut(whole=why)
        if any(node.counts_records() or node.scope() is Scope.FILE for node in chain.all_nodes):
            return Cut((*ends[:-1][SECTION - 1 :: SECTION], ends[-1]), ordered=True)
        return Cut(tuple(ends))

    def execute(
        self,
        order: RunOrder,
        hints: Hints,
        progress: Callable[[float], None],
        state: Carried | None = None,
    ) -> ChunkDone:
        """Work on one chunk. Raises nothing of the run's own; nothing stays staged where it failed.

        `state` is what `ChunkDone` said of the chunk before; steps that see the whole file go on from there.
        """
        assert order.chunk is not None, "a chunk's order says which one"  # noqa: S101
        began = time.perf_counter_ns()
        nothing = ChunkResult(order.run, order.fence, order.chunk.number)
        try:
            chain = self._chain(order.pipeline)
            attempt = self._attempt(chain, order, hints, progress)
        except FAILS as error:  # the pipeline does not even compile
            return ChunkDone(_failed(nothing, failure_of(error, order.pipeline, "")))
        try:
            attempt.restore(self._load(state) if state is not None else {})
            attempt.run()
            attempt.sends.open(chain.sinks)
            parts = attempt.sends.finish().get(order.run, [])
            last = order.chunk.end >= order.file.size
            carried = None if last else self._carried(attempt, order, order.chunk.number)
        except StateLost:
            attempt.sends.abort()
            return ChunkDone(nothing, lost=True)
        except Restart as restart:
            attempt.sends.abort()
            return ChunkDone(nothing, restart=restart.hints)
        except Drifted:
            attempt.sends.abort()
            return ChunkDone(msgspec.structs.replace(nothing, drifted=True))
        except FAILS as error:  # users' code: every class is an answer
            attempt.sends.abort()
            return ChunkDone(_failed(nothing, failure_of(error, order.pipeline, attempt.at)))
        except BaseException:
            attempt.sends.abort()
            raise
        finally:
            attempt.close()
        self._answered = attempt.sends
        book = attempt.runs[0]
        result = msgspec.structs.replace(
            nothing,
            parts=tuple(parts),
            steps=tuple(
                attempt.books[node.index].counts(node.plan.id)[0] for node in chain.all_nodes
            ),
            bad=tuple(sorted(book.bad, key=lambda bad: bad.record)),
            bad_total=book.bad_total,
            hold=book.hold,
            form=attempt.columns.form_of(0) if book.bad else None,
            bad_by_step=book.bad_by_step,
            tracebacks=book.traceback,
            records=attempt.records[0],
            blank=book.blank,
            lines=attempt.lines,
            took_ns=time.perf_counter_ns() - began,
        )
        return ChunkDone(result, attempt.learned(), state=carried)

    def seal_up(self, joined: Joined, progress: Callable[[float], None]) -> SealedUp:
        """Encrypt an output whose parts are joined, for who reads it.

        Raises:
            Corrupt: what was joined is not what was sealed.
            WrongKey: it was sealed for others.
            OSError: the sink's place failed.
        """
        plaintext = self._plaintext
        assert plaintext is not None, "only with `encryption:` parts wait sealed"  # noqa: S101

        def pour(out: BinaryIO) -> None:
            plaintext.unseal(joined.path, _Told(out, progress))

        done: SealedUp = self._sinks.get(joined.sink).seal_up(pour, joined.target)
        return done

    def _attempt(
        self, chain: Chain, order: RunOrder, hints: Hints, progress: Callable[[float], None]
    ) -> Attempt:
        return Attempt(
            self._plan,
            chain,
            [order],
            sinks=self._sinks,
            hints=hints,
            progress=progress,
            reading=self._reading,
        )

    def _load(self, state: Carried) -> dict[str, bytes]:
        return load(state, self._plaintext.small if self._plaintext is not None else None)

    def _carried(self, attempt: Attempt, order: RunOrder, number: int) -> Carried | None:
        """What the next chunk's steps have to know, saved; None if they need not know anything.

        Raises:
            SystemFault: the data directory's disk is full or failing.
        """
        states = attempt.states()
        if not states:
            return None
        name = f"{order.run}.{order.fence}.{number}".encode()
        try:
            seal = self._plaintext.sealer.data if self._plaintext is not None else None
            return save(states_folder(self._plan.data), name, states, seal)
        except OSError as error:
            raise SystemFault(
                f"the state of a big file cannot be saved: {error}", help=advice(error)
            ) from error

    def _why_not_by_place(self, chain: Chain, path: bytes) -> str:
        plaintext = self._plaintext
        if plaintext is None or not plaintext.is_sealed(path):
            return ""
        if not chain.reads_by_place:
            return f"step `{chain.nodes[0].plan.id}` needs the file at its path"
        return "" if plaintext.is_in_pieces(path) else "it is encrypted in one stream"

    def _why_unjoined(self, chain: Chain, attempt: Attempt) -> str:
        layout = attempt.columns.layout_of(0)
        headers = chain.headers.of(layout, {})
        for name in chain.sinks:
            header = headers.get(name)
            more = header is not None and header.more
            if not self._sinks.get(name).joins(layout.read_as, more=more):
                return f"outputs of sink `{name}` are not joined from parts"
        return ""


class _Told:
    """What is written goes on, and whoever waits is told that something does."""

    def __init__(self, out: BinaryIO, progress: Callable[[float], None]) -> None:
        self._out = out
        self._progress = progress

    def write(self, data: bytes, /) -> int:
        self._progress(_STALL)
        return self._out.write(data)

    def flush(self) -> None:
        self._out.flush()


def _why_whole(chain: Chain) -> str:
    first = chain.nodes[0]
    if not first.reads or not hasattr(first.component, "cut"):
        return f"step `{first.plan.id}` does not read chunks"
    if chain.emits:
        return f"step `{next(iter(chain.emits.values())).plan.id}` emits a file of its own"
    for node in chain.all_nodes:
        if node.scope() is Scope.FILE and not node.carries():
            return f"step `{node.plan.id}` sees the whole file"
    return ""


def _failed(result: ChunkResult, failure: Failure) -> ChunkResult:
    return msgspec.structs.replace(result, failure=failure)


def _unwatched(allowed: float) -> None:
    """A cut takes no step's time."""
