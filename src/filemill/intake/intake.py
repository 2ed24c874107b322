"""Intake: every file's way from a sighting to the ledger, the same for all sources.

Sightings settle (`settle`), ready ones are taken in groups (`claim`), refused ones are said once. A group
begins as soon as one file is ready and few groups are under way, so a lone file never waits; what becomes ready
meanwhile is the next group, so groups grow with the load.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from filemill.durable import Durable
from filemill.intake.claim import Claimer, Stopping
from filemill.intake.looking import MACHINE_ERRORS, Folders
from filemill.intake.moving import End, Taking, Way
from filemill.intake.named import PAUSE, TRIES, Named
from filemill.intake.recovery import Recovery, Settled, recover, screened, sweep
from filemill.intake.reporting import Reporter
from filemill.intake.seen import Seen
from filemill.intake.settle import Look, Settler, Verdict, Waiting
from filemill.intake.unfinished import Unfinished
from filemill.model.errors import LedgerSyncError, SystemFault, UsageError
from filemill.model.events import Emit
from filemill.model.files import Claim, FileRef
from filemill.ports.clock import Clock, Ids
from filemill.ports.content import Content
from filemill.ports.ledger import Ledger, Recovered
from filemill.ports.source import Sighting, SourceSettings, roots_of

__all__ = ["Intake", "SourceSettings"]

T = TypeVar("T")
GROUP = 256
"""Files per group at most: past this a larger syncfs gains little (performance.md)."""
DEPTH = 2
"""Groups under way at once: one looks and moves while the other waits for the disk."""
ROOM_POLL = 0.05
TROUBLE_PAUSE = 1.0
"""Seconds without new groups after the machine failed one."""


class Intake:
    """Takes files in. Lives in one event loop; lifecycle: `recover` (optional), `start`, `stop`."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        content: Content,
        durable: Durable,
        clock: Clock,
        ids: Ids,
        emit: Emit,
        sources: Mapping[str, SourceSettings],
        on_ingested: Callable[[list[FileRef]], None],
        room: Callable[[int], int],
        on_fatal: Callable[[BaseException], None] | None = None,
        on_moved: Callable[[FileRef], None] = lambda _: None,
        on_acknowledging: Callable[[FileRef], None] = lambda _: None,
    ) -> None:
        """`on_ingested` is told files that are acknowledged.

        Of one that is claimed alone `on_moved` is told when its bytes are in content, and `on_acknowledging` when its
        acknowledgement is about to be asked of the ledger; neither says that it will be.
        """
        self._ledger = ledger
        self._content = content
        self._durable = durable
        self._clock = clock
        self._report = Reporter(emit, clock)
        self._sources = dict(sources)
        self._on_ingested = on_ingested
        self._room = room
        self._on_fatal = on_fatal
        self._stopping = asyncio.Event()
        self._settler = Settler(self._sources, clock)
        self.claimer = Claimer(
            ledger=ledger,
            content=content,
            durable=durable,
            clock=clock,
            ids=ids,
            emit=emit,
            stopping=self._stopping,
            on_moved=on_moved,
            on_acknowledging=on_acknowledging,
        )
        self._named = Named(self.claimer, content, clock, ids, self._sources.values())
        self._threads = ThreadPoolExecutor(DEPTH, thread_name_prefix="intake")
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._groups: set[asyncio.Task[None]] = set()
        self._pump: asyncio.Task[None] | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self.unfinished = Unfinished(
            self._settle,
            finished=lambda claims: on_ingested([self.claimer.file_ref(c) for c in claims]),
            trouble=self._report.trouble,
            over=self._task_done,
        )
        self._seen = Seen()
        self._paused_until = 0.0
        self._failed: BaseException | None = None

    def sighted(self, sightings: list[Sighting]) -> None:
        """Take note of what a source saw. From the event loop's thread; never blocks, never raises."""
        if sightings := self._seen.others(sightings):
            self._settler.sight(sightings)
            self._idle.clear()
            self._wake.set()

    def backlog(self, source: str) -> int:
        """How many files of one source are settling or being claimed. Any thread may ask."""
        return self._settler.of(source)

    def update(self, sources: Mapping[str, SourceSettings]) -> None:
        """Go by other sources from now on; what is settling in a source that is no more stays where it is."""
        self._sources = dict(sources)
        self._settler.update(self._sources)
        self._named.update(self._sources.values())
        self._wake.set()

    def poke(self) -> None:
        """There is room again: look at once."""
        self._wake.set()

    async def recover(self, recovered: Recovered) -> list[FileRef]:
        """Finish or undo what a former server left; answers with the acknowledged files yet to be inspected.

        Called once, before `start`. Also lists content for the sweep that `start` begins in the background.

        Raises:
            SystemFault: content or ledger cannot be used.
        """
        settled = await self._settle(recovered.claiming, roots_of(self._sources))
        self.unfinished.put(settled.stuck)
        try:
            # Nothing is taken yet, and what recovery removed is no orphan.
            listed = await self._run(self._content.references)
        except OSError as error:
            raise SystemFault(f"content cannot be listed: {error}") from error
        self._sweeping = asyncio.create_task(self._sweep(listed))
        left = [self._located(ref) for ref in recovered.uninspected]
        refs = left + [self.claimer.file_ref(claim) for claim in settled.whole]
        return await screened(refs, self._sources, claimer=self.claimer, reporter=self._report)

    async def _settle(self, claims: Sequence[Claim], roots: Collection[bytes] = ()) -> Settled:
        return await recover(
            claims,
            claimer=self.claimer,
            recovery=Recovery(self._content, self._durable),
            ledger=self._ledger,
            reporter=self._report,
            roots=roots,
            run=self._run,
        )

    async def start(self) -> None:
        """Begin to take files. Idempotent."""
        if self._pump is None:
            self._stopping.clear()
            self._pump = asyncio.create_task(self._pumping())

    async def stop(self) -> None:
        """Begin no more groups and finish those under way. Idempotent."""
        self._stopping.set()
        self._wake.set()
        if self._pump is not None:
            await self._pump
            self._pump = None
        if self._groups:
            await asyncio.gather(*self._groups, return_exceptions=True)
        await self.unfinished.stop()
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
            self._sweeping = None
        self._idle.set()
        self._threads.shutdown(wait=True)

    async def idle(self) -> None:
        """Return when nothing is settling or being claimed, or intake was stopped.

        Raises:
            SystemFault: intake ended because the ledger failed.
        """
        while self._busy():
            if self._failed is not None:
                raise self._failed
            if self._stopping.is_set() and not self._groups:
                return
            self._idle.clear()
            await self._idle.wait()

    async def take(
        self,
        paths: Sequence[bytes],
        *,
        tags: Sequence[str] = (),
        again: bool = False,
        backfill: bool = False,
    ) -> list[str | None]:
        """Take these files by copying them, as they are, without settling; they are never moved or changed.

        A file in a source's folder gets that source's tags, any other is of source `cli` with the tag
        `from:cli`; both get `tags`. With `backfill` they wait for all others, and those outside are tagged
        `from:backfill` instead. Answers with a file id each, None for one that is known already (same path,
        unchanged) unless `again`.

        Raises:
            UsageError: a path is no readable file, or is being written all the time; nothing after it is taken.
            SystemFault: the machine failed.
        """
        out: list[str | None] = []
        for start in range(0, len(paths), GROUP):
            group = paths[start : start + GROUP]
            out += await self._take_group(group, tags, again=again, backfill=backfill)
        return out

    async def _take_group(
        self, paths: Sequence[bytes], tags: Sequence[str], *, again: bool, backfill: bool
    ) -> list[str | None]:
        ids: dict[int, str | None] = {}
        left = dict(enumerate(paths))
        for attempt in range(TRIES):
            with Folders() as folders:
                build = functools.partial(
                    self._named.takings, tags=tags, again=again, backfill=backfill
                )
                takings = await self._run(build, left, folders)
                refs = await self.claimer.claim(list(takings.values()), folders, self._run)
            self._ended(list(takings.values()), refs)
            for number, taking in takings.items():
                if taking.end is End.TAKEN:
                    ids[number] = taking.claim.file
                elif taking.end is End.KNOWN:
                    ids[number] = None
                elif taking.end is not End.CHANGED:
                    why = taking.error or taking.reason or "it is gone"
                    raise SystemFault(f"{os.fsdecode(taking.claim.path)} could not be taken: {why}")
            left = {number: path for number, path in left.items() if number not in ids}
            if not left:
                return [ids[number] for number in range(len(paths))]
            await asyncio.sleep(PAUSE * (attempt + 1))
        raise UsageError(
            f"{os.fsdecode(next(iter(left.values())))} is still being written",
            help="run again when its writer is done",
        )

    async def _pumping(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            self._wake.clear()
            self._begin_groups()
            timer = None
            if (wait := self._wait()) is not None:
                timer = loop.call_later(wait, self._wake.set)
            await self._wake.wait()
            if timer is not None:
                timer.cancel()

    def _begin_groups(self) -> None:
        while len(self._groups) < DEPTH and self._clock.monotonic() >= self._paused_until:
            limit = min(GROUP, self._room(self._settler.handed_out))
            batch = self._settler.take(limit) if limit > 0 else []
            if not batch:
                return
            group = asyncio.create_task(self._group(batch))
            self._groups.add(group)
            group.add_done_callback(self._group_done)

    def _wait(self) -> float | None:
        """Seconds until there may be something to begin; None: until woken."""
        due = self._settler.next_due()
        if due is None or len(self._groups) >= DEPTH:
            return None
        wait = max(due, self._paused_until) - self._clock.monotonic()
        # Ready but not begun: there is no room, and nobody needs to tell when there is again.
        return max(wait, ROOM_POLL if due == 0.0 or wait <= 0 else 0.0)

    def _group_done(self, group: asyncio.Task[None]) -> None:
        self._groups.discard(group)
        self._wake.set()
        self._task_done(group)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        """What ended by an error ends intake, and with it the server."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed = error
            self._stopping.set()
            if self._on_fatal is not None:
                self._on_fatal(error)
            else:
                context = {"message": "intake ended", "exception": error}
                task.get_loop().call_exception_handler(context)
        if self._stopping.is_set() or not self._busy():
            self._idle.set()

    def _busy(self) -> bool:
        return bool(len(self._settler) or self._groups or self.unfinished)

    async def _group(self, batch: list[Waiting]) -> None:
        """One group from look to commit; whatever happens, its files are given back to the settler."""
        takings: list[Taking] = []
        others: list[tuple[Waiting, Look, Verdict]] = []
        with Folders() as folders:
            try:
                takings, others = await self._run(
                    self.claimer.inspect, batch, self._settler, folders
                )
                refs = await self.claimer.claim(takings, folders, self._run) if takings else []
            except Stopping:
                return
            except LedgerSyncError:
                raise
            except SystemFault as fault:
                self._trouble(fault)
                for each in takings:
                    each.end = each.end or End.TROUBLE
                refs = []
        self._ended(takings, refs)
        for waiting, seen, verdict in others:
            self._unready(waiting, seen, verdict)
        if refs:
            self._report.recovered()

    def _ended(self, takings: Sequence[Taking], refs: list[FileRef]) -> None:
        """Say what became of a claim group's files and give them back to the settler."""
        for each in takings:
            self._say(each)
            waiting = each.waiting
            if waiting is None:
                continue
            if each.way is Way.COPY and each.end in {End.TAKEN, End.KNOWN}:
                self._seen.add(each.claim.path, each.claim.identity)
            if each.end is End.STUCK and each.error is not None:
                self.unfinished.put([each.claim])
            keep = each.end in {End.TROUBLE, End.CHANGED}
            if keep:
                self._settler.put_off(waiting)
            self._settler.give_back(waiting, keep=keep)
        if refs:
            self._on_ingested(refs)

    def _say(self, taking: Taking) -> None:
        claim, report = taking.claim, self._report
        if taking.end is End.TAKEN:
            report.ingested(claim, taking.taken_ns)
            if taking.refusal:
                report.rejected(claim.file, claim.relative, taking.refusal)
            if taking.error is not None:
                self._trouble(taking.error)
        elif taking.end is End.VANISHED:
            report.vanished(claim.source, claim.relative)
        elif taking.end is End.REFUSED:
            report.ignored(claim.source, claim.path, claim.relative, taking.reason)
        elif taking.error is not None:
            self._trouble(taking.error)

    def _unready(self, waiting: Waiting, seen: Look, verdict: Verdict) -> None:
        sighting = waiting.sighting
        if verdict is Verdict.REFUSED:
            self._report.ignored(sighting.source, sighting.path, sighting.relative, seen.refused)
        elif verdict is Verdict.GONE and waiting.identity is not None:
            self._report.vanished(sighting.source, sighting.relative)
        if seen.trouble is not None and seen.trouble.errno in MACHINE_ERRORS:
            self._trouble(seen.trouble)
        self._settler.give_back(waiting, keep=verdict is Verdict.WAIT)

    def _trouble(self, error: BaseException) -> None:
        """The machine failed: say it once, and pause."""
        self._paused_until = self._clock.monotonic() + TROUBLE_PAUSE
        self._report.trouble(error)

    def _located(self, ref: FileRef) -> FileRef:
        """A recovered file with the absolute path of its content, where the ledger gave the reference."""
        if ref.path.startswith(b"/"):
            return ref
        return msgspec.structs.replace(ref, path=self._content.path(ref.path.decode()))

    async def _sweep(self, listed: Sequence[str]) -> None:
        try:
            swept = await sweep(listed, ledger=self._ledger, content=self._content)
        except (SystemFault, OSError) as error:
            self._report.trouble(error)
            return
        if swept.unknown:
            self._report.orphans(swept.unknown)

    async def _run(self, function: Callable[..., T], *args: object) -> T:
        """Run a function in one of intake's threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)
