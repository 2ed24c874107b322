"""What a running server has to do with a rotation of keys: the commits, and telling how far it is.

The command that rotates has the identity, and writes the bytes; here they get another name, if nobody has them in hand.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from filemill.contents.local import LocalContent
from filemill.encryption.age import key_in
from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.model.deeds import Deed
from filemill.model.errors import Busy, UsageError
from filemill.ports.clock import Clock
from filemill.service import acts, replies
from filemill.service.acting import Handler

_QUIET_NS = 60 * 10**9
"""After so long without a word the command that rotates has gone."""
_REFERENCE = re.compile(
    r"([a-z2-7]{5}/[a-z2-7]{13}(?:\.\d+)?(?:\.input)?)(?:\.[0-9a-f]{8}\.age)?\Z"
)


class Rotation:
    """The acts of a rotation. In one event loop."""

    def __init__(self, ledger: SqliteLedger, content: LocalContent, clock: Clock) -> None:
        self._ledger = ledger
        self._content = content
        self._clock = clock
        self._now: replies.RotationNow | None = None

    @property
    def handlers(self) -> Mapping[Any, Handler]:
        """By kind of act."""
        return {acts.MoveContent: self.move, acts.Reword: self.reword}

    @property
    def now(self) -> replies.RotationNow | None:
        """How far it is; None while none is heard of."""
        now = self._now
        return now if now is not None and self._clock.wall_ns() - now.at_ns < _QUIET_NS else None

    async def move(self, act: acts.MoveContent, deed: Deed) -> Sequence[bool]:
        """Have the ledger name the new bytes.

        Raises:
            UsageError: these are no references of one content, or not for whom this server encrypts.
            Busy: the server was started anew meanwhile.
        """
        self._must_be_ours(act.server)
        for old, new in act.moves:
            found = _REFERENCE.match(old), _REFERENCE.match(new)
            if not all(found) or len({each[1] for each in found if each}) != 1:
                raise UsageError("these are no two references of one content")
            if key_in(new) != self._content.key or old == new:
                raise UsageError("this server encrypts for others", help="start it again")
        if self.now is None:
            await self._ledger.note("rotate", ["content"], "{}", deed)
        if not await asyncio.to_thread(self._are_there, [new for _, new in act.moves]):
            raise UsageError("the new bytes are gone", help="rotate again")
        moved = await self._ledger.move_at_rest(act.moves) if act.moves else []
        done = act.done + sum(moved)
        self._now = None if act.over else replies.RotationNow(done, act.of, self._clock.wall_ns())
        return moved

    async def reword(self, act: acts.Reword, deed: Deed) -> Sequence[bool]:
        """Have the ledger say the same in other words.

        Raises:
            Busy: the server was started anew meanwhile.
        """
        del deed
        self._must_be_ours(act.server)
        changed = await self._ledger.reword(
            lambda text: act.words.get(text, text), act.after, act.last
        )
        return [True] * changed

    def _must_be_ours(self, server: int) -> None:
        if server != os.getpid():
            raise Busy(
                "the server was started anew meanwhile",
                help="rotate again: it goes on where it was",
            )

    def _are_there(self, references: Sequence[str]) -> bool:
        return all(map(self._content.exists, references))
