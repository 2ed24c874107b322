"""The scan desk: an acknowledged file comes here before anything looks into it, and goes on only when it is clean.

It fails closed. What no scanner has judged is never inspected: an infected file is quarantined, one that is too big for
a scanner or that a scanner fails at three times is held for a person, and while a scanner is down everything waits for
it, acknowledged and not inspected, and goes on by itself. A file that fails in company is asked about again alone, so
that nobody is charged for a scanner that another file brought down.

Scanning is done by a process of its own: a scanner that hangs keeps no worker from its runs, and one that is brought
down by a file takes nothing with it. What was found out lives in the file's attributes (`scan`), which say that it has
passed; a file that a person released as unsafe has the attribute `released` and is not scanned again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from filemill.engine import frames
from filemill.engine.supervisor import WorkerDied, WorkerPool
from filemill.engine.trouble import Trouble
from filemill.model.errors import SystemFault
from filemill.model.files import INFECTED, SCANNED, Facts, FileRef
from filemill.model.plan import Plan
from filemill.model.turns import Turns
from filemill.ports.scanner import Outcome, Scanned

GROUP = 32
TRIES = 3
PASSED = SCANNED
"""The attribute that says which scanners found nothing."""
RELEASED = "released"
"""The attribute that says who let it go on unscanned, or in spite of what was found."""
_DEADLINE = 120.0
"""Seconds for asking the scanners' versions; then the worker says itself how long a file may take."""
_AWAY = (
    "start it again or mend its settings; files wait for it acknowledged, and go on by themselves"
)


class _Waiting(msgspec.Struct):
    file: FileRef
    tries: int = 0


class ScanDesk:
    """Takes files that must be scanned; `passed` gets the clean ones, `judged` those that go no further.

    `plan` says which plan is current; `pool` makes a worker for one, not started.
    """

    def __init__(
        self,
        *,
        plan: Callable[[], Plan],
        pool: Callable[[Plan], WorkerPool],
        trouble: Trouble,
        passed: Callable[[Sequence[FileRef]], None],
        judged: Callable[[Sequence[tuple[FileRef, Facts]]], Awaitable[None]],
        priorities: Callable[[], Mapping[str, int]],
    ) -> None:
        self._plan = plan
        self._make_pool = pool
        self._trouble = trouble
        self._passed = passed
        self._judged = judged
        self._priorities = priorities
        self._waiting: Turns[_Waiting] = Turns()
        self._alone: deque[_Waiting] = deque()
        self._in_hand = 0
        self._job: asyncio.Task[None] | None = None
        self._pool: WorkerPool | None = None
        self._stopped = False
        self._changed = asyncio.Event()
        self.outcomes: Counter[Outcome] = Counter()
        """How often scanners said what, since the start."""
        self.crashed: BaseException | None = None

    @property
    def pending(self) -> int:
        """Files that have not passed."""
        return len(self._waiting) + len(self._alone) + self._in_hand

    def put(self, files: Sequence[FileRef]) -> None:
        """Take over acknowledged files."""
        self._put_back([_Waiting(file) for file in files])
        self._begin()

    async def idle(self) -> None:
        """Return when no file is here any more."""
        while self.pending or self._job is not None:
            self._changed.clear()
            await self._changed.wait()
            if self.crashed is not None:
                raise self.crashed

    async def stop(self) -> None:
        """Stop; files that have not passed are found in the ledger at the next start."""
        self._stopped = True
        if self._job is not None:
            self._job.cancel()
            await asyncio.gather(self._job, return_exceptions=True)
        await self._end_pool()

    def _put_back(self, group: Sequence[_Waiting]) -> None:
        priorities = self._priorities()
        for waiting in group:
            source = waiting.file.source
            self._waiting.put(source, (waiting,), priorities.get(source, 0))

    def _begin(self) -> None:
        if self._job is None and not self._stopped:
            self._job = asyncio.create_task(self._work(), name="scan")
            self._job.add_done_callback(self._ended)

    def _ended(self, job: asyncio.Task[None]) -> None:
        self._job = None
        self._in_hand = 0
        if not job.cancelled() and job.exception() is not None:
            self.crashed = job.exception()
        elif self.pending:
            self._begin()
        self._changed.set()

    async def _work(self) -> None:
        while self._waiting or self._alone:
            group = self._waiting.take(GROUP) if self._waiting else [self._alone.popleft()]
            self._in_hand = len(group)
            await self._scan(group)
            self._in_hand = 0

    async def _scan(self, group: list[_Waiting]) -> None:
        plan = self._plan()
        free = [each.file for each in group if not must_scan(plan, each.file)]
        group = [each for each in group if must_scan(plan, each.file)]
        if free:  # a reload has ended it
            self._passed(free)
        if not group:
            return
        files = tuple(each.file for each in group)
        try:
            pool = await self._pool_for(plan)
            reply, _ = await pool.run(lambda job: frames.Scan(job, files), _DEADLINE)
        except WorkerDied as died:
            await self._settle(
                [(each, Scanned(each.file.file, Outcome.FAILED, why=died.reason)) for each in group]
            )
            return
        except SystemFault as fault:
            self._put_back(group)
            await self._trouble.wait("workers", fault)
            return
        assert isinstance(reply, frames.Judged), "a Scan is answered by Judged"  # noqa: S101
        self._trouble.over("workers")
        await self._settle(list(zip(group, reply.files, strict=True)))

    async def _settle(self, answers: Sequence[tuple[_Waiting, Scanned]]) -> None:
        """Send each file where its outcome sends it; wait when a scanner is down."""
        ended: list[tuple[FileRef, Facts]] = []
        clean: list[FileRef] = []
        away: list[_Waiting] = []
        again: list[_Waiting] = []
        why = ""
        for waiting, said in answers:
            self.outcomes[said.outcome] += 1
            match said.outcome:
                case Outcome.CLEAN:
                    clean.append(_with(waiting.file, PASSED, said.by))
                case Outcome.INFECTED:
                    ended.append((waiting.file, _quarantined(waiting.file, said)))
                case Outcome.TOO_BIG:
                    ended.append((waiting.file, _held(waiting.file, said, "not scanned")))
                case Outcome.FAILED:
                    # In company it may be another's fault: alone it is this file's.
                    waiting.tries += len(answers) == 1
                    if waiting.tries >= TRIES:
                        ended.append((waiting.file, _held(waiting.file, said, "scan failed")))
                    again += [waiting] * (waiting.tries < TRIES)
                case Outcome.DOWN:
                    away.append(waiting)
                    why = said.why
        self._alone += again
        if clean:
            self._passed(clean)
        await self._judged(ended)
        if away:
            self._put_back(away)
            await self._trouble.wait("scanner", SystemFault(why, help=_AWAY))
        else:
            self._trouble.over("scanner")

    async def _pool_for(self, plan: Plan) -> WorkerPool:
        """The worker that scans, with the current plan's scanners.

        Raises:
            SystemFault: it cannot be started.
        """
        if self._pool is not None and self._pool.plan.scan != plan.scan:
            await self._end_pool()
        if self._pool is None:
            # Without pipelines and rules: it runs nobody's code, and holds no more than it needs.
            bare = msgspec.structs.replace(plan, tags=(), pipelines=(), sinks=(), modules={})
            pool = self._make_pool(bare)
            try:
                await pool.start()
            except BaseException:
                await pool.stop()
                raise
            self._pool = pool
        return self._pool

    async def _end_pool(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await pool.stop()


def must_scan(plan: Plan, file: FileRef) -> bool:
    """Say whether a file still has to pass the scanners of this plan."""
    if not plan.scan or PASSED in file.attributes or RELEASED in file.attributes:
        return False
    return plan.scans(file.source)


def _with(file: FileRef, name: str, value: str) -> FileRef:
    return msgspec.structs.replace(file, attributes={**file.attributes, name: value})


def _quarantined(file: FileRef, said: Scanned) -> Facts:
    attributes = {**file.attributes, PASSED: f"{INFECTED}{said.why}"}
    return Facts(
        file.file, digest=said.digest, attributes=attributes, refused=said.why, unsafe=True
    )


def _held(file: FileRef, said: Scanned, what: str) -> Facts:
    attributes = dict(file.attributes)
    return Facts(file.file, digest=said.digest, attributes=attributes, error=f"{what}: {said.why}")
