"""Whether it lives, for those who watch: without a key and without a detail."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from filemill.model.access import Right
from filemill.model.errors import FilemillError
from filemill.service import acts, replies
from filemill.service.shapes import server, status
from filemill.web.answering import json, told
from filemill.web.errors import ApiError
from filemill.web.identifying import MetaViewer, Needs
from filemill.web.state import state_of

router = APIRouter(tags=["health"])
OPEN = ("/livez", "/readyz", "/health")
"""Paths that answer without a key."""


@router.get("/livez", summary="HTTP is answered")
async def livez() -> Response:
    """`ok` as long as this process lives."""
    return json({"status": "ok"})


@router.get("/readyz", summary="Files are taken")
async def readyz(request: Request, *, verbose: bool = False) -> Response:
    """`ready`, or 503 while nothing is taken. With `verbose`, which needs the right `view-meta`, also why."""
    if verbose:
        await Needs(Right.VIEW_META)(request)
    try:
        seen = await state_of(request).channel.ask(acts.Look(), "health", replies.Seen)
    except FilemillError as error:
        raise ApiError(503, "the server does not answer", code="down") from error
    intake = next((each for each in seen.troubles if each.what == "intake"), None)
    if intake is not None and not verbose:
        raise ApiError(503, "nothing is taken now", code="not-ready")
    how = "ready" if intake is None else "waits"
    code = 200 if intake is None else 503
    if not verbose:
        return json({"status": how}, code)
    # What workers hold is told by /workers, not to everybody.
    seen = msgspec.structs.replace(seen, workers=())
    return told(request, seen, lambda seen: {"status": how, "server": server(seen)}, code)


@router.get("/health", summary="The server works")
async def health(request: Request) -> Response:
    """`ok`, or `waits` where something of the machine is in the way; 503 when the server does not answer."""
    try:
        seen = await state_of(request).channel.ask(acts.Look(), "health", replies.Seen)
    except FilemillError as error:
        raise ApiError(503, "the server does not answer", code="down") from error
    return json({"status": "waits" if seen.troubles else "ok"})


@router.get("/stats", summary="How all stands")
async def stats(request: Request, principal: MetaViewer) -> Response:
    """Counts of files and runs, what waits longest, the last hour.

    `files_at` is when files were counted: now; for a key that is for several pipelines, some seconds ago.
    """
    now = await state_of(request).standing.of(principal)
    return told(request, now, lambda now: {"schema": "filemill.status/1", **status(now)})
