"""The bytes of a body as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fastapi import Request
from starlette.requests import ClientDisconnect

from filemill.web.errors import ApiError

SILENCE = 30.0
"""Seconds without a byte after which a sender is given up."""


async def pieces_of(request: Request) -> AsyncIterator[bytes]:
    """The pieces of a body; a sender that falls silent, or goes away, is given up."""
    stream = request.stream()
    try:
        while True:
            async with asyncio.timeout(SILENCE):
                piece = await anext(stream)
            if piece:
                yield piece
    except StopAsyncIteration:
        return
    except TimeoutError as error:
        raise ApiError(
            408, f"nothing came for {SILENCE:g}s", headers={"connection": "close"}
        ) from error
    except ClientDisconnect as error:
        raise ApiError(400, "the sender went away") from error
