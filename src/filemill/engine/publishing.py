"""The publisher: from staged outputs to published ones, exactly once.

The order never changes, and each line is one step for a whole group of runs:

1. (worker) every output of the run is written and synced under its sink's staging folder, every child it emits in
   `<data>/children`.
2. STAGED: one ledger commit notes each publication with the inode of its staged file, and each child. A stale
   worker's result fails its fence here and is never renamed. Children become files next (`adopting`).
3. Rename, never replacing. A taken name is changed in the ledger first, then tried again.
4. Sync the folders.
5. DONE: one ledger commit.

After a crash the same steps run again: a target with the staged inode is published; a staged file still
there is renamed; neither means a consumer took it or it is lost: *published unverified*, said aloud, never
written again blindly. All sinks of a run are staged before the first one publishes; transactional sinks
publish first. A run waiting for a sink stays `publishing`, holds no worker and stops no other: see `breaking`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from filemill.engine.adopting import Adoption
from filemill.engine.breaking import Breakers
from filemill.engine.policy import with_fingerprint
from filemill.engine.revealing import Revealer, Staged
from filemill.engine.trouble import Trouble
from filemill.model.errors import FailureKind
from filemill.model.events import Emit, RunFailed, RunFinished
from filemill.model.runs import RunResult
from filemill.ports.clock import Clock
from filemill.ports.ledger import Fail, Finish, Ledger
from filemill.ports.sink import Sink

GROUP = 512


class Publisher:
    """Takes results, publishes them in groups, in one task. Grouping comes from what waits."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        sinks_of: Callable[[int], Mapping[str, Sink]],
        clock: Clock,
        emit: Emit,
        trouble: Trouble,
        adoption: Adoption,
        breakers: Breakers,
        finished: Callable[[list[str]], None],
        forget: Callable[[str], None],
    ) -> None:
        self._ledger = ledger
        self._sinks_of = sinks_of
        self._adoption = adoption
        self._revealer = Revealer(
            ledger=ledger,
            sinks_of=sinks_of,
            clock=clock,
            emit=emit,
            trouble=trouble,
            breakers=breakers,
        )
        self._clock = clock
        self._emit = emit
        self._trouble = trouble
        self._finished = finished
        """Told the files whose run came to an end, for `after:`."""
        self._forget = forget
        """Told the references of kept inputs that nobody needs any more."""
        self._queue: list[Staged] = []
        self._parked: dict[str, list[Staged]] = {}
        """By sink: runs that wait until it is mended."""
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Runs taken over and not yet done, without those that wait for a sink to be mended."""
        return len(self._queue) + (0 if self._idle.is_set() else 1)

    def put(self, staged: Iterable[Staged]) -> None:
        """Take over runs whose outputs are staged."""
        self._queue.extend(staged)
        if self._queue:
            self._idle.clear()
            self._wake.set()

    @property
    def parked(self) -> dict[str, int]:
        """By sink: how many staged runs wait until it is mended."""
        return {sink: len(runs) for sink, runs in self._parked.items()}

    def retry(self, sink: str) -> None:
        """Go on with the runs that wait for this sink."""
        self.put(self._parked.pop(sink, []))

    async def start(self) -> None:
        """Begin publishing."""
        self._task = asyncio.create_task(self._publish_all(), name="publisher")

    async def idle(self) -> None:
        """Return when everything taken over is done or failed, or waits for a sink to be mended."""
        idle = asyncio.create_task(self._idle.wait())
        assert self._task is not None, "start comes first"  # noqa: S101
        await asyncio.wait({idle, self._task}, return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        if self._task.done() and not self._task.cancelled():
            self._task.result()

    async def stop(self) -> None:
        """Stop between two groups; what is staged is found again at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def crashed(self) -> BaseException | None:
        """The error that ended the publisher, if one did."""
        if self._task is not None and self._task.done() and not self._task.cancelled():
            return self._task.exception()
        return None

    async def _publish_all(self) -> None:
        while True:
            await self._wake.wait()
            group, self._queue = self._queue[:GROUP], self._queue[GROUP:]
            if not self._queue:
                self._wake.clear()
            await self._publish(group)
            if not self._queue:
                self._idle.set()

    async def _publish(self, group: list[Staged]) -> None:
        current = await self._stage(group)
        while current:
            try:
                await self._revealer.reveal(current)
                break
            except OSError as error:
                # What is wrong with a sink's place, or with one output alone, does not come here.
                await self._trouble.wait("publish", error)
        self._trouble.over("publish")
        for staged in current:
            if staged.waits and staged.failure is None:
                self._parked.setdefault(staged.waits, []).append(staged)
        await self._finish([s for s in current if s.failure is None and not s.waits])
        await self._fail([s for s in current if s.failure is not None])

    async def _stage(self, group: list[Staged]) -> list[Staged]:
        """STAGED commit; only those whose fence still holds go on."""
        fresh = [s for s in group if s.result is not None and not s.noted]
        at = self._clock.wall_ns()
        results = [s.result for s in fresh if s.result is not None]
        stages = await self._adoption.stages(results, at)
        kept = await self._trouble.insist("ledger", lambda: self._ledger.stage(stages))
        stale = {id(s) for s, ok in zip(fresh, kept, strict=True) if not ok}
        await self._adoption.take(results)
        if stale:
            await self._let_go([s for s in fresh if id(s) in stale])
        for staged in fresh:
            staged.noted = True
        return [s for s in group if id(s) not in stale]

    async def _let_go(self, stale: Sequence[Staged]) -> None:
        """Remove what an attempt staged that counts no more: its run was called back, or is another worker's.

        What the ledger has as staged is left: it may be this very attempt, if the answer to its commit was lost.
        """
        runs = [staged.run for staged in stale]
        _, waiting = await self._trouble.insist("ledger", lambda: self._ledger.publishing(runs))
        needed = {publication.staged for publication in waiting}
        for staged in stale:
            sinks = self._sinks_of(staged.revision)
            for publication in staged.publications:
                if publication.staged not in needed and publication.sink in sinks:
                    sink = sinks[publication.sink]
                    await asyncio.to_thread(sink.forget, [publication.staged])

    async def _finish(self, group: list[Staged]) -> None:
        if not group:
            return
        at = self._clock.wall_ns()
        finishes = [Finish(s.run, s.fence, at, tuple(s.unverified)) for s in group]
        kept = await self._trouble.insist("ledger", lambda: self._ledger.finish(finishes))
        files: list[str] = []
        for staged, ok in zip(group, kept, strict=True):
            file = staged.file
            if not ok:
                continue
            files.append(file.file)
            if staged.kept:
                self._forget(staged.kept)
            self._emit(
                RunFinished(
                    at_ns=at,
                    run=staged.run,
                    file=file.file,
                    relative=file.relative,
                    pipeline=staged.pipeline,
                    took_ns=at - file.arrived_ns,
                    outputs=tuple((p.sink, p.records, p.name) for p in staged.publications),
                    bad=staged.result.bad_total if staged.result else 0,
                    children=len(staged.result.children) if staged.result else 0,
                )
            )
        self._finished(files)

    async def _fail(self, group: Sequence[Staged]) -> None:
        """A sink refused for good: the run is dead at `publish:<sink>`, its staged files stay."""
        if not group:
            return
        at = self._clock.wall_ns()
        fails = []
        for staged in group:
            assert staged.failure is not None, "only failed ones come here"  # noqa: S101
            staged.failure = with_fingerprint(staged.failure, staged.pipeline)
            result = staged.result or RunResult(staged.run, staged.fence)
            fails.append(
                Fail(
                    staged.run,
                    staged.fence,
                    at,
                    "dead",
                    result,
                    staged.failure,
                    published=tuple(staged.published),
                    unverified=tuple(staged.unverified),
                )
            )
        kept = await self._trouble.insist("ledger", lambda: self._ledger.fail(fails))
        for staged, ok in zip(group, kept, strict=True):
            if ok and staged.failure is not None:
                self._emit(
                    RunFailed(
                        at_ns=at,
                        run=staged.run,
                        file=staged.file.file,
                        relative=staged.file.relative,
                        pipeline=staged.pipeline,
                        state="dead",
                        kind=str(FailureKind.PERMANENT),
                        step=staged.failure.step,
                        error=staged.failure.error,
                        message=staged.failure.message,
                        help=staged.failure.help,
                        fingerprint=staged.failure.fingerprint,
                    )
                )
