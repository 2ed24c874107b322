"""Whether it lives, for those who watch: without a key and without a detail."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from filemill.model.errors import FilemillError
from filemill.service import acts
from filemill.web.answering import json
from filemill.web.errors import ApiError
from filemill.web.identifying import MetaViewer
from filemill.web.state import state_of

router = APIRouter(tags=["health"])
OPEN = ("/livez", "/health")
"""Paths that answer without a key."""


@router.get("/livez", summary="HTTP is answered")
async def livez() -> Response:
    """`ok` as long as this process lives."""
    return json({"status": "ok"})


@router.get("/health", summary="The server works")
async def health(request: Request) -> Response:
    """`ok`, or `waits` where something of the machine is in the way; 503 when the server does not answer."""
    try:
        seen = await state_of(request).channel.ask(acts.Look(), "health", acts.Seen)
    except FilemillError as error:
        raise ApiError(503, "the server does not answer", code="down") from error
    return json({"status": "waits" if seen.troubles else "ok"})


@router.get("/stats", summary="How all stands")
async def stats(request: Request, principal: MetaViewer) -> Response:
    """Counts of files and runs, what waits longest, the last hour."""
    from filemill.service.shapes import status  # noqa: PLC0415

    now = await state_of(request).read(lambda queries: queries.status(), principal)
    return json({"schema": "filemill.status/1", **status(now)})
