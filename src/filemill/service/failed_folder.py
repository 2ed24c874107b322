"""The folder of what failed (`failed: {folder: errors}`): a copy of each dead original, and why, while it is dead.

The ledger is the truth and the folder its picture. Events are hints; what is missing or outlived is found by asking the
ledger, so that nothing is forgotten whatever was interrupted:

    [run is dead] -> copy written aside, synced, renamed -> reason the same way -> [commit: this death is told of]
    [run is not dead any more] -> copy and reason removed -> [commit: forgotten]

A crash before a commit repeats a step that finds its work done. Each death is told of once: what a person takes away
does not come back, and a copy that they changed is theirs and stays. Whatever is wrong with the folder's disk is said
and tried again later; nothing waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from filemill.durable import Durable
from filemill.ledgers.sqlite.reading import SqliteReading
from filemill.model.errors import FilemillError, LedgerSyncError, NotFound, SystemFault, plainly
from filemill.model.events import (
    CopiesRecovered,
    CopiesTrouble,
    Emit,
    Event,
    FileRejected,
    RunFailed,
)
from filemill.model.plan import Plan
from filemill.ports.clock import Clock
from filemill.ports.ledger import Ledger
from filemill.ports.reading import FailureRow, Reading
from filemill.queries import Queries
from filemill.service.copying import Copies, safe_name
from filemill.service.originals import Originals, pieces
from filemill.service.reasons import reason_of, text_of

LOOK_EVERY = 2.0
"""Seconds between two looks at what people did meanwhile; more where one look takes long."""
AGAIN_AFTER = 10.0
"""Seconds until a folder that failed is tried again."""
LAST = 5.0
"""Seconds that the last look at a stop may take."""
_SHARE = 20
_GROUP = 100
_MODE = 0o700


class FailedFolders:
    """The folder that the configuration in force names, if it names one: kept, exchanged by a reload, given up."""

    def __init__(self, ledger: Ledger, durable: Durable, clock: Clock, emit: Emit) -> None:
        self._ledger = ledger
        self._durable = durable
        self._clock = clock
        self._emit = emit
        self._kept: FailedFolder | None = None

    def hint(self, event: Event) -> None:
        """Take note of an event, as `FailedFolder.hint` does."""
        if self._kept is not None:
            self._kept.hint(event)

    async def keep(self, plan: Plan) -> None:
        """Keep the folder that this plan names, and no other."""
        if self._kept is not None and self._kept.folder == plan.failed_folder:
            return
        await self.stop()
        if not plan.failed_folder:
            return
        self._kept = FailedFolder(
            plan.failed_folder,
            plan.data,
            ledger=self._ledger,
            reading=SqliteReading.open(os.path.join(plan.data, "ledger.db")),
            durable=self._durable,
            clock=self._clock,
            emit=self._emit,
        )
        await self._kept.start()

    async def stop(self) -> None:
        """Keep none any more. Idempotent."""
        kept, self._kept = self._kept, None
        if kept is not None:
            await kept.stop()


class FailedFolder:
    """Keeps the folder. Lives in one event loop: `start`, `stop`."""

    def __init__(
        self,
        folder: str,
        data: str,
        *,
        ledger: Ledger,
        reading: Reading,
        durable: Durable,
        clock: Clock,
        emit: Emit,
    ) -> None:
        self.folder = folder
        self._copies = Copies(folder, durable, mode=_MODE)
        self._ledger = ledger
        self._reading = reading
        self._queries = Queries(reading, clock)
        self._originals = Originals(data)
        self._clock = clock
        self._emit = emit
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._troubled = False
        self._stopping = False

    def hint(self, event: Event) -> None:
        """Take note of an event: something may have died. From any thread; never blocks, never raises."""
        if (isinstance(event, RunFailed) and event.state == "dead") or isinstance(
            event, FileRejected
        ):
            with contextlib.suppress(RuntimeError):  # the loop has ended: the next start looks
                self._loop.call_soon_threadsafe(self._wake.set)

    async def start(self) -> None:
        """Begin to keep it."""
        self._task = asyncio.create_task(self._keep(), name="failed folder")

    async def stop(self) -> None:
        """Stop, after a last look. Idempotent."""
        task, self._task = self._task, None
        if task is None:
            return
        self._stopping = True
        self._wake.set()
        await asyncio.wait({task}, timeout=LAST)
        task.cancel()  # what is left is found at the next start
        await asyncio.gather(task, return_exceptions=True)
        self._reading.close()

    async def _keep(self) -> None:
        while True:
            self._wake.clear()
            last = self._stopping
            began = time.monotonic()
            worked = await self._try()
            if last:
                return
            took = time.monotonic() - began
            wait = max(LOOK_EVERY, _SHARE * took) if worked else AGAIN_AFTER
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()
                    while not (worked or self._stopping):
                        # Where the disk fails, a hint is no reason to try again at once.
                        self._wake.clear()
                        await self._wake.wait()

    async def _try(self) -> bool:
        """Bring the folder up to date; False where its disk does not let us, which is said once."""
        try:
            while await self._some():
                pass
        except LedgerSyncError:
            raise
        except (OSError, SystemFault) as error:
            if not self._troubled:
                self._troubled = True
                self._emit(
                    CopiesTrouble(
                        at_ns=self._clock.wall_ns(),
                        folder=self.folder,
                        message=plainly(error),
                        help="make room, or mend the folder; what is missing is copied then",
                    )
                )
            return False
        if self._troubled:
            self._troubled = False
            self._emit(CopiesRecovered(at_ns=self._clock.wall_ns(), folder=self.folder))
        return True

    async def _some(self) -> bool:
        """Remove and make some copies; says whether there was anything to do."""
        gone, due = await asyncio.to_thread(
            lambda: (self._reading.outlived(_GROUP), self._reading.uncopied(_GROUP))
        )
        if gone:
            await asyncio.to_thread(self._remove, gone)
            await self._ledger.forget_copies([row.subject for row in gone])
        made = await asyncio.to_thread(lambda: list(self._make(due))) if due else []
        if made:
            await self._ledger.note_copies(made)
        return bool(gone or made)

    def _make(self, due: Iterable[FailureRow]) -> Iterator[tuple[str, int, str, str]]:
        """Copy these; (subject, death, name, digest) of each that is in the folder now."""
        with self._copies.alone():
            for row in due:
                try:
                    history = self._queries.file(row.file)
                except FilemillError:
                    continue
                run = next((r for r in history.runs if r.summary.run == row.subject), None)
                if row.subject != row.file and (run is None or run.summary.state_ns != row.died_ns):
                    continue  # it moved on since it was looked up
                name = safe_name(history.summary.relative, row.subject)
                if row.name:
                    self._copies.remove_reason(row.name)
                with contextlib.ExitStack() as stack:
                    source: BinaryIO | None = None
                    with contextlib.suppress(NotFound):
                        source = stack.enter_context(self._originals.open(history.content))
                    bytes_ = pieces(source) if source is not None else None
                    digest = _digest(source) if source is not None else ""
                    self._copies.add(name, bytes_, text_of(reason_of(history, run)))
                yield row.subject, row.died_ns, name, digest

    def _remove(self, gone: Iterable[FailureRow]) -> None:
        """Take these copies away; one that somebody changed stays, without its reason."""
        with self._copies.alone():
            for row in gone:
                if self._is_ours(row):
                    self._copies.remove(row.name)
                else:
                    self._copies.remove_reason(row.name)

    def _is_ours(self, row: FailureRow) -> bool:
        """Say whether the copy has the bytes that were copied, or the original's; if nobody can tell, it has not."""
        try:
            with os.fdopen(self._copies.open(row.name), "rb", buffering=0) as copy:
                if row.digest:
                    return _digest(copy) == row.digest
                history = self._queries.file(row.file)
                with self._originals.open(history.content) as original:
                    return _same(original, copy)
        except FilemillError:
            return False
        except OSError:
            return False


def _digest(source: BinaryIO) -> str:
    """sha256 of its bytes, hex."""
    found = hashlib.sha256()
    for piece in pieces(source):
        found.update(piece)
    return found.hexdigest()


def _same(one: BinaryIO, other: BinaryIO) -> bool:
    if os.fstat(one.fileno()).st_size != os.fstat(other.fileno()).st_size:
        return False
    return all(a == b for a, b in zip(pieces(one), pieces(other), strict=True))
