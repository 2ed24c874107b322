"""The bytes of a body as they come."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator

from fastapi import Request
from starlette.requests import ClientDisconnect

from filemill.intake.gate import free_and_reserved
from filemill.model.access import Principal
from filemill.ports.units import format_size
from filemill.web.errors import ApiError
from filemill.web.limiting import Pace
from filemill.web.state import State, state_of

SILENCE = 30.0
"""Seconds without a byte after which a sender is given up."""


LOOK_AFTER = 4 << 20
"""Bytes after which the disk is looked at again: small files are judged before they come, by the server."""


async def pieces_of(request: Request) -> AsyncIterator[bytes]:
    """The pieces of a body; a sender that falls silent, is too slow, or goes away, is given up."""
    stream = request.stream()
    state = state_of(request)
    principal: Principal = request.scope["filemill.principal"]
    pace = Pace(state.opening.limits.slowest, SILENCE)
    unseen = 0
    try:
        while True:
            began = time.monotonic()
            async with asyncio.timeout(SILENCE):
                piece = await anext(stream)
            pace.took(time.monotonic() - began, len(piece))
            state.limits.received(principal.name, len(piece))
            unseen += len(piece)
            if unseen >= LOOK_AFTER:
                unseen = 0
                _leave_room(state)
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


def _leave_room(state: State) -> None:
    """Refuse more of a file before it takes the room that the files in work need to come to their end.

    Raises:
        ApiError: 507.
    """
    free, kept = free_and_reserved(os.fsencode(state.opening.data), state.opening.reserve)
    if free < kept:
        why = f"the disk has {format_size(free)} free, of which `reserve` keeps {format_size(kept)}"
        raise ApiError(507, why, code="no-room", help="ask again later, or send a smaller file")
