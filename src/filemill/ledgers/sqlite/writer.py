"""The one writer: a thread with the only writing connection, and group commit without a timer.

1. Requests wait in a queue. The thread takes all that wait and opens one `BEGIN IMMEDIATE`.
2. Each request works in its own SAVEPOINT: a request that fails is rolled back alone.
3. One COMMIT, and so one sync, for all. Whatever arrives meanwhile is the next group: a lone request commits at
   once, and under load groups form by themselves.
4. Answers go to each event loop in one wake-up, and only after the COMMIT.
5. Who knows that `more` is asked for in the loop's next turn says so: the steps of a lone file that follow one another
   without waiting are one commit, which chance alone would decide otherwise.

What fails a group: a full disk fails all of it and nothing is lost (`SystemFault`); but first the reserve file is given
up, and the group is done in its room. While it is spent, requests that begin new work are refused (`reserve`). A failed
sync leaves unknown what the disk holds, and asking again would lie (the kernel reports such an error once):
`LedgerSyncError` to all, and to every request after, until the process ends and recovery reads what is there.

The log is checkpointed here and nowhere else, after answers are out.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import apsw

from filemill.durable import Durable, InjectedFault
from filemill.ledgers.sqlite.opening import DISK_FULL
from filemill.ledgers.sqlite.reserve import Reserve
from filemill.ledgers.sqlite.soundness import RESTORE, suspect
from filemill.ledgers.sqlite.tally import Tally
from filemill.ledgers.sqlite.transaction import Transaction
from filemill.model.errors import (
    FilemillError,
    LedgerDamaged,
    LedgerSyncError,
    PermanentError,
    SystemFault,
)

_T = TypeVar("_T")
_Work = Callable[[Transaction], Any]
_Request = tuple[_Work, "asyncio.Future[Any]", asyncio.AbstractEventLoop, bool]
_Answer = tuple["asyncio.Future[Any]", Any, BaseException | None]

GROUP = 256
"""Most requests of one commit."""
TOGETHER = 8
"""Requests that wait for one another at most: many files that come one by one put nobody off for long."""
IDLE_PAGES = 1_000
"""Pages of log (4 MB) that are written back after a moment in which nothing was asked."""
IDLE_SECONDS = 0.5
MOST_PAGES = 16_000
"""Pages of log (64 MB) that are written back even under load. A page that many commits wrote is then copied once:
with a million files, writing back 4 MB at a time instead doubles the cost of a file."""

_ON_RESERVE = "the ledger's disk is full: what is under way is finished in the room of its reserve, nothing new begins"
_SYNC_FAILED = (
    "the disk under the data directory reported an error: look at `dmesg`, then start again"
)


class Writer:
    """Runs requests against the ledger, in order, grouped. Thread-safe."""

    def __init__(
        self, db: apsw.Connection, durable: Durable, reserve: Reserve | None = None
    ) -> None:
        self._db = db
        self._durable = durable
        self._reserve = reserve
        self._waiting: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._kept: deque[_Request] = deque()
        """Asked for, and more is about to be: not in the thread's queue yet."""
        self._handing_over: asyncio.Handle | None = None
        """What hands them over when nothing came in a turn of the loop."""
        self._broken: FilemillError | None = None
        self._closed = False
        self._pages = 0
        self.groups = 0
        """Commits so far that wrote something."""
        db.set_wal_hook(self._note_pages)
        self._begin()

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._work, name="ledger", daemon=True)
        self._thread.start()

    async def ask(
        self, work: Callable[[Transaction], _T], *, begins: bool = False, more: bool = False
    ) -> _T:
        """Do `work` in the next group and answer when that is committed.

        What `begins` new work is refused while the reserve is spent. With `more` it waits a turn of the loop for what
        is asked for then.

        Raises:
            SystemFault: nothing was done (disk full, closed).
            LedgerSyncError: what was done is unknown.
        """
        if self._closed:
            raise SystemFault("the ledger is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        self._kept.append((work, future, loop, begins))
        soon, self._handing_over = self._handing_over, None
        if soon is not None:
            soon.cancel()
        if more and len(self._kept) < TOGETHER:
            self._handing_over = loop.call_soon(self._hand_over)
        else:
            self._hand_over()
        return await future

    def _hand_over(self) -> None:
        """Give the thread what was asked for, in order; while this goes on it has no chance to take only the first."""
        with contextlib.suppress(IndexError):
            while True:
                self._waiting.put(self._kept.popleft())

    async def close(self) -> None:
        """Finish what was asked, write the log back, close. Idempotent."""
        if not self._closed:
            self._closed = True
            self._hand_over()
            self._waiting.put(None)
        await asyncio.to_thread(self._thread.join)

    def _note_pages(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        self._pages = pages
        return apsw.SQLITE_OK

    def _work(self) -> None:
        going = True
        while going:
            if self._pages > MOST_PAGES:
                self._checkpoint(apsw.SQLITE_CHECKPOINT_PASSIVE)
            group, going = self._take()
            _deliver(group, self._do(group))
        self._end()

    def _take(self) -> tuple[list[_Request], bool]:
        """Wait for one request, then take all that wait; False with the last group."""
        group: list[_Request] = []
        item = self._first()
        while item is not None:
            group.append(item)
            if len(group) == GROUP:
                return group, True
            try:
                item = self._waiting.get_nowait()
            except queue.Empty:
                return group, True
        return group, False

    def _first(self) -> _Request | None:
        """The next request; a pause before it is used to write the log back, once."""
        if self._pages > IDLE_PAGES:
            try:
                return self._waiting.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                self._checkpoint(apsw.SQLITE_CHECKPOINT_PASSIVE)
        return self._waiting.get()

    def _do(self, group: list[_Request]) -> list[_Answer]:
        if not group:
            return []
        if self._broken is not None:
            return [(future, None, self._broken) for _, future, _, _ in group]
        try:
            return self._commit_all(group)
        except (apsw.Error, OSError) as error:
            if not self._make_room(error):
                return self._fail_all(group, _translate(error))
        except FilemillError as error:
            return self._fail_all(group, error)
        return self._do(group)

    def _make_room(self, error: apsw.Error | OSError) -> bool:
        """Give the reserve up for a group that found the disk full; False if there is none, or it is not full."""
        if not _is_full(error) or self._reserve is None or not self._reserve.give_up():
            return False
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        return True

    def _commit_all(self, group: list[_Request]) -> list[_Answer]:
        """One transaction.

        Raises:
            apsw.Error: nothing of it is committed, or, of its sync, nobody knows (`LedgerSyncError`).
        """
        before = self._db.total_changes()
        self._db.execute("BEGIN IMMEDIATE")
        answers = self._answer_each(group)
        if self._db.total_changes() != before:
            self._durable.commit()
            self.groups += 1
        self._commit()
        return answers

    def _answer_each(self, group: list[_Request]) -> list[_Answer]:
        answers: list[_Answer] = []
        total = Tally()
        for work, future, _, begins in group:
            if begins and self._is_spent():
                answers.append((future, None, SystemFault(_ON_RESERVE, help=DISK_FULL)))
                continue
            tx = Transaction(self._db)
            result, error = self._in_savepoint(work, tx, alone=len(group) == 1)
            if error is None:
                total.merge(tx.tally)
            answers.append((future, result, error))
        if total.cells:
            total.write(Transaction(self._db))
        return answers

    def _is_spent(self) -> bool:
        """Whether the reserve is given up, and there is no room yet to have it again."""
        reserve = self._reserve
        return reserve is not None and reserve.spent and not reserve.renew()

    def _in_savepoint(
        self, work: _Work, tx: Transaction, *, alone: bool
    ) -> tuple[Any, BaseException | None]:
        """Do one request; its error rolls back only itself.

        Raises:
            apsw.Error: SQLite gave up the whole transaction (full, I/O error).
        """
        if not alone:
            self._db.execute("SAVEPOINT request")
        try:
            result = work(tx)
        except Exception as error:  # it is the caller's, who gets it
            if isinstance(error, apsw.Error) and (
                not self._db.in_transaction or isinstance(error, _CONDEMNS)
            ):
                raise
            # The tally is not merged, so a lone request leaves an empty transaction to commit.
            self._db.execute("ROLLBACK" if alone else "ROLLBACK TO request")
            if alone:
                self._db.execute("BEGIN IMMEDIATE")
            else:
                self._db.execute("RELEASE request")
            return None, _translate(error) if isinstance(error, apsw.Error) else error
        if not alone:
            self._db.execute("RELEASE request")
        return result, None

    def _commit(self) -> None:
        try:
            self._db.execute("COMMIT")
        except apsw.IOError as error:
            raise LedgerSyncError(
                f"the ledger's commit failed and its fate is unknown: {error}", help=_SYNC_FAILED
            ) from error

    def _fail_all(self, group: list[_Request], error: FilemillError) -> list[_Answer]:
        if isinstance(error, LedgerSyncError):
            self._broken = error
        if isinstance(error, LedgerDamaged):
            suspect(self._db.filename)
        with contextlib.suppress(apsw.Error):
            # After LedgerSyncError nothing is trusted anyway; after any other the rollback cannot fail
            # without SQLite having rolled back by itself.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        return [(future, None, error) for _, future, _, _ in group]

    def _checkpoint(self, mode: int) -> None:
        """Write the log back into the file; an I/O error here is as final as one in a commit."""
        if self._broken is not None:
            return
        try:
            _, copied = self._db.wal_checkpoint(mode=mode)
            self._pages = 0 if copied else self._pages
        except (apsw.BusyError, apsw.FullError):
            pass  # a reader is in the way, or no space to copy to: the log has everything
        except apsw.Error as error:
            self._broken = LedgerSyncError(
                f"writing the ledger's log back failed: {error}", help=_SYNC_FAILED
            )

    def _end(self) -> None:
        self._checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE)
        if self._broken is not None:
            self._db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self._db.close()
        while not self._waiting.empty():
            item = self._waiting.get()
            if item is not None:
                _deliver([item], [(item[1], None, SystemFault("the ledger is closed"))])


_CONDEMNS = (apsw.FullError, apsw.IOError, apsw.NoMemError, apsw.CorruptError, apsw.NotADBError)
"""Errors of a statement after which the whole group is rolled back, whether SQLite did so itself or not."""


def _is_full(error: apsw.Error | OSError) -> bool:
    """Say whether the disk is full, or a test says that it is."""
    if isinstance(error, InjectedFault):
        return error.errno == errno.ENOSPC
    return isinstance(error, apsw.FullError)


def _translate(error: apsw.Error | OSError) -> FilemillError:
    if _is_full(error):
        return SystemFault("the ledger's disk is full", help=DISK_FULL)
    if isinstance(error, OSError) and not isinstance(error, apsw.Error):
        return LedgerSyncError(f"the ledger's commit failed: {error}", help=_SYNC_FAILED)
    if isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
        return LedgerDamaged(f"the ledger is damaged: {error}", help=RESTORE)
    if isinstance(error, (apsw.ConstraintError, apsw.MismatchError, apsw.SQLError)):
        return PermanentError(f"the ledger refused a request: {error}")
    return SystemFault(f"the ledger cannot be written: {error}")


def _deliver(group: list[_Request], answers: list[_Answer]) -> None:
    """Hand answers to their event loops, one wake-up each."""
    loops: dict[asyncio.AbstractEventLoop, list[_Answer]] = {}
    for (_, _, loop, _), answer in zip(group, answers, strict=True):
        loops.setdefault(loop, []).append(answer)
    for loop, mine in loops.items():
        with contextlib.suppress(RuntimeError):  # that loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_resolve, mine)


def _resolve(answers: list[_Answer]) -> None:
    for future, result, error in answers:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
