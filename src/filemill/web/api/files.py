"""Files: which there are, and all that is known of one."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from filemill.queries import FilePage
from filemill.service.shapes import file_row
from filemill.web.answering import told
from filemill.web.given import since_ns
from filemill.web.identifying import OwnViewer
from filemill.web.state import state_of
from filemill.web.telling import for_eyes_of, history_for

router = APIRouter(tags=["files"])


@router.get("/files", summary="Files, the latest arrival first")
async def files(
    request: Request,
    principal: OwnViewer,
    *,
    state: str = "",
    tag: str = "",
    pipeline: str = "",
    name: Annotated[str, Query(description="part of the name, or a pattern (*.csv)")] = "",
    since: Annotated[str, Query(description="of the last 90s, 24h, 7d...")] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: str | None = None,
) -> Response:
    """A page of files with their worst run's state; `next` is the `cursor` of the page after."""
    page = await state_of(request).read(
        lambda queries: queries.files(
            state=state,
            tag=tag,
            pipeline=pipeline,
            name=name,
            since_ns=since_ns(since),
            limit=limit,
            cursor=cursor,
        ),
        principal,
    )
    return told(request, page, _document)


def _document(page: FilePage) -> dict[str, Any]:
    items = [file_row(each) for each in page.items]
    return {"schema": "filemill.files/1", "items": items, "next": page.next}


@router.get("/files/{file}", summary="One file")
async def one(request: Request, principal: OwnViewer, file: str) -> Response:
    """Its states, runs, tags and why, outputs, lineage; found by a unique prefix of its id or of a run's."""
    found = await state_of(request).read(lambda queries: queries.file(file), principal)
    return told(
        request,
        for_eyes_of(principal, found),
        lambda shown: {"schema": "filemill.file/1", **history_for(principal, shown)},
    )
