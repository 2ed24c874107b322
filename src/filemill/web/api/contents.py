"""The bytes themselves: a file as it came, what a failed step was given, an output as it was published."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import anyio.to_thread
from fastapi import APIRouter, Request
from starlette.responses import Response

from filemill.encryption.age import key_in
from filemill.model.access import Principal, Right
from filemill.model.files import was_infected
from filemill.queries import FileHistory
from filemill.service import acts, replies
from filemill.service.reasons import why_not_kept
from filemill.web.doing import find_run
from filemill.web.downloading import Download, open_below
from filemill.web.errors import ApiError
from filemill.web.guarding import address_of
from filemill.web.identifying import ContentViewer
from filemill.web.opening import opened
from filemill.web.state import State, state_of

router = APIRouter(tags=["content"])


class _Wanted(NamedTuple):
    """Bytes of content that somebody wants."""

    of: FileHistory
    reference: str
    size: int
    name: str


@router.get("/files/{file}/content", summary="A file as it came")
async def content(request: Request, principal: ContentViewer, file: str) -> Response:
    """As a download; `Range` is answered. A quarantined file needs the right `release-unsafe`, too.

    What is encrypted at rest is opened on its way out.
    """
    state = state_of(request)

    async def wanted() -> _Wanted:
        found = await state.read(lambda queries: queries.file(file), principal)
        if not found.content:
            _harmless(principal, found)
            raise ApiError(404, "its bytes are not kept any more", code="gone")
        return _Wanted(found, found.content, found.summary.size, found.summary.name)

    return await _kept(request, principal, wanted)


@router.get("/runs/{run}/input", summary="What a failed step was given")
async def step_input(request: Request, principal: ContentViewer, run: str) -> Response:
    """As it is kept for the next attempt: `filemill dead input --url` writes it as the records were read.

    404 with the code `not-kept` where nothing is kept, as where the step was given the file itself.
    """
    state = state_of(request)

    async def wanted() -> _Wanted:
        found, mine = await find_run(state, principal, run)
        kept = mine.kept
        if mine.input is None or kept is None:
            _harmless(principal, found)
            why = why_not_kept(mine) if mine.summary.state == "dead" else "it waits for nobody"
            raise ApiError(
                404,
                f"nothing is kept of it: {why or 'the step was given the file itself'}",
                help=f"GET /files/{found.summary.file}/content",
                code="not-kept",
            )
        return _Wanted(found, mine.input, kept.size, f"{mine.summary.run}.input")

    return await _kept(request, principal, wanted)


async def _kept(
    request: Request, principal: Principal, wanted: Callable[[], Awaitable[_Wanted]]
) -> Response:
    """Send what is found in content.

    Raises:
        ApiError: 403 or 404, it may not be had, or is not there.
    """
    state = state_of(request)
    found = await wanted()
    _harmless(principal, found.of)
    if key_in(found.reference):
        try:
            answer = await _opened(request, state, principal, found)
        except ApiError as error:
            again = await wanted()
            if error.code != "gone" or again.reference == found.reference:
                raise
            # It was encrypted anew meanwhile.
            answer = await _opened(request, state, principal, again)
        _note(request, principal, found.of)
        return answer
    root = os.path.join(os.fsencode(state.opening.data), b"content")
    _note(request, principal, found.of)
    return await _download(root, found.reference.encode(), found.name)


async def _opened(request: Request, state: State, principal: Principal, found: _Wanted) -> Response:
    ask = acts.HandOut(content=found.reference)
    ticket = await state.channel.ask(ask, principal.name, replies.HandedOut)
    return await opened(request, ticket, found.size, found.name)


@router.get("/files/{file}/outputs/{publication}", summary="An output")
async def output(
    request: Request, principal: ContentViewer, file: str, publication: str
) -> Response:
    """As a download, under the name it was published with; `publication` is what `/files/ID` calls it."""
    found = await state_of(request).read(lambda queries: queries.file(file), principal)
    _harmless(principal, found)
    outputs = (each for run in found.runs for each in run.outputs)
    wanted = next((each for each in outputs if each.publication == publication), None)
    if wanted is None or wanted.state == "staged":
        raise ApiError(404, "no such output of this file", help=f"GET /files/{file} lists them")
    root = wanted.path.removesuffix(wanted.relative)
    if root == wanted.path:
        raise ApiError(404, "it lies nowhere below its sink's folder", code="gone")
    _note(request, principal, found, output=publication)
    return await _download(root, wanted.relative, wanted.name)


def _harmless(principal: Principal, found: FileHistory) -> None:
    """Refuse bytes that a scanner found something in, also those that were given up since.

    Raises:
        ApiError: 403.
    """
    unsafe = found.summary.state == "quarantined" or was_infected(found.attributes)
    if unsafe and not principal.may(Right.RELEASE_UNSAFE):
        raise ApiError(403, f"it is unsafe: this needs the right `{Right.RELEASE_UNSAFE}`")


def _note(request: Request, principal: Principal, found: FileHistory, **more: str) -> None:
    address = address_of(request.scope)
    notes = state_of(request).notes
    notes.note(principal.name, "download", found.summary.file, address=address, **more)


async def _download(root: bytes, relative: bytes, name: str) -> Response:
    return Download(await anyio.to_thread.run_sync(open_below, root, relative), name)
