"""The ledger's writer without its thread: the same groups in the same transactions, at moments that chance decides."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from typing import Any

import apsw

from filemill.durable import Durable
from filemill.ledgers.sqlite.reserve import Reserve
from filemill.ledgers.sqlite.writer import GROUP, Writer, _resolve
from filemill.model.errors import LedgerSyncError

FULL = 2
"""What SQLite answers when each commit is synced."""


class SimulatedWriter(Writer):
    """Commits in the event loop. `strikes` says of a commit that is made now whether the power goes within it."""

    def __init__(
        self,
        db: apsw.Connection,
        durable: Durable,
        reserve: Reserve | None,
        *,
        chance: random.Random,
        strikes: Callable[[], str],
        cut: Callable[[], None],
        after: Callable[[], None],
    ) -> None:
        self._chance = chance
        self._strikes = strikes
        self._cut = cut
        self._after = after
        self._asked: list[Any] = []
        self._due = False
        self.path = db.filename
        super().__init__(db, durable, reserve)
        self._sure = self._log()
        """The log as a cut leaves it at least, where commits are not synced."""
        self._before: bytes | None = None
        """What it was before the commit that a cut is striking."""

    def _begin(self) -> None:
        """No thread."""

    def _hand_over(self) -> None:
        self._asked.extend(self._kept)
        self._kept.clear()
        if self._asked and not self._due and not self._closed:
            self._due = True
            late = self._chance.choice((0.0, 0.0, 0.001, 0.02))
            asyncio.get_running_loop().call_later(late, self._turn)

    def _turn(self) -> None:
        self._due = False
        group, self._asked = self._asked[:GROUP], self._asked[GROUP:]
        if group:
            answers = self._do(group)
            asyncio.get_running_loop().call_soon(_resolve, answers)
        if self._pages > 200 and self._chance.random() < 0.2:
            self._checkpoint(apsw.SQLITE_CHECKPOINT_PASSIVE)
            self._sure = self._log()
        if self._asked:
            self._due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _commit(self) -> None:
        how = self._strikes()
        if how == "cut":
            self._before = self._log()
        super()._commit()
        if how == "cut":
            self._cut()
        if how == "unknown":
            raise LedgerSyncError("the ledger's commit failed and its fate is unknown: played")
        self._after()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await asyncio.sleep(0)
        self._hand_over()
        while self._asked:
            self._turn()
        self._end()

    def _end(self) -> None:
        self._checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE)
        if self._broken is not None:
            self._db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self._db.close()

    def abandon(self) -> None:
        """Let go of the file as a killed process does."""
        self._closed = True
        try:
            self._db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            self._db.close(True)
        except apsw.Error:
            pass

    def left(self, *, power: bool) -> dict[str, bytes]:
        """What is in the ledger's files after a kill or a cut now, by path."""
        found = {}
        for path in (self.path, f"{self.path}-wal"):
            if os.path.exists(path):
                with open(path, "rb") as file:
                    found[path] = file.read()
        log = f"{self.path}-wal"
        if power and log in found:
            found[log] = self._torn(found[log])
        return found

    def _torn(self, now: bytes) -> bytes:
        """The log after a cut: what is sure, and of what came later as much as chance decides."""
        if self._before is None and self._db.pragma("synchronous") >= FULL:
            return now
        least = self._sure if self._db.pragma("synchronous") < FULL else self._before or b""
        cut = self._chance.choice((0.0, 0.3, 0.7, 1.0))
        if cut == 1.0:
            return now
        at = len(least) + int((len(now) - len(least)) * cut) if len(now) >= len(least) else 0
        return now[:at] + least[at:]

    def _log(self) -> bytes:
        try:
            with open(f"{self.path}-wal", "rb") as file:
                return file.read()
        except FileNotFoundError:
            return b""
