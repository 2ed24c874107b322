"""Claim groups: from settled files to acknowledged ones, in the durable order.

    look -> [CLAIMING commit] -> move into content -> sync as one group -> [INGESTED commit] -> let go

The row comes first, so whatever a crash leaves in content is named by a row, and the commit that
acknowledges comes last, so whatever is acknowledged is on the disk. A file is either still in its source, or in content
under a CLAIMING row, or acknowledged; `recovery` finishes or undoes the middle.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from filemill.durable import Durable
from filemill.intake.limits import refusal, source_tags
from filemill.intake.looking import Folders, look
from filemill.intake.moving import End, Mover, Taking, Way
from filemill.intake.settle import Look, Settler, Verdict, Waiting
from filemill.model.errors import LedgerSyncError, SystemFault
from filemill.model.events import Emit, SystemRecovered, SystemTrouble
from filemill.model.files import Claim, Facts, FileRef
from filemill.ports.clock import Clock, Ids
from filemill.ports.content import Content
from filemill.ports.ledger import Ledger, Routing
from filemill.ports.source import SourceSettings

T = TypeVar("T")


class Run(Protocol):
    """Runs a function in one of intake's threads."""

    def __call__(self, function: Callable[..., T], /, *args: object) -> Awaitable[T]: ...


LEDGER_RETRY = 1.0
"""Seconds between attempts at a commit that the ledger could not make (full, unreachable)."""


class Stopping(Exception):
    """Intake is told to stop while a commit cannot be made; the CLAIMING rows wait for the next start."""


class Claimer:
    """Takes groups of files. One group is one call; several may run at once."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        content: Content,
        durable: Durable,
        clock: Clock,
        ids: Ids,
        emit: Emit,
        stopping: asyncio.Event,
        on_moved: Callable[[FileRef], None],
        on_acknowledging: Callable[[FileRef], None],
    ) -> None:
        self._ledger = ledger
        self._content = content
        self._clock = clock
        self._ids = ids
        self._emit = emit
        self._stopping = stopping
        self._on_moved = on_moved
        self._on_acknowledging = on_acknowledging
        self._device: int | None = None
        self._mover = Mover(content, durable)

    def inspect(
        self, batch: Sequence[Waiting], settler: Settler, folders: Folders
    ) -> tuple[list[Taking], list[tuple[Waiting, Look, Verdict]]]:
        """Look at each file of a batch: those that are ready, and the others with what was seen. In a thread."""
        ready: list[tuple[Waiting, Look]] = []
        others: list[tuple[Waiting, Look, Verdict]] = []
        clock = self._clock
        for waiting in batch:
            seen = look(folders, waiting.settings.root, waiting.sighting.relative, clock)
            verdict = settler.judge(waiting, seen)
            if verdict is Verdict.READY:
                ready.append((waiting, seen))
            else:
                others.append((waiting, seen, verdict))
        ready.sort(key=lambda each: each[1].changed_ns)  # a scan finds them in no order at all
        return self._takings(ready, others), others

    def taking(
        self,
        settings: SourceSettings,
        relative: bytes,
        seen: Look,
        *,
        file: str,
        path: bytes,
        reference: str,
        way: Way | None = None,
        waiting: Waiting | None = None,
        tags: Sequence[str] = (),
        again: bool = False,
    ) -> Taking:
        """One file's claim. `way` None: as its source's settings and the file's own links and device ask.

        A file that is copied whatever its source says is kept by its owner, so its copy goes when it is done.
        """
        identity = seen.identity
        assert identity is not None  # noqa: S101 -- only files that were seen get here
        if way is None:
            way = self._way(settings, seen)
        given = source_tags(settings, relative)
        claim = Claim(
            file=file,
            source=settings.name,
            path=path,
            relative=relative,
            identity=identity,
            content=reference,
            claimed_ns=self._clock.wall_ns(),
            tags=tuple(dict.fromkeys((*given, *tags))) if tags else given,
            how="copy" if way is Way.COPY else "rename",
            priority=settings.priority,
            after=settings.after,
            again=again,
        )
        return Taking(claim, way, settings, waiting, refusal(settings, relative, identity.size))

    async def claim(
        self,
        takings: Sequence[Taking],
        folders: Folders,
        run: Run,
    ) -> list[FileRef]:
        """Take a group: every taking gets its `end`; answers with the files acknowledged and accepted.

        Raises:
            LedgerSyncError: a commit's fate is unknown; the server must end and recover.
            SystemFault: the ledger could not note the claims; every file is still in its source.
            Stopping: told to stop before the group could be finished; recovery will.
        """
        fresh = await self._ledger.begin_claims([each.claim for each in takings])
        begun: list[Taking] = []
        for each, is_fresh in zip(takings, fresh, strict=True):
            if is_fresh:
                begun.append(each)
            else:
                each.end = End.KNOWN
        if not begun:
            return []
        lone = self._lone(begun)
        await run(self._mover.move, begun, folders, lone and self._telling(lone))
        moved = [each for each in begun if each.end is None]
        if moved:
            now = self._clock.wall_ns()
            files = [each.claim.file for each in moved]

            def ingest() -> Awaitable[list[bool]]:
                if lone is not None:
                    self._on_acknowledging(lone)
                return self._ledger.ingest(files, now, more=lone is not None)

            for each, done in zip(moved, await self.insist(ingest), strict=True):
                each.end = End.TAKEN if done else End.STUCK
                each.taken_ns = now
            await self._reject(moved)
            if any(each.held_at for each in moved):
                await run(self._mover.let_go, moved)
        if len(moved) < len(begun):
            ended = (End.STUCK, End.TAKEN)
            back = [each.claim.file for each in begun if each.end not in ended]
            await self.insist(lambda: self._ledger.abandon(back))
        return [
            self.file_ref(each.claim)
            for each in moved
            if each.end is End.TAKEN and not each.refusal
        ]

    def _lone(self, begun: Sequence[Taking]) -> FileRef | None:
        """A file that is claimed alone, for which time is all that counts."""
        return self.file_ref(begun[0].claim) if len(begun) == 1 and not begun[0].refusal else None

    def _telling(self, lone: FileRef) -> Callable[[], object]:
        """What tells the event loop, from a thread, that the file's bytes are in content."""
        return functools.partial(
            asyncio.get_running_loop().call_soon_threadsafe, self._on_moved, lone
        )

    def now(self) -> int:
        """Wall time, nanoseconds."""
        return self._clock.wall_ns()

    def file_ref(self, claim: Claim) -> FileRef:
        """An acknowledged claim as workers see it."""
        return claim.taken(self._content.path(claim.content))

    async def insist(self, commit: Callable[[], Awaitable[T]]) -> T:
        """Make a commit that has to be made: again and again while the ledger is full or unreachable.

        Raises:
            LedgerSyncError: its fate is unknown.
            Stopping: told to stop meanwhile.
        """
        troubled = False
        while True:
            try:
                done = await commit()
            except LedgerSyncError:
                raise
            except SystemFault as fault:
                if not troubled:
                    self._emit(
                        SystemTrouble(
                            at_ns=self._clock.wall_ns(),
                            what="ledger",
                            message=fault.message,
                            help=fault.help,
                        )
                    )
                troubled = True
                try:
                    await asyncio.wait_for(self._stopping.wait(), LEDGER_RETRY)
                except TimeoutError:
                    continue
                raise Stopping from fault
            if troubled:
                self._emit(SystemRecovered(at_ns=self._clock.wall_ns(), what="ledger"))
            return done

    async def reject(self, refused: Iterable[tuple[str, str]]) -> None:
        """Note acknowledged files as rejected: (file, reason) pairs."""
        now = self._clock.wall_ns()
        routings = [Routing(Facts(file=file, refused=why), at_ns=now) for file, why in refused]
        if routings:
            await self.insist(lambda: self._ledger.route(routings))

    async def _reject(self, moved: Sequence[Taking]) -> None:
        await self.reject(
            (each.claim.file, each.refusal)
            for each in moved
            if each.refusal and each.end is End.TAKEN
        )

    def _takings(
        self, ready: Sequence[tuple[Waiting, Look]], others: list[tuple[Waiting, Look, Verdict]]
    ) -> list[Taking]:
        files = [self._ids.new() for _ in ready]
        try:
            references = self._content.reserve(files)
            if self._device is None and ready:
                self._device = os.stat(self._content.path(references[0]).rpartition(b"/")[0]).st_dev
        except OSError as error:
            for waiting, _ in ready:
                trouble = Look(trouble=error)
                waiting.failures += 1
                waiting.due = self._clock.monotonic() + LEDGER_RETRY
                others.append((waiting, trouble, Verdict.WAIT))
            return []
        takings: list[Taking] = []
        for (waiting, seen), file, reference in zip(ready, files, references, strict=True):
            sighting = waiting.sighting
            taking = self.taking(
                waiting.settings,
                sighting.relative,
                seen,
                file=file,
                path=sighting.path,
                reference=reference,
                waiting=waiting,
            )
            if taking.refusal and taking.way is not Way.ADOPT:
                # Rejecting it would mean copying what nobody wants: it stays where it is, and is said.
                others.append((waiting, Look(refused=taking.refusal), Verdict.REFUSED))
            else:
                takings.append(taking)
        return takings

    def _way(self, settings: SourceSettings, seen: Look) -> Way:
        if settings.claim == "copy" or settings.after == "keep":
            return Way.COPY
        if (
            self._content.seals  # renamed in, it would lie there plain
            or seen.links > 1
            or (seen.identity is not None and seen.identity.device != self._device)
        ):
            return Way.GRAB
        return Way.ADOPT
