"""Doing what people ask: each act is one or two moves in the ledger, and a word to the parts of a running server.

The same handlers serve the control socket and, where no server runs, the command itself under the instance lock.
"""

from __future__ import annotations

import json
import pwd
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from filemill.engine.dispatching import Dispatcher
from filemill.engine.inspecting import InspectionDesk
from filemill.engine.publishing import Publisher
from filemill.engine.revealing import Staged
from filemill.engine.serving import Revisions
from filemill.model.deeds import Deed
from filemill.model.errors import LedgerSyncError, SystemFault, UsageError
from filemill.model.files import FileRef
from filemill.model.runs import Publication, RunOrder
from filemill.ports.clock import Clock
from filemill.ports.ledger import Ledger
from filemill.service import acts, replies

Handler = Callable[[Any, Deed], Awaitable[Sequence[bool] | replies.Made]]
"""Does one kind of act; says of each of its items whether it moved, or what was made."""

_GIVES_UP = (acts.DiscardRuns, acts.CancelRuns, acts.MendFile, acts.MoveContent, acts.EraseFiles)
"""After these nobody needs what was kept of the runs, or staged, or the bytes under their former reference."""


class LiveParts:
    """The parts of a running server that must hear of an act. `placed` gives a file of the ledger its real path."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        publisher: Publisher,
        desk: InspectionDesk,
        revisions: Revisions,
        placed: Callable[[FileRef], FileRef],
    ) -> None:
        self._dispatcher = dispatcher
        self._publisher = publisher
        self._desk = desk
        self._revisions = revisions
        self._placed = placed
        self.reload: Callable[[], Awaitable[replies.Reloaded]] | None = None
        """Takes the configuration on the disk; None where nobody can (a one-shot run)."""
        self.drain: Callable[[], None] | None = None
        """Tells the server to end; None as above."""

    def queued(self) -> None:
        """Runs may be leased."""
        self._dispatcher.wake()

    async def publish(
        self, orders: Sequence[RunOrder], publications: Sequence[Publication]
    ) -> None:
        """These runs wait to be published, through the sinks of their revisions."""
        for number in dict.fromkeys(order.revision for order in orders):
            await self._revisions.know_sinks(number)
        self._publisher.put(as_staged(orders, publications))

    def inspect(self, files: Sequence[FileRef]) -> None:
        """These files wait to be inspected; their path is their content reference."""
        self._desk.put([self._placed(file) for file in files])


class Actions:
    """The acts. `live` is None where no server runs: then the next start goes on with what was asked.

    `more` are handlers of acts that other parts do. `clear` removes bytes that the ledger gave up,
    `two_people` says whether a quarantined file needs two to be released.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        live: LiveParts | None = None,
        more: Mapping[Any, Handler] | None = None,
        *,
        clear: Callable[[], Awaitable[None]],
        two_people: Callable[[], bool],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._live = live
        self._clear = clear
        self._two_people = two_people
        self._handlers: dict[type[acts.Act], Handler] = {
            acts.RedriveRuns: self._redrive,
            acts.ReleaseRuns: self._release,
            acts.ReadmitFiles: self._readmit,
            acts.DiscardRuns: lambda act, deed: ledger.discard(act.runs, deed),
            acts.DiscardFiles: lambda act, deed: ledger.discard_files(act.files, deed),
            acts.EraseFiles: lambda act, deed: ledger.erase(act.files, deed),
            acts.CancelRuns: lambda act, deed: ledger.cancel(act.runs, deed),
            acts.ReplayRuns: self._replay,
            acts.PausePipelines: lambda act, deed: ledger.pause(act.pipelines, deed),
            acts.ResumePipelines: self._resume,
            acts.ResolveCauses: self._resolve,
            **(more or {}),
        }

    async def perform(
        self, act: acts.Request, principal: str, address: str = ""
    ) -> replies.Done | replies.Reloaded | replies.Made:
        """Do it, in one commit; a reload or a drain is the server's own affair.

        Raises:
            FilemillError: nothing was done.
        """
        deed = Deed(principal, self._clock.wall_ns(), act.reason, address)
        if isinstance(act, acts.Reload):
            reload = None if self._live is None else self._live.reload
            if reload is None:
                raise UsageError("no server is watching here", help="filemill run starts one")
            done = await reload()
            detail = {"revision": done.revision, "former": done.former, "taken": not done.problems}
            await self._ledger.note("reload", ["config"], json.dumps(detail), deed)
            return done
        if isinstance(act, acts.Drain):
            drain = None if self._live is None else self._live.drain
            if drain is None:
                raise UsageError("no server is watching here", help="filemill run starts one")
            await self._ledger.note("drain", ["server"], "{}", deed)
            drain()
            return replies.Done(())
        handler = self._handlers.get(type(act))
        if handler is None:
            raise UsageError("this needs a running server", help="filemill run")
        moved = await handler(act, deed)
        if isinstance(moved, replies.Made):
            return moved
        if any(moved) and isinstance(act, _GIVES_UP):
            try:
                await self._clear()
            except LedgerSyncError:
                raise
            except (SystemFault, OSError):
                pass  # it is done, and the bytes stay named: retention comes to them, and says what hinders it
        return replies.Done(tuple(moved), live=self._live is not None)

    async def _redrive(self, act: acts.RedriveRuns, deed: Deed) -> Sequence[bool]:
        moved = await self._ledger.redrive(act.runs, deed)
        if self._live is not None:
            runs = [each.run for each, ok in zip(act.runs, moved, strict=True) if ok]
            # Those that died when they published go to the publisher, not to a worker.
            await self._live.publish(*await self._ledger.publishing(runs))
            self._live.queued()
        return moved

    async def _release(self, act: acts.ReleaseRuns, deed: Deed) -> Sequence[bool]:
        return self._queued(await self._ledger.release(act.runs, deed))

    async def _replay(self, act: acts.ReplayRuns, deed: Deed) -> Sequence[bool]:
        return self._queued(await self._ledger.replay(act.runs, deed))

    async def _resume(self, act: acts.ResumePipelines, deed: Deed) -> Sequence[bool]:
        return self._queued(await self._ledger.resume(act.pipelines, deed))

    async def _readmit(self, act: acts.ReadmitFiles, deed: Deed) -> Sequence[bool]:
        people = 2 if act.unsafe and self._two_people() else 1
        moved = await self._ledger.readmit(act.files, deed, unsafe=act.unsafe, people=people)
        if self._live is not None:
            files = [file for file, ok in zip(act.files, moved, strict=True) if ok]
            self._live.inspect(await self._ledger.uninspected(files))
        return moved

    async def _resolve(self, act: acts.ResolveCauses, deed: Deed) -> Sequence[bool]:
        await self._ledger.resolve(act.fingerprints, 0, deed)
        return [True] * len(act.fingerprints)

    def _queued(self, moved: Sequence[bool]) -> Sequence[bool]:
        if self._live is not None:
            self._live.queued()
        return moved


def as_staged(orders: Sequence[RunOrder], publications: Sequence[Publication]) -> list[Staged]:
    """Runs that the ledger has as PUBLISHING, as the publisher takes them."""
    staged = {
        order.run: Staged(
            order.run,
            order.fence,
            order.pipeline,
            order.file,
            [],
            order.revision,
            kept=order.kept,
        )
        for order in orders
    }
    for publication in publications:
        staged[publication.run].publications.append(publication)
    return list(staged.values())


def principal_of(uid: int) -> str:
    """The name under which the audit knows a person of this machine."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid:{uid}"
