"""What happens, as server-sent events, read along from the ledger (`queries.following`)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, NamedTuple

import anyio.to_thread
import msgspec
from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from filemill.model.access import Right
from filemill.model.events import Event
from filemill.queries.following import LOOK_BACK, OVERLAP_NS, Follows
from filemill.service import values
from filemill.telemetry.jsonlog import as_json
from filemill.web.errors import ApiError
from filemill.web.identifying import MetaViewer, Needs
from filemill.web.state import state_of

router = APIRouter(tags=["events"])
_ID = re.compile(r"[0-9]{1,19}")
LOOK_EVERY = 0.4
HEARTBEAT = 15.0
"""Seconds after which a silent stream says that it lives."""
RECHECK = 5.0
"""Seconds after which the key is looked at again: so long may one that was revoked read on."""
STUCK = 30.0
"""Seconds after which a client that takes nothing is given up."""


@router.get("/events", summary="What happens, as server-sent events")
async def events(
    request: Request,
    principal: MetaViewer,
    *,
    tag: str = "",
    pipeline: str = "",
    state: str = "",
    last: Annotated[int, Query(ge=0, le=LOOK_BACK, description="begin with so many ends")] = 0,
    last_event_id: Annotated[str, Header(description="of the last event that was seen")] = "",
) -> Response:
    """Each has its time as `id`; with `Last-Event-ID` ends come again from 3 s before it, so one may come twice.

    Where more than 5,000 ends lie between, an event `gap` comes first. Arrivals are told only while they happen.
    """
    known = state_of(request)
    if last_event_id and not _ID.fullmatch(last_event_id):
        raise ApiError(400, "Last-Event-ID is the `id` of an event")
    with contextlib.ExitStack() as held:
        known.limits.begin_listening(principal.name)
        held.callback(known.limits.end_listening, principal.name)
        queries = await anyio.to_thread.run_sync(known.open, principal)
        held.callback(queries.close)
        following = await anyio.to_thread.run_sync(
            lambda: queries.follow(tag=tag, pipeline=pipeline, state=state)
        )
        close = held.pop_all().close

    async def recheck() -> None:
        await Needs(Right.VIEW_META)(request)

    framed = _as_value if request.headers.get("accept", "") == values.STREAM else _as_json
    before = Before(last, int(last_event_id or 0))
    stream = _told(following, before, framed, recheck, lambda: known.channel.gone)
    return EventStream(stream, close)


class Before(NamedTuple):
    """What of the past is told first: so many ends, or those since the time that is the last event's id."""

    ends: int
    seen_ns: int


async def _told(
    following: Follows,
    before: Before,
    framed: Callable[[Event], bytes],
    recheck: Callable[[], Awaitable[None]],
    is_over: Callable[[], bool],
) -> AsyncIterator[bytes]:
    """The stream, until the server ends or the key is over."""
    yield b"retry: 2000\n\n"
    if before.seen_ns:
        past = await anyio.to_thread.run_sync(following.last, LOOK_BACK)
        if len(past) == LOOK_BACK and past[0].at_ns > before.seen_ns:
            yield f"{values.GAP}\n".encode() if framed is _as_value else b"event: gap\ndata: {}\n\n"
        past = [each for each in past if each.at_ns >= before.seen_ns - OVERLAP_NS]
    else:
        past = await anyio.to_thread.run_sync(following.last, before.ends)
    yield b"".join(map(framed, past)) + f"{values.NOW}\n\n".encode()
    said = checked = time.monotonic()
    while not is_over():
        if time.monotonic() - checked >= RECHECK:
            checked = time.monotonic()
            try:
                await recheck()
            except ApiError:
                return  # whoever asks again is told why
        if found := await anyio.to_thread.run_sync(following.news):
            yield b"".join(map(framed, found))
        if time.monotonic() - said >= HEARTBEAT:
            said = time.monotonic()
            yield b": alive\n\n"
        await asyncio.sleep(LOOK_EVERY)


def _as_value(event: Event) -> bytes:
    """For a command line: exact, as it was emitted."""
    return b"data: %s\n\n" % base64.b64encode(values.pack(event))


def _as_json(event: Event) -> bytes:
    name = type(event).__name__.encode()
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (
        event.at_ns,
        name,
        msgspec.json.encode(as_json(event)),
    )


class EventStream(Response):
    """Sends pieces as they come; ends when the client goes away, or takes nothing for `STUCK` seconds."""

    media_type = "text/event-stream"

    def __init__(self, pieces: AsyncIterator[bytes], close: Callable[[], None]) -> None:
        super().__init__(headers={"x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._pieces = pieces
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until one of both sides ends."""
        del scope
        sending = asyncio.create_task(self._send(send), name="event stream")
        leaving = asyncio.create_task(_left(receive), name="event stream's client")
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            sending.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
            self._close()

    async def _send(self, send: Send) -> None:
        headers = self.raw_headers
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        with contextlib.suppress(TimeoutError):
            async for piece in self._pieces:
                async with asyncio.timeout(STUCK):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
