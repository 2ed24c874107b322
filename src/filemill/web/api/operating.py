"""Runs done again or called back, pipelines paused, the configuration taken anew, the server ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Body, Request
from starlette.responses import Response

from filemill.model.access import Principal
from filemill.model.deeds import Chosen, Replay
from filemill.ports.clock import RandomIds
from filemill.queries import Queries
from filemill.queries.choosing import Target, ended_targets, revision_of, run_targets
from filemill.service import acts, replies
from filemill.web.answering import json
from filemill.web.doing import AT_MOST, as_listed, find, perform, refuse_more
from filemill.web.errors import ApiError
from filemill.web.given import Cancelling, Reason, Replaying, one_of_both, since_ns
from filemill.web.identifying import Admin, Operator
from filemill.web.keyed import KeyedRoute
from filemill.web.scopes import must_be_for_pipeline, must_be_whole
from filemill.web.state import State, state_of

router = APIRouter(tags=["operating"], route_class=KeyedRoute)
_ENDED = {"done", "cancelled", "discarded"}
_WAITING = {"queued", "retrying", "running"}
Why = Annotated[Reason, Body(default_factory=Reason)]


@router.post("/files/replay", summary="Do ended runs once more")
async def replay(request: Request, principal: Operator, given: Replaying) -> Response:
    """Finished, cancelled or discarded runs, by new runs: the latest of each file and pipeline that is meant.

    Of a run that is done say what becomes of its outputs: `supersede` true or false.
    """
    one_of_both(given, given.query)
    state = state_of(request)

    def chosen(queries: Queries) -> list[Target]:
        if given.listed is not None:
            return as_listed(queries, given.listed)
        if given.query is None:
            return run_targets(queries, given.ids or [], find, _ENDED, latest=True)
        query = given.query
        return ended_targets(
            queries,
            query.state,
            pipeline=query.pipeline,
            tag=query.tag,
            since_ns=since_ns(query.since),
            limit=AT_MOST,
        )

    targets = await state.read(chosen, principal)
    refuse_more(targets)
    if given.supersede is None and any(target.state == "done" for target in targets):
        raise ApiError(
            422,
            "runs that are done published their outputs, and doing them again makes these a second time",
            help="`supersede`: true puts the new outputs in the places of the old ones; false keeps both, the new "
            "ones under names of their own",
        )
    ids = RandomIds()

    def act(group: Sequence[Target]) -> acts.Request:
        runs = tuple(
            Replay(
                each.run,
                ids.new(),
                revision_of(given.revision, each) or each.revision,
                pinned=given.revision != "current",
                supersede=bool(given.supersede),
            )
            for each in group
        )
        return acts.ReplayRuns(runs=runs, reason=given.reason)

    return await perform(
        state, principal, targets, "filemill.replay/1", act,
        named=bool(given.ids), dry_run=given.dry_run,
    )  # fmt: skip


@router.post("/runs/cancel", summary="Call runs back that wait or run")
async def cancel(request: Request, principal: Operator, given: Cancelling) -> Response:
    """Nothing of them is published. `ids` are runs, or files: then all of its runs that wait or run."""
    one_of_both(given, None)
    state = state_of(request)

    def chosen(queries: Queries) -> list[Target]:
        if given.listed is not None:
            return as_listed(queries, given.listed)
        return run_targets(queries, given.ids or [], find, _WAITING)

    targets = await state.read(chosen, principal)

    def act(group: Sequence[Target]) -> acts.Request:
        runs = tuple(Chosen(each.run, each.fence) for each in group)
        return acts.CancelRuns(runs=runs, reason=given.reason)

    return await perform(
        state, principal, targets, "filemill.cancel/1", act,
        named=bool(given.ids), dry_run=given.dry_run,
    )  # fmt: skip


@router.post("/pipelines/{name}/pause", summary="Begin no runs of a pipeline any more")
async def pause(request: Request, principal: Operator, name: str, why: Why) -> Response:
    """Files are taken and queued; what runs now is finished. It outlives restarts."""
    act = acts.PausePipelines(pipelines=(name,), reason=why.reason)
    return await _switch(state_of(request), principal, name, act, "filemill.pause/1")


@router.post("/pipelines/{name}/resume", summary="Begin runs of a paused pipeline again")
async def resume(request: Request, principal: Operator, name: str, why: Why) -> Response:
    """`moved` is false where it was not paused."""
    act = acts.ResumePipelines(pipelines=(name,), reason=why.reason)
    return await _switch(state_of(request), principal, name, act, "filemill.resume/1")


@router.post("/config/reload", summary="Take the configuration on the disk")
async def reload(request: Request, principal: Admin, why: Why) -> Response:
    """A bad one changes nothing: it is answered 422 with what is wrong."""
    must_be_whole(principal)
    state = state_of(request)
    done = await state.channel.ask(acts.Reload(reason=why.reason), principal.name, replies.Reloaded)
    if done.problems:
        raise ApiError(422, done.problems, help="filemill check", code="bad-configuration")
    return json(
        {
            "schema": "filemill.reload/1",
            "revision": done.revision,
            "former": done.former,
            "changes": done.changes,
        }
    )


@router.post("/drain", status_code=202, summary="Finish what runs, then end the server")
async def drain(request: Request, principal: Admin, why: Why) -> Response:
    """What is queued is kept for the next start. HTTP ends with the server."""
    must_be_whole(principal)
    state = state_of(request)
    await state.channel.ask(acts.Drain(reason=why.reason), principal.name, replies.Done)
    return json({"schema": "filemill.drain/1", "ended": False}, 202)


async def _switch(
    state: State, principal: Principal, name: str, act: acts.Request, schema: str
) -> Response:
    must_be_for_pipeline(principal, name, state.opening.pipelines)
    done = await state.channel.ask(act, principal.name, replies.Done)
    items = [{"pipeline": name, "moved": done.moved[0]}]
    return json({"schema": schema, "live": done.live, "items": items})
