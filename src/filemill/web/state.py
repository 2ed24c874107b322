"""What the routes share: the channel to the server, readings of the ledger, how to serve."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Iterator
from typing import TypeVar

import anyio.to_thread
from fastapi import Request

from filemill.model.access import Principal
from filemill.queries import Queries
from filemill.service.face_frames import Opening
from filemill.service.reading import open_queries
from filemill.web.channel import Channel

T = TypeVar("T")
READERS = 4
"""Readings of the ledger at once: each is a connection of its own, used by one thread at a time."""


class State:
    """One per process."""

    def __init__(self, channel: Channel, opening: Opening, local_key: str) -> None:
        self.channel = channel
        self.opening = opening
        self.local_key = local_key
        self._free: queue.SimpleQueue[Queries] = queue.SimpleQueue()
        for _ in range(READERS):
            self._free.put(open_queries(opening.data))

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

    def key_owner(self, given: str) -> Principal | None:
        """Whose key this is; None for no key, one that is over, or one that was revoked."""
        del given
        return None


def state_of(request: Request) -> State:
    """The state of the application that a request came to."""
    state = request.app.state.filemill
    assert isinstance(state, State)  # noqa: S101
    return state
