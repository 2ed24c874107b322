"""Many files sent, a few at once: each until it is taken or refused, all of them within one patience."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import httpx2
import msgspec

from filemill.client import forms, parts
from filemill.client.address import Address
from filemill.client.connection import CONNECT, settings_of
from filemill.client.exchange import Again, Exchange, GaveUp, Turned
from filemill.client.files import Sendable, digest_of
from filemill.client.outcomes import ENDS, Outcome, Receipt
from filemill.client.parcels import Entrance, Parcel
from filemill.model.errors import FilemillError, PermanentError
from filemill.ports.clock import RandomIds, SystemClock
from filemill.ports.units import format_size

AT_ONCE = 4
_SILENCE = 300.0
"""Seconds in which an answer must begin: a server may have to read a large file once more before it promises it."""
_LOOK_FIRST, _LOOK_LONGEST = 0.05, 2.0


class Sending:
    """All files of one command. `outcomes` are in their order, and true at any moment.

    `counted` is told of bytes that went out (less than none: they have to go again), `tell` what a person should know.
    """

    def __init__(
        self,
        address: Address,
        entrance: Entrance,
        files: Sequence[Sendable],
        *,
        tags: Sequence[str],
        again: bool,
        patience: float,
        counted: Callable[[int], None],
        tell: Callable[[str], None],
    ) -> None:
        self.outcomes = [Outcome(file) for file in files]
        self._address = address
        self._entrance = entrance
        self._tags = tuple(tags)
        self._salt = RandomIds().new() if again else ""
        self._patience = patience
        self._counted = counted
        self._tell = tell

    async def send(self) -> None:
        """Send them. What is wrong with one file is in its outcome.

        Raises:
            GaveUp: the server took nothing for longer than there was patience.
            Turned: this key may not send.
        """
        async with self._client() as client:
            exchange = self._exchange(client)
            waiting = iter(self.outcomes)

            async def work() -> None:
                for each in waiting:
                    await self._one(exchange, each)

            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(AT_ONCE, len(self.outcomes))):
                        group.create_task(work())
            except* (GaveUp, Turned) as several:
                first = several.exceptions[0]
                assert isinstance(first, FilemillError)  # noqa: S101
                reason = first
            else:
                return
        raise reason

    async def await_ends(self, limit: float | None, ended: Callable[[], None]) -> None:
        """Return when nothing more happens to the files that were taken, or the time is over.

        Raises:
            GaveUp: as `send`.
            Turned: this key may not look at them.
        """
        async with self._client() as client:
            exchange = self._exchange(client)
            try:
                async with asyncio.timeout(limit):
                    for each in self.outcomes:
                        if each.receipt is not None:
                            await self._ends(exchange, each, each.receipt)
                            ended()
            except TimeoutError:
                return

    async def _ends(self, exchange: Exchange, each: Outcome, receipt: Receipt) -> None:
        pause = _LOOK_FIRST
        while True:

            async def look() -> httpx2.Response:
                return await exchange.request("GET", f"/files/{receipt.id}")

            answer = await exchange.persist(look)
            if answer.is_success:
                each.ended = msgspec.json.decode(answer.content)
            if not answer.is_success or each.state in ENDS:
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LOOK_LONGEST)

    async def _one(self, exchange: Exchange, each: Outcome) -> None:
        out = 0

        def sent(at: int) -> None:
            nonlocal out
            self._counted(at - out)
            out = at

        try:
            most = self._entrance.max_size
            if most is not None and each.file.size > most:
                raise PermanentError(f"{self._entrance.source} takes up to {format_size(most)}")
            each.digest = await digest_of(each.file)
            parcel = Parcel(each.file, each.digest, self._entrance, self._tags, self._salt)
            each.receipt = await exchange.persist(_way_of(exchange, parcel, sent))
        except (GaveUp, Turned):
            raise  # it is about all of them; this one is left, as others are
        except FilemillError as error:
            each.error = error
            sent(each.file.size)

    def _client(self) -> httpx2.AsyncClient:
        timeout = httpx2.Timeout(_SILENCE, connect=CONNECT, write=60.0, pool=None)
        return httpx2.AsyncClient(timeout=timeout, **settings_of(self._address))

    def _exchange(self, client: httpx2.AsyncClient) -> Exchange:
        return Exchange(
            client,
            self._address.url,
            patience=self._patience,
            clock=SystemClock(),
            tell=self._tell,
        )


def _way_of(
    exchange: Exchange, parcel: Parcel, sent: Callable[[int], None]
) -> Callable[[], Awaitable[Receipt]]:
    """How it goes: in one request, or in parts."""
    if parcel.file.size > parts.LARGE:
        return parts.Parts(exchange, parcel, sent).send

    async def form() -> Receipt:
        try:
            return await forms.send(exchange, parcel, sent)
        except Again:
            sent(0)
            raise

    return form
