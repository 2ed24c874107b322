"""One big file in the doing: what is sent to workers, what is joined, where it goes on. See `chunking`."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import msgspec

from filemill.encryption.texts import seal_result
from filemill.engine import frames
from filemill.engine.checkpointing import Checkpoints
from filemill.engine.chunks import ChunkDone, Cut
from filemill.engine.in_hand import Came, InHand
from filemill.engine.joint import Joint, State
from filemill.engine.states import Carried
from filemill.engine.supervisor import WorkerDied
from filemill.engine.trouble import advice
from filemill.model.errors import SystemFault, plainly
from filemill.model.events import RunProgressed
from filemill.model.plan import PipelinePlan
from filemill.model.runs import ChunkRange, ChunkResult, RunOrder, RunResult
from filemill.ports.ledger import Checkpoint
from filemill.records.layout import Hints

if TYPE_CHECKING:
    from filemill.engine.chunking import ChunkedRuns

SAY_EVERY = 10.0
"""Seconds between two words of how far a big file is."""
_Answer = TypeVar("_Answer")
_PACK = msgspec.msgpack.Encoder().encode


class Chunked(msgspec.Struct):
    """How a chunked run ended: with a result, or with whatever kept it from one.

    Where it has no outputs, what is joined so far still lies in `joint`: it goes with a run that is dead.
    """

    joint: Joint
    result: RunResult | None = None
    output: str = ""
    """What the failed chunk's step printed."""
    died: WorkerDied | None = None
    fault: SystemFault | None = None
    stopped: bool = False
    """The server is draining: what is done is kept, the rest waits for the next start."""


class Left(msgspec.Struct, frozen=True):
    """What earlier attempts at a run left."""

    checkpoints: Sequence[Checkpoint]
    state: State | None
    """Of the last one; None: there is none, or it cannot be read any more."""


class Whole(Exception):
    """The file has to be worked on whole."""


async def drop_left(runs: ChunkedRuns, joint: Joint, left: Left) -> None:
    """Forget what earlier attempts at this run did: it begins anew."""
    run = joint.order.run
    if left.checkpoints:
        await runs.trouble.insist("ledger", lambda: runs.ledger.forget_checkpoints([run]))
    if left.state is not None:
        await asyncio.to_thread(joint.drop, left.state)
    elif left.checkpoints:
        await asyncio.to_thread(joint.drop_paths, left.checkpoints[-1].staged)


class ChunkRun:
    """One chunked run in the doing. `_next` is the chunk to be joined next, `_sent` the one to be begun next."""

    def __init__(
        self,
        runs: ChunkedRuns,
        joint: Joint,
        pipeline: PipelinePlan,
        cut: Cut,
        *,
        patience: float,
    ) -> None:
        self._runs = runs
        self._order = joint.order
        self._pipeline = pipeline
        self._ordered = cut.ordered
        self._patience = patience
        starts = (0, *cut.ends[:-1])
        self._chunks = [
            ChunkRange(number, start, end)
            for number, (start, end) in enumerate(zip(starts, cut.ends, strict=True))
        ]
        workers = runs.pool.limits.workers
        self._at_once = workers + 1 if workers > 1 else 1
        """One more than workers, so that none waits for a message."""
        self._ahead = self._at_once + 1
        """How far a chunk may be ahead of the one that is joined next: bounds the parts in memory."""
        self._said = runs.clock.monotonic()
        self._hints = Hints()
        self._next = 0
        self._sent = 0
        self._in_hand = InHand()
        self._joint = joint
        self._checkpoints = Checkpoints(runs.ledger, runs.trouble)

    async def go(self, left: Left) -> Chunked:
        """Take up what is there, work, join.

        Raises:
            WorkerDied: a worker was lost over a chunk.
            SystemFault: the machine's own; what is done is kept.
            Whole: the file has to be worked on whole.
        """
        await self._take_up(left)
        try:
            while self._next < len(self._chunks):
                self._send()
                if not len(self._in_hand):
                    return Chunked(self._joint, stopped=True)
                await self._in_hand.wait()
                ended = await self._join_all()
                if ended is not None:
                    return ended
            await self._seal_up()
            return self._ended(await self._finish())
        except asyncio.CancelledError:
            self._in_hand.cancel()
            raise
        finally:
            await self._settle_workers()
            await self._checkpoints.settled()
            await asyncio.to_thread(self._joint.leave)

    async def _finish(self) -> RunResult:
        """Make what is joined durable.

        Raises:
            SystemFault: the sink's place failed. What a failed sync was about may be lost although it can be read: the
                next try begins the file anew.
        """
        try:
            return await self._on_disk(
                self._joint.finish, len(self._chunks), self._pipeline.tolerance
            )
        except SystemFault:
            await self._start_over(Hints())
            raise

    async def _take_up(self, left: Left) -> None:
        """Go on behind the last checkpoint, if it still holds."""
        runs, kept, state = self._runs, left.checkpoints, left.state
        if not kept or state is None:
            await drop_left(runs, self._joint, left)
            return
        ranges = [(each.chunk.number, each.chunk.start, each.chunk.end) for each in kept]
        mine = [(each.number, each.start, each.end) for each in self._chunks[: len(kept)]]
        same = (state.revision, state.chunk_size) == (runs.plan.revision, runs.plan.chunk_size)
        if same and ranges == mine and await self._on_disk(self._joint.take_up, state):
            self._hints = state.hints
            self._next = self._sent = len(kept)
            self._say(resumed=True)
            return
        await drop_left(runs, self._joint, left)

    async def _start_over(self, hints: Hints) -> None:
        """Begin anew with what was found out; nothing of this run is published yet."""
        await self._settle_workers()
        await self._checkpoints.settled()
        await asyncio.to_thread(self._joint.abort)
        runs, order = self._runs, self._order
        await runs.trouble.insist("ledger", lambda: runs.ledger.forget_checkpoints([order.run]))
        self._hints = hints
        self._next = self._sent = 0

    def _send(self) -> None:
        """Begin as many chunks as may run now."""
        while (
            self._sent < len(self._chunks)
            and len(self._in_hand) < self._at_once
            and self._sent - self._next < self._ahead
            and not self._runs.stopping()
            and not any(came.failed for came in self._in_hand.came.values())
        ):
            alone = self._ordered or self._next == 0
            if alone and self._sent > self._next:
                return
            self._begin(self._sent)
            self._sent += 1

    def _begin(self, number: int) -> None:
        chunk = self._chunks[number]
        if self._ordered:
            books = self._joint.books
            counts = {"first_record": books.records + 1, "first_line": books.lines + 1}
            chunk = self._chunks[number] = msgspec.structs.replace(chunk, **counts)
        order = msgspec.structs.replace(self._order, chunk=chunk)
        self._in_hand.begin(number, self._work(order, self._hints, self._joint.carried))

    async def _work(self, order: RunOrder, hints: Hints, state: Carried | None) -> Came:
        reply, output = await self._runs.pool.run(
            lambda job: frames.ExecuteChunk(job, order, hints, state), self._patience
        )
        assert isinstance(reply, frames.ChunkExecuted), "an ExecuteChunk is answered so"  # noqa: S101
        # At once, in the same turn of the loop: with its next job the worker lets go of what it holds in memory.
        try:
            result = self._joint.receive(reply.done.result)
        except OSError as error:
            raise SystemFault(
                f"what a worker made of a chunk was gone: {error}", help=advice(error)
            ) from error
        return Came(msgspec.structs.replace(reply.done, result=result), hints, output)

    async def _join_all(self) -> Chunked | None:
        """Join what is next, as far as it came; how the run ended, if it did."""
        while self._next in self._in_hand.came:
            came = self._in_hand.came.pop(self._next)
            done = came.done
            if came.given != self._hints:
                await asyncio.to_thread(self._joint.forget, [done.result])
                self._begin(self._next)
                break
            if done.result.drifted:
                await self._start_over(Hints())
                raise Whole
            if done.lost:
                await self._start_over(Hints())
                break
            if done.restart is not None:
                wider = self._hints.merge(done.restart)
                await self._start_over(wider)
                if wider == came.given:
                    raise Whole  # whatever it wants, reading it whole is sure to end
                break
            if came.failed:
                return self._ended(self._unfinished(done.result), came.output)
            await self._join(done)
            if self._checkpoints.refused:  # the run is no longer ours
                return Chunked(self._joint, stopped=True)
        return None

    async def _join(self, done: ChunkDone) -> None:
        """Join the next chunk; that it is done is committed while others are joined."""
        chunk = self._chunks[self._next]
        await self._in_hand.while_feeding(
            self._on_disk(self._joint.append, chunk, done.result), self._send
        )
        await asyncio.to_thread(self._joint.forget, [done.result])
        self._hints = self._hints.merge(done.learned)
        self._next += 1
        if self._next < len(self._chunks):
            before, self._joint.carried = self._joint.carried, done.state
            self._checkpoints.put(self._checkpoint(chunk, done.state), before)
        if self._runs.clock.monotonic() - self._said >= SAY_EVERY:
            self._say()

    def _checkpoint(self, chunk: ChunkRange, carried: Carried | None) -> Checkpoint:
        """What is needed to go on behind this chunk."""
        order, plan, marks = self._order, self._runs.plan, self._joint.marks()
        state = State(
            plan.revision, plan.chunk_size, self._hints, marks, self._joint.books, carried
        )
        staged = tuple(mark.staged for mark in marks)
        staged += (carried.path,) if carried is not None else ()
        sealer, packed = self._runs.sealer, _PACK(state)
        kept = sealer.data(packed) if sealer is not None else packed
        return Checkpoint(order.run, order.fence, chunk, staged, kept)

    def _say(self, *, resumed: bool = False) -> None:
        """Tell how far it is: once where it goes on, and then now and again."""
        clock, order = self._runs.clock, self._order
        self._said = clock.monotonic()
        self._runs.emit(
            RunProgressed(
                at_ns=clock.wall_ns(),
                run=order.run,
                file=order.file.file,
                relative=order.file.relative,
                pipeline=order.pipeline,
                done=self._next,
                chunks=len(self._chunks),
                resumed=resumed,
            )
        )

    def _ended(self, result: RunResult, output: str = "") -> Chunked:
        sealer = self._runs.sealer
        sealed = seal_result(result, sealer) if sealer is not None else result
        return Chunked(self._joint, sealed, output)

    def _unfinished(self, result: ChunkResult) -> RunResult:
        """The result of a run one of whose chunks failed."""
        return RunResult(
            self._order.run,
            self._order.fence,
            failure=result.failure,
            chunks=len(self._chunks),
        )

    async def _seal_up(self) -> None:
        """Have workers encrypt outputs for who reads them; what is joined of them only workers can read.

        Raises:
            WorkerDied: a worker was lost over it.
            SystemFault: the sink's place failed; or what was joined is damaged, and the file begins anew.
        """
        runs, joint = self._runs, self._joint
        for joined in await self._on_disk(joint.joined, self._pipeline.tolerance):
            seal = functools.partial(frames.SealUp, order=self._order, joined=joined)
            reply, _ = await runs.pool.run(seal, self._patience)
            assert isinstance(reply, frames.SealDone), "a SealUp is answered so"  # noqa: S101
            if reply.done is None:
                if reply.damaged:
                    await self._start_over(Hints())
                raise SystemFault(
                    f"encrypting the joined chunks for sink `{joined.sink}` failed: {reply.why}",
                    help="look at its disk; the file is worked on again by itself",
                    sink="" if reply.damaged else joined.sink,
                )
            joint.sealed(joined.sink, reply.done)

    async def _settle_workers(self) -> None:
        """Wait for the chunks that workers hold; what they did counts no more."""
        left = await self._in_hand.settle()
        await asyncio.to_thread(self._joint.forget, [each.done.result for each in left])

    async def _on_disk(self, work: Callable[..., _Answer], *values: object) -> _Answer:
        """Do something with staged files in a thread; what goes wrong there is the machine's trouble."""
        try:
            return await asyncio.to_thread(work, *values)
        except OSError as error:
            message = f"joining the chunks of a big file failed: {plainly(error)}"
            raise SystemFault(message, help=advice(error)) from error
