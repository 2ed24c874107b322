"""The bytes of a body as they come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from fastapi import Request
from starlette.requests import ClientDisconnect

from filemill.model.access import Principal
from filemill.web.errors import ApiError
from filemill.web.limiting import Pace
from filemill.web.state import state_of

SILENCE = 30.0
"""Seconds without a byte after which a sender is given up."""


async def pieces_of(request: Request) -> AsyncIterator[bytes]:
    """The pieces of a body; a sender that falls silent, is too slow, or goes away, is given up."""
    stream = request.stream()
    state = state_of(request)
    principal: Principal = request.scope["filemill.principal"]
    pace = Pace(state.opening.limits.slowest, SILENCE)
    try:
        while True:
            began = time.monotonic()
            async with asyncio.timeout(SILENCE):
                piece = await anext(stream)
            pace.took(time.monotonic() - began, len(piece))
            state.limits.received(principal.name, len(piece))
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
