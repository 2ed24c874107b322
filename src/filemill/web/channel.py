"""The web child's end of the socket pair: what the server tells, and asking it to do things."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar

import msgspec

from filemill.model.errors import Busy, SystemFault
from filemill.service import acts, replies
from filemill.service.asking import raised
from filemill.service.face_frames import (
    LENGTH,
    MOST,
    Answered,
    Asked,
    Listening,
    Noted,
    Opening,
    pack,
    to_child,
)

PATIENCE = 120.0
"""Seconds in which the server must have answered."""
A = TypeVar("A")
ADDRESS: ContextVar[str] = ContextVar("address", default="")
"""Where the request comes from that is answered; what is asked of the server for it says so."""


class Channel:
    """One per process; in its event loop."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._writer: asyncio.StreamWriter | None = None
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[replies.Answer | replies.HandedOut]] = {}
        self._task: asyncio.Task[None] | None = None
        self._told: Callable[[Opening], None] = lambda _: None
        self._gone = False

    async def open(self, ended: Callable[[], None], told: Callable[[Opening], None]) -> Opening:
        """How to serve; `told` is called when that changes, `ended` when the server is gone.

        Raises:
            asyncio.IncompleteReadError: it is gone already.
        """
        reader, self._writer = await asyncio.open_unix_connection(sock=self._connection, limit=MOST)
        first = to_child(await self._next(reader))
        assert isinstance(first, Opening), "the server opens"  # noqa: S101
        self._told = told
        self._task = asyncio.create_task(self._listen(reader, ended), name="channel")
        return first

    @property
    def gone(self) -> bool:
        """True once the server has ended, or ends."""
        return self._gone

    def listening(self) -> None:
        """Tell the server that requests are answered."""
        assert self._writer is not None  # noqa: S101 -- open comes first
        self._writer.write(pack(Listening(os.getpid())))

    def note(self, message: str, help: str = "") -> None:  # noqa: A002 -- the word users read
        """Have the server tell this to the person who watches it."""
        if self._writer is not None and not self._gone:
            self._writer.write(pack(Noted(message, help)))

    async def ask(
        self,
        act: acts.Request | acts.Look | acts.Measure | acts.HandOut,
        principal: str,
        answer: type[A],
    ) -> A:
        """Have the server do this.

        Raises:
            FilemillError: as the server says.
            Busy: it went away: what was asked may be done.
        """
        if self._writer is None or self._writer.is_closing() or self._gone:
            raise Busy("the server is ending", help="ask again when it runs")
        number = next(self._numbers)
        future: asyncio.Future[replies.Answer | replies.HandedOut]
        future = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self._writer.write(pack(Asked(number, principal, act, ADDRESS.get())))
            async with asyncio.timeout(PATIENCE):
                got = await future
                found = got if isinstance(got, replies.HandedOut) else raised(got)
        except ConnectionError as error:
            raise Busy("the server is ending", help="ask again when it runs") from error
        except TimeoutError as error:
            raise SystemFault(
                "the server does not answer", help="filemill status shows what it does"
            ) from error
        finally:
            self._waiting.pop(number, None)
        if not isinstance(found, answer):
            raise SystemFault("the server answered something else than it was asked")
        return found

    async def _next(self, reader: asyncio.StreamReader) -> bytes:
        (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
        return await reader.readexactly(length)

    async def _listen(self, reader: asyncio.StreamReader, ended: Callable[[], None]) -> None:
        try:
            while True:
                message = to_child(await self._next(reader))
                if isinstance(message, Answered):
                    if (future := self._waiting.get(message.number)) and not future.done():
                        future.set_result(message.answer)
                else:
                    self._told(message)
        except (asyncio.IncompleteReadError, ConnectionError, msgspec.MsgspecError):
            pass  # the server is gone, or ends
        finally:
            self._gone = True
            gone = Busy("the server ended before it answered", help="look whether it was done")
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(gone)
            ended()
