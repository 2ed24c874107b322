"""What runs and what it runs with: runs, pipelines, revisions, sources, sinks, workers."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from filemill.model.access import Right
from filemill.queries import Revisions
from filemill.service import shapes
from filemill.telemetry.wording import utc
from filemill.web.answering import json, told
from filemill.web.doing import find_run
from filemill.web.given import since_ns
from filemill.web.identifying import MetaViewer, OwnViewer
from filemill.web.scopes import must_be_whole
from filemill.web.state import state_of

router = APIRouter(tags=["looking"])
Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str | None, Query(description="`next` of the page before")]


@router.get("/runs", summary="Runs, those of the latest arrivals first")
async def runs(
    request: Request,
    principal: MetaViewer,
    *,
    state: Annotated[str, Query(description="queued, running, done, dead...")] = "",
    pipeline: str = "",
    tag: str = "",
    since: Annotated[str, Query(description="of files of the last 24h, 7d...")] = "",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """The runs of a page of `limit` files, each with its file; `next` is the `cursor` of the page after."""
    page = await state_of(request).read(
        lambda queries: queries.files(
            state=state,
            pipeline=pipeline,
            tag=tag,
            since_ns=since_ns(since),
            limit=limit,
            cursor=cursor,
        ),
        principal,
    )
    items = [
        {"file": file.file, "name": file.name, **shapes.run_row(run)}
        for file in page.items
        for run in file.runs
        if pipeline in {"", run.pipeline} and (state in {"", run.state} or state == "live")
    ]
    return json({"schema": "filemill.runs/1", "items": items, "next": page.next})


@router.get("/runs/{run}", summary="One run")
async def run_(request: Request, principal: MetaViewer, run: str) -> Response:
    """Its attempts, steps, outputs, bad records and traceback; found by a unique prefix of its id."""
    found, mine = await find_run(state_of(request), principal, run)
    file = {"file": found.summary.file, "name": found.summary.name}
    return json({"schema": "filemill.run/1", **file, **shapes.run_history(mine)})


@router.get("/pipelines", summary="Pipelines, and how they stand")
async def pipelines(request: Request, principal: MetaViewer) -> Response:
    """Those of the configuration that runs, and those that only have runs of a former one (`configured` is false)."""
    state = state_of(request)
    now = await state.standing.of(principal)
    counted = {each["pipeline"]: each for each in shapes.status(now)["pipelines"]}
    mine = [each for each in state.opening.pipelines if each in (principal.pipelines or (each,))]
    items = [
        {"pipeline": name, "configured": name in mine, **counted.get(name, {})}
        for name in dict.fromkeys((*mine, *counted))
    ]
    return json({"schema": "filemill.pipelines/1", "items": items})


@router.get("/revisions", summary="Configurations that ran, the latest first")
async def revisions(request: Request, principal: MetaViewer) -> Response:
    """Their numbers and digests, and when they came into force. Their text is for whoever is on the machine."""
    must_be_whole(principal)
    found = await state_of(request).read(lambda queries: queries.revisions(), principal)
    log = Revisions(tuple(msgspec.structs.replace(each, text="") for each in found))
    return told(request, log, _revisions)


def _revisions(log: Revisions) -> dict[str, Any]:
    items = [
        {
            "revision": each.number,
            "digest": each.digest,
            "first_at": utc(each.at_ns),
            "in_force": [{"at": utc(at), "by": how} for at, how in each.began],
            "current": each.current,
            "runs": each.runs,
        }
        for each in log.items
    ]
    return {"schema": "filemill.revisions/1", "items": items}


@router.get("/sources", summary="Where files come from")
async def sources(request: Request, principal: OwnViewer) -> Response:
    """Their kinds; for those that take what is sent also where and what. A mere sender is told of no others."""
    opening = state_of(request).opening
    entrances = {each.source: each for each in opening.entrances}
    items = [
        {
            "source": each.name,
            "kind": each.kind,
            "path": entrances[each.name].path if each.name in entrances else None,
            "max_size": entrances[each.name].max_size or None if each.name in entrances else None,
            "types": list(entrances[each.name].types) if each.name in entrances else [],
        }
        for each in opening.sources
        if each.name in (principal.sources or (each.name,))
        and (each.name in entrances or principal.may(Right.VIEW_META))
    ]
    return json({"schema": "filemill.sources/1", "items": items})


@router.get("/sinks", summary="Where results go")
async def sinks(request: Request, principal: MetaViewer) -> Response:
    """Their kinds, and what is wrong with one that is not written to now."""
    must_be_whole(principal)
    state = state_of(request)
    seen = shapes.server(await state.look())
    troubles = {each["what"]: each for each in (seen["troubles"] if seen else ())}
    items = [
        {"sink": each.name, "kind": each.kind, "trouble": troubles.get(f"sink {each.name}")}
        for each in state.opening.sinks
    ]
    return json({"schema": "filemill.sinks/1", "items": items})


@router.get("/workers", summary="Worker processes, and what they hold")
async def workers(request: Request, principal: MetaViewer) -> Response:
    """Of each its process, its revision, the jobs it has done, and the runs it is at."""
    must_be_whole(principal)
    seen = await state_of(request).look()
    items = [
        {
            "worker": each.number,
            "pid": each.pid,
            "revision": each.revision,
            "busy": each.busy,
            "jobs": each.jobs,
            "runs": list(each.runs),
        }
        for each in seen.workers
    ]
    return json({"schema": "filemill.workers/1", "running": seen.running, "items": items})
