"""A request's body on its way to the route: bounded, where no file is sent, in bytes and in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.exceptions import HTTPException

MOST_BODY = 1 << 20
"""Bytes of a request that sends no file."""
PATIENCE = 30.0
"""Seconds in which they must be there, from when they are asked for."""
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


def has_body(scope: Scope) -> bool:
    """Whether the head of a request announces bytes behind it."""
    headers = dict(scope["headers"])
    return (
        b"transfer-encoding" in headers or headers.get(b"content-length", b"0").strip(b"0") != b""
    )


class Body:
    """Reads a body by `receive`; `is_whole` says whether nothing of it is left to come. Files are bounded elsewhere."""

    def __init__(self, scope: Scope, receive: Receive, *, is_bounded: bool) -> None:
        self._receive = receive
        self._is_bounded = is_bounded
        self._seen = 0
        self._ends = 0.0
        self.is_whole = not has_body(scope)

    async def receive(self) -> Message:
        """The next message.

        Raises:
            HTTPException: 408, it comes too slowly; 413, it is too large. The framework passes on this kind alone.
        """
        # Behind the body there is only the end of the connection to be heard of, for which routes wait as they like.
        message = await (self._receive() if self.is_whole or not self._is_bounded else self._soon())
        if message["type"] == "http.request":
            self._seen += len(message.get("body", b""))
            self.is_whole = not message.get("more_body", False)
            if self._is_bounded and self._seen > MOST_BODY:
                raise HTTPException(413, f"more than {MOST_BODY:,} bytes")
        return message

    async def _soon(self) -> Message:
        loop = asyncio.get_running_loop()
        self._ends = self._ends or loop.time() + PATIENCE
        try:
            async with asyncio.timeout_at(self._ends):
                return await self._receive()
        except TimeoutError as error:
            raise HTTPException(408, f"the body did not come in {PATIENCE:g}s") from error
