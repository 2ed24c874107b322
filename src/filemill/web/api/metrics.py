"""Metrics, for Prometheus."""

from __future__ import annotations

import os

from fastapi import APIRouter, Request
from starlette.responses import Response

from filemill.service import acts, replies
from filemill.web.identifying import Scraper
from filemill.web.scopes import must_be_whole
from filemill.web.scraping import Scrape, of_ledger, of_workers
from filemill.web.state import state_of

router = APIRouter(tags=["health"])


@router.get("/metrics", summary="Metrics for Prometheus")
async def metrics(request: Request, principal: Scraper) -> Response:
    """Prometheus' text format, or OpenMetrics where it is asked for. Needs `scrape` or `view-meta`, for all files."""
    must_be_whole(principal)
    state = state_of(request)
    standing = await state.read(lambda queries: queries.standing())
    measured = await state.channel.ask(acts.Measure(), "web", replies.Measured)
    scrape = Scrape(
        [
            *of_ledger(standing, state.opening),
            *measured.samples,
            *of_workers(measured.seen),
            *state.meter.samples(),
        ],
        [*measured.spreads, *state.meter.spreads()],
        {"server": measured.seen.pid, "web": os.getpid()},
    )
    content, kind = scrape.encoded(request.headers.get("accept", ""))
    return Response(content, headers={"content-type": kind})
