"""What the routes share: the channel to the server, readings of the ledger, how to serve."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import anyio.to_thread
from fastapi import Request

from filemill.model.access import Principal
from filemill.queries import Queries
from filemill.service import acts
from filemill.service.face_frames import Opening
from filemill.service.reading import open_queries
from filemill.web.channel import Channel

T = TypeVar("T")
RECENT = 0.25
"""Seconds for which what the server said of itself is not asked again: whoever sends much asks often."""
READERS = 4
"""Readings of the ledger at once: each is a connection of its own, used by one thread at a time."""


class State:
    """One per process."""

    def __init__(self, channel: Channel, opening: Opening, local_key: str) -> None:
        self.channel = channel
        self.opening = opening
        self.local_key = local_key
        self._seen: acts.Seen | None = None
        self._seen_at = 0.0
        self._free: queue.SimpleQueue[Queries] = queue.SimpleQueue()
        for _ in range(READERS):
            self._free.put(open_queries(opening.data))

    async def look(self) -> acts.Seen:
        """What goes on in the server, as of a moment ago.

        Raises:
            FilemillError: it does not say.
        """
        now = time.monotonic()
        if self._seen is None or now - self._seen_at > RECENT:
            self._seen = await self.channel.ask(acts.Look(), "web", acts.Seen)
            self._seen_at = now
        return self._seen

    async def read(self, question: Callable[[Queries], T]) -> T:
        """Ask the ledger, in a thread."""
        return await anyio.to_thread.run_sync(self._ask, question)

    def _ask(self, question: Callable[[Queries], T]) -> T:
        with self._reading() as queries:
            return question(queries)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Queries]:
        queries = self._free.get()
        try:
            yield queries
        finally:
            self._free.put(queries)

    async def key_owner(self, given: str) -> Principal | None:
        """Whose key this is; None for no key, one that is over, or one that was revoked."""
        del given
        return None


def state_of(request: Request) -> State:
    """The state of the application that a request came to."""
    state = request.app.state.filemill
    assert isinstance(state, State)  # noqa: S101
    return state
