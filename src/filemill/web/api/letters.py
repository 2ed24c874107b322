"""Dead letters: what failed for good, tried again, given up, or called mended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from filemill.model.access import Principal
from filemill.model.deeds import Chosen, Redrive
from filemill.queries import DeadCause, DeadPage, Queries
from filemill.queries.choosing import Target, dead_targets, is_group, revision_of
from filemill.service import acts, replies
from filemill.service.shapes import dead_cause, dead_group, dead_item
from filemill.web.answering import json, told
from filemill.web.doing import AT_MOST, as_listed, find, perform
from filemill.web.errors import ApiError
from filemill.web.given import Groups, Redriving, WhichDead, one_of_both, since_ns
from filemill.web.identifying import MetaViewer, Operator
from filemill.web.keyed import KeyedRoute
from filemill.web.scopes import must_be_whole
from filemill.web.state import State, state_of

router = APIRouter(tags=["dead letters"], route_class=KeyedRoute)
_SHOWN = 500


@router.get("/dead", summary="Dead runs and the groups they make")
async def dead(
    request: Request,
    principal: MetaViewer,
    *,
    pipeline: str = "",
    group: Annotated[str, Query(description="D-3fa2c1: its runs only")] = "",
    since: Annotated[str, Query(description="of the last 24h, 7d...")] = "",
    resolved: Annotated[bool, Query(description="also groups that were called mended")] = False,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: str | None = None,
) -> Response:
    """All groups with their counts, and a page of runs; `next` is the `cursor` of the page after."""
    page = await state_of(request).read(
        lambda queries: queries.dead(
            pipeline=pipeline,
            fingerprint=group,
            since_ns=since_ns(since),
            limit=limit,
            cursor=cursor,
            resolved=resolved,
        ),
        principal,
    )
    return told(request, page, _document)


def _document(page: DeadPage) -> dict[str, Any]:
    return {
        "schema": "filemill.dead/1",
        "total": page.total,
        "hidden": page.hidden,
        "groups": [dead_group(each) for each in page.groups],
        "items": [dead_item(each) for each in page.items],
        "next": page.next,
    }


@router.get("/dead/{group}", summary="One group of dead runs")
async def cause(request: Request, principal: MetaViewer, group: str) -> Response:
    """Why its members are one, what they have in common, and the latest of them."""
    found = await state_of(request).read(lambda queries: queries.cause(group), principal)
    return told(request, found, _cause)


def _cause(found: DeadCause) -> dict[str, Any]:
    items = [dead_item(each) for each in found.items[:_SHOWN]]
    return {"schema": "filemill.dead-group/1", "group": dead_cause(found), "items": items}


@router.post("/dead/redrive", summary="Try dead runs again")
async def redrive(request: Request, principal: Operator, given: Redriving) -> Response:
    """With all their attempts. A run that died when it published only publishes what is missing."""
    state = state_of(request)
    targets = await _targets(state, principal, given)

    def act(group: Sequence[Target]) -> acts.Request:
        return acts.RedriveRuns(
            runs=tuple(
                Redrive(
                    each.run,
                    each.fence,
                    from_input=given.begin != "start",
                    insists=given.begin == "input",
                    revision=revision_of(given.revision, each),
                )
                for each in group
            ),
            reason=given.reason,
        )

    return await perform(
        state, principal, targets, "filemill.redrive/1", act,
        named=_named(given), dry_run=given.dry_run,
    )  # fmt: skip


@router.post("/dead/discard", summary="Give dead runs up")
async def discard(request: Request, principal: Operator, given: WhichDead) -> Response:
    """Nothing more is done with them; their originals stay until retention takes them."""
    state = state_of(request)
    targets = await _targets(state, principal, given)

    def act(group: Sequence[Target]) -> acts.Request:
        runs = tuple(Chosen(each.run, each.fence) for each in group)
        return acts.DiscardRuns(runs=runs, reason=given.reason)

    return await perform(
        state, principal, targets, "filemill.discard/1", act,
        named=_named(given), dry_run=given.dry_run,
    )  # fmt: skip


@router.post("/dead/resolve", summary="Call the causes of groups mended")
async def resolve(request: Request, principal: Operator, given: Groups) -> Response:
    """They leave the list, and come back as regressions if a run dies of them again; the runs stay dead."""
    must_be_whole(principal)
    state = state_of(request)

    def fingerprints(queries: Queries) -> tuple[str, ...]:
        return tuple(queries.cause(each).group.fingerprint for each in given.groups)

    found = await state.read(fingerprints, principal)
    act = acts.ResolveCauses(fingerprints=found, reason=given.reason)
    await state.channel.ask(act, principal.name, replies.Done)
    return json({"schema": "filemill.resolve/1", "groups": given.groups})


async def _targets(state: State, principal: Principal, given: WhichDead) -> list[Target]:
    one_of_both(given, given.query)

    def chosen(queries: Queries) -> list[Target]:
        if given.listed is not None:
            return as_listed(queries, given.listed)
        if given.query is None:
            return dead_targets(queries, given.ids or [], find, limit=AT_MOST)
        query = given.query
        if query.group and not is_group(query.group):
            raise ApiError(422, f"`{query.group}` is not a group", help="GET /dead lists groups")
        words = [query.group] if query.group else []
        return dead_targets(
            queries,
            words,
            find,
            pipeline=query.pipeline,
            since_ns=since_ns(query.since),
            limit=AT_MOST,
        )

    return await state.read(chosen, principal)


def _named(given: WhichDead) -> bool:
    return bool(given.ids) and not any(map(is_group, given.ids or []))
