"""What waits for a person: let go on, or given up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from filemill.model.access import Principal, Right
from filemill.model.deeds import Chosen, Release
from filemill.queries import HeldPage, Queries
from filemill.queries.choosing import Target, answers_to, held_targets
from filemill.service import acts
from filemill.service.shapes import held_item
from filemill.web.answering import told
from filemill.web.doing import AT_MOST, as_listed, find, perform
from filemill.web.errors import ApiError
from filemill.web.given import Releasing, WhichHeld, one_of_both
from filemill.web.identifying import MetaViewer, Operator, Releaser
from filemill.web.keyed import KeyedRoute
from filemill.web.state import State, state_of

router = APIRouter(tags=["held"], route_class=KeyedRoute)


@router.get("/held", summary="What waits for a person")
async def held(
    request: Request,
    principal: MetaViewer,
    *,
    reason: Annotated[str, Query(description="such as unrouted")] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: str | None = None,
) -> Response:
    """Files and runs, the latest arrival first, with what they wait for; `next` is the `cursor` of the page after."""
    page = await state_of(request).read(
        lambda queries: queries.held(reason=reason, limit=limit, cursor=cursor), principal
    )
    return told(request, page, _document)


def _document(page: HeldPage) -> dict[str, Any]:
    items = [held_item(each) for each in page.items]
    return {"schema": "filemill.held/1", "items": items, "next": page.next}


@router.post("/held/release", summary="Let held runs and files go on")
async def release(request: Request, principal: Releaser, given: Releasing) -> Response:
    """Runs go on behind the step that held them; files without a pipeline are tagged and routed again.

    A quarantined file, which is named by its id, needs `unsafe` and the right `release-unsafe`; all else needs
    `operate`. Where two people must say so, the first one's `moved` is false.
    """
    state = state_of(request)
    targets = await _targets(state, principal, given)
    if given.unsafe and not principal.may(Right.RELEASE_UNSAFE):
        raise ApiError(403, f"`unsafe` needs the right `{Right.RELEASE_UNSAFE}`")
    for target in targets:
        may_release(principal, target)
        if target.state == "quarantined" and not given.unsafe:
            raise ApiError(
                422,
                f"{target.file} is in quarantine",
                help=f"GET /files/{target.file} says why; `unsafe`: true lets it go on in spite of it",
            )
    await state.read(lambda queries: _answers_fit(queries, targets, given.choice), principal)

    def runs(group: Sequence[Target]) -> acts.Request:
        chosen = tuple(Release(each.run, each.fence, given.choice) for each in group)
        return acts.ReleaseRuns(runs=chosen, reason=given.reason)

    def files(group: Sequence[Target]) -> acts.Request:
        return acts.ReadmitFiles(
            files=tuple(each.file for each in group), reason=given.reason, unsafe=given.unsafe
        )

    return await perform(
        state, principal, targets, "filemill.release/1", runs,
        files=files, named=bool(given.ids) and not given.unsafe, dry_run=given.dry_run,
    )  # fmt: skip


@router.post("/held/discard", summary="Give held runs and files up")
async def discard(request: Request, principal: Operator, given: WhichHeld) -> Response:
    """Their originals stay until retention takes them."""
    state = state_of(request)
    targets = await _targets(state, principal, given)

    def runs(group: Sequence[Target]) -> acts.Request:
        chosen = tuple(Chosen(each.run, each.fence) for each in group)
        return acts.DiscardRuns(runs=chosen, reason=given.reason)

    def files(group: Sequence[Target]) -> acts.Request:
        return acts.DiscardFiles(files=tuple(each.file for each in group), reason=given.reason)

    return await perform(
        state, principal, targets, "filemill.discard/1", runs,
        files=files, named=bool(given.ids), dry_run=given.dry_run,
    )  # fmt: skip


async def _targets(state: State, principal: Principal, given: WhichHeld) -> list[Target]:
    one_of_both(given, given.query)

    def chosen(queries: Queries) -> list[Target]:
        if given.listed is not None:
            return as_listed(queries, given.listed)
        if given.query is None:
            return held_targets(queries, given.ids or [], find, limit=AT_MOST)
        return held_targets(
            queries,
            [],
            find,
            reason=given.query.reason,
            pipeline=given.query.pipeline,
            limit=AT_MOST,
        )

    return await state.read(chosen, principal)


def may_release(principal: Principal, target: Target) -> None:
    """Refuse whoever may not let this one go on.

    Raises:
        ApiError: 403.
    """
    right = Right.RELEASE_UNSAFE if target.state == "quarantined" else Right.OPERATE
    if not principal.may(right):
        raise ApiError(403, f"{target.file} is {target.state}: this needs the right `{right}`")


def _answers_fit(queries: Queries, targets: Sequence[Target], choice: str) -> None:
    """Refuse an answer that a step does not know.

    Raises:
        ApiError: 422, with the answers there are.
    """
    for target in targets[: acts.MOST]:
        answers = answers_to(queries.file(target.run), target.run) if target.run else ()
        if target.run and (choice or answers) and choice not in answers:
            known = ", ".join(answers) or "none; leave `choice` out"
            raise ApiError(
                422,
                f"`{choice}` is no answer to what {target.file} waits for at {target.step}",
                help=f"`choice`: {known}",
                code="bad-choice",
            )
