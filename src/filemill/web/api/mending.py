"""Mended files: sent by whoever mended them elsewhere, they become children in the place of dead runs.

The bytes are staged and synced where a command would stage them, and the server takes them from there
(`service.mending`). Nothing has happened before its commit; what of it a crash leaves, the next start sweeps. Once the
server was asked, only its word that it did not take them lets go of them: the runs may be given up for them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from filemill.model.access import Principal
from filemill.model.deeds import Chosen
from filemill.model.errors import FilemillError, UsageError
from filemill.ports.clock import RandomIds
from filemill.queries import FileHistory, RunHistory
from filemill.service import acts, replies
from filemill.service.face_frames import Entrance
from filemill.service.mending import drop, staged_as
from filemill.web.answering import json
from filemill.web.api.uploading import refuse_if_full
from filemill.web.errors import ApiError
from filemill.web.identifying import Operator
from filemill.web.pieces import pieces_of
from filemill.web.receiving import Receiving, of_disk, wanted_digest
from filemill.web.scopes import must_take_any_pipeline
from filemill.web.state import State, state_of

router = APIRouter(tags=["dead letters"])
PATH = re.compile(r"/files/[^/]+/mend\Z")
"""Paths whose bodies are files."""
_NAMED = re.compile(r"([a-z2-7]{1,26})(?::([0-9]{1,9}))?\Z")
_MOST = 100


@router.post("/files/{file}/mend", status_code=201, summary="Put a mended file in its place")
async def mend(
    request: Request,
    principal: Operator,
    file: str,
    *,
    run: Annotated[
        list[str] | None,
        Query(
            max_length=_MOST,
            description="dead runs of it that are given up, or one that is done and had bad records; ID:FENCE only if "
            "it has not moved since. Unless named, all that are dead",
            examples=[["3fk2abcdefghi:4"]],
        ),
    ] = None,
    again: Annotated[
        bool, Query(description="though the bad records of a done run were sent before")
    ] = False,
    beside: Annotated[
        bool, Query(description="though sinks hold output of it, which stays beside what is new")
    ] = False,
    reason: Annotated[str, Query(max_length=2000, description="Why; it is in the audit.")] = "",
    content_digest: Annotated[str, Header()] = "",
) -> Response:
    """The body is the whole mended file. It becomes a child with the same name; the original is never changed."""
    state = state_of(request)
    must_take_any_pipeline(principal)
    digest = wanted_digest(content_digest)
    found = await state.read(lambda queries: queries.file(file), principal)
    runs = _chosen(found, run or ())
    if not beside and any(was.summary.state == "dead" for _, was in runs):
        _refuse_twice(found)
    await refuse_if_full(state)
    child = RandomIds().new()
    name, path = staged_as(state.opening.data, child)
    await anyio.to_thread.run_sync(_make_folder, state, os.path.dirname(path))
    state.limits.begin_upload(principal.name)
    try:
        size = await _receive(request, found, child, path, digest)
    finally:
        state.limits.end_upload(principal.name)
    act = acts.MendFile(
        runs=tuple(chosen for chosen, _ in runs),
        child=child,
        staged=name,
        relative=found.summary.relative,
        again=again,
        reason=reason,
        size=size,
    )
    await _hand_over(state, principal, act, found)
    return json(
        {
            "schema": "filemill.edit/1",
            "file": found.summary.file,
            "child": child,
            "discarded": [chosen.run for chosen, was in runs if was.summary.state == "dead"],
            "live": True,
        },
        201,
        {"location": f"/files/{child}"},
    )


async def _receive(
    request: Request, found: FileHistory, child: str, path: bytes, digest: bytes | None
) -> int:
    """Write the body there, durable when this returns; its size. What is refused or cut is removed.

    Raises:
        ApiError: as of any file that is sent.
    """
    state = state_of(request)
    entrance = Entrance(found.summary.source, "", 0)
    received = Receiving(
        state.opening.data, child, found.summary.relative, entrance, state.sealer, path=path
    )
    received.begin()
    try:
        async for piece in pieces_of(request):
            await received.write(piece)
        await received.finish(digest)
        await anyio.to_thread.run_sync(_sync, state, path)
    except BaseException:
        await received.drop()
        raise
    return received.size


async def _hand_over(
    state: State, principal: Principal, act: acts.MendFile, found: FileHistory
) -> None:
    """Have the server take it.

    Raises:
        ApiError: 409, the runs have moved on meanwhile.
        UsageError: it is not taken.
        FilemillError: it is not known whether it is.
    """
    look = f"look whether it was done: GET /files/{act.child}"
    try:
        done = await state.channel.ask(act, principal.name, replies.Done)
    except UsageError:
        await anyio.to_thread.run_sync(drop, state.opening.data, act.staged)
        raise
    except FilemillError as error:
        raise type(error)(error.message, help=look) from error
    if not all(done.moved):
        raise ApiError(
            409,
            f"{found.summary.name} has moved on meanwhile",
            help=f"GET /files/{found.summary.file}",
        )


def _chosen(found: FileHistory, named: Sequence[str]) -> list[tuple[Chosen, RunHistory]]:
    """The runs that are meant, each with its fence as it was seen.

    Raises:
        ApiError: 404, one is none of this file; 409, none is dead; 422, these are no ids.
    """
    if not named:
        dead = [each for each in found.runs if each.summary.state == "dead"]
        if not dead:
            raise ApiError(
                409,
                f"it is not dead, it is {found.summary.state}",
                help="`run` names a run that is done and had bad records",
            )
        return [(Chosen(each.summary.run, each.summary.fence), each) for each in dead]
    chosen = []
    for word in named:
        match = _NAMED.match(word)
        if match is None:
            raise ApiError(422, "`run` is ID or ID:FENCE", help="GET /runs")
        each = next((r for r in found.runs if r.summary.run == match[1]), None)
        if each is None:
            raise ApiError(
                404, f"`{match[1]}` is no run of it", help=f"GET /files/{found.summary.file}"
            )
        fence = each.summary.fence if match[2] is None else int(match[2])
        chosen.append((Chosen(each.summary.run, fence), each))
    return chosen


def _refuse_twice(found: FileHistory) -> None:
    """Refuse to make outputs twice by surprise: the child goes to every pipeline that wants it.

    Raises:
        ApiError: 409, a sink holds something of the file.
    """
    if found.delivered:
        sinks = ", ".join(dict.fromkeys(each.sink for each in found.delivered))
        raise ApiError(
            409,
            f"output of this file is in {sinks}; a mended copy would be published there again, beside it",
            help="POST /dead/redrive publishes only what is missing; `beside=true` does it all the same",
        )


def _make_folder(state: State, folder: bytes) -> None:
    try:
        state.durable.make_directory(folder, 0o700)
    except OSError as error:
        raise of_disk(error) from error


def _sync(state: State, path: bytes) -> None:
    """Make what was received durable, with its name."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            state.durable.sync_file(descriptor)
        finally:
            os.close(descriptor)
        state.durable.sync_directory(os.path.dirname(path))
    except OSError as error:
        raise of_disk(error) from error
