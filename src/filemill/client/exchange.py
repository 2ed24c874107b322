"""One request of an upload, again and again until it is answered: over broken connections, full queues and restarts.

Who waits for whom: a server that says 429 or 503 says how long; a connection that breaks is tried again with growing,
jittered pauses. The patience is one for all files: it ends when nothing at all got on for so long.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import httpx2

from filemill.client.refusals import lost, refusal
from filemill.model.errors import Busy, FilemillError, UsageError
from filemill.ports.clock import Clock
from filemill.telemetry.wording import duration

T = TypeVar("T")
_FIRST = 0.5
_LONGEST = 30.0
_LATER = {408, 423, 425, 429, 502, 503, 504, 507}
"""Statuses after which the same may be asked again: each request is one whose repetition takes nothing twice."""


class Again(Exception):
    """It may go well later. `after` is in seconds, as the server says; `error` is what is said when patience ends."""

    def __init__(self, error: FilemillError, after: float = 0.0) -> None:
        super().__init__(str(error))
        self.error = error
        self.after = after


class GaveUp(Busy):
    """Nothing got on for as long as there was patience."""


class Turned(UsageError):
    """The server turns everything away that comes with this key."""


class Exchange:
    """The requests of all files."""

    def __init__(
        self,
        client: httpx2.AsyncClient,
        url: str,
        *,
        patience: float,
        clock: Clock,
        tell: Callable[[str], None],
    ) -> None:
        self.url = url
        self._client = client
        self._patience = patience
        self._clock = clock
        self._tell = tell
        self._told = False
        self._got_on = clock.monotonic()

    def got_on(self) -> None:
        """Something arrived: patience begins anew."""
        self._got_on = self._clock.monotonic()
        self._told = False

    async def request(self, method: str, path: str, **more: object) -> httpx2.Response:
        """One request, one answer that is a success, or a 404, 409 or 410, which the caller knows to read.

        Raises:
            Again: it may go well later.
            Turned: this key may not do that.
            FilemillError: as the server says.
        """
        try:
            answer = await self._client.request(method, f"{self.url}{path}", **more)  # type: ignore[arg-type]
        except httpx2.TransportError as error:
            found = lost(error, self.url)
            if isinstance(
                found, UsageError
            ):  # a certificate that is not trusted is not so later either
                raise Turned(found.message, help=found.help) from error
            raise Again(found) from error
        status = answer.status_code
        if answer.is_success or status in (404, 410) or (status == 409 and not _on_its_way(answer)):
            self.got_on()
            return answer
        error_ = refusal(status, answer.content, self.url)
        if status in _LATER or status == 409:
            header = answer.headers.get("retry-after", "")
            raise Again(error_, float(header) if header.isdigit() else 0.0)
        if status in (401, 403, 421):
            raise Turned(error_.message, help=error_.help)
        self.got_on()
        raise error_

    async def persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try until it is answered.

        Raises:
            GaveUp: nothing of anything got on for too long.
            FilemillError: as the server says.
        """
        number, before = 0, self._got_on
        while True:
            try:
                return await attempt()
            except Again as again:
                # Where others get on, this one is not kept waiting long.
                number = 0 if self._got_on != before else number + 1
                before = self._got_on
                pause = max(again.after, min(_FIRST * 2 ** min(number, 10), _LONGEST))
                pause *= random.uniform(1.0, 1.25)  # noqa: S311 -- so that not all come back at once
                left = self._got_on + self._patience - self._clock.monotonic()
                if pause > left:
                    raise GaveUp(again.error.message, help=again.error.help) from again
                self._say(again.error, left)
                await asyncio.sleep(pause)

    def _say(self, error: FilemillError, left: float) -> None:
        if not self._told:
            self._told = True
            self._tell(f"{error.message}; trying again for {duration(int(left * 1e9))}")


def _on_its_way(answer: httpx2.Response) -> bool:
    """Another request is sending the same file just now, or did before its connection broke."""
    return "retry-after" in answer.headers
