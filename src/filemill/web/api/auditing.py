"""The audit: what people and keys did."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from filemill.queries import AuditPage, AuditVerdict
from filemill.service.access_shapes import audit_verdict
from filemill.service.shapes import audit_row
from filemill.web.answering import told
from filemill.web.given import since_ns
from filemill.web.identifying import Admin
from filemill.web.scopes import must_be_whole
from filemill.web.state import state_of

router = APIRouter(tags=["audit"])


@router.get("/audit", summary="What people and keys did, the latest first")
async def audit(
    request: Request,
    principal: Admin,
    *,
    who: Annotated[str, Query(description="only of ana, key:acme...")] = "",
    action: Annotated[str, Query(description="only redrive, denied...")] = "",
    to: Annotated[str, Query(alias="object", description="only to this file, run, key...")] = "",
    since: Annotated[str, Query(description="of the last 90s, 24h, 7d...")] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: str | None = None,
) -> Response:
    """A page of its rows, each sealed with all before it; `filemill audit verify` says whether the chain is whole."""
    page = await state_of(request).read(
        lambda queries: queries.audit(
            principal=who,
            action=action,
            object=to,
            since_ns=since_ns(since),
            limit=limit,
            cursor=cursor,
        ),
        principal,
    )
    return told(request, page, _document)


@router.get("/audit/verify", summary="Whether the audit is as it was written")
async def verify(
    request: Request,
    principal: Admin,
    *,
    head: Annotated[
        str, Query(max_length=100, description="NUMBER:CHAIN that was noted before: it must be in")
    ] = "",
) -> Response:
    """Computes the chain anew, row by row. Note the `head` it says elsewhere: it proves the end, too."""
    must_be_whole(principal)
    verdict = await state_of(request).read(lambda queries: queries.verify_audit(head), principal)
    return told(request, verdict, _verdict)


def _verdict(found: AuditVerdict) -> dict[str, Any]:
    return {"schema": "filemill.audit-verdict/1", **audit_verdict(found)}


def _document(page: AuditPage) -> dict[str, Any]:
    items = [audit_row(each) for each in page.items]
    return {"schema": "filemill.audit/1", "items": items, "next": page.next}
