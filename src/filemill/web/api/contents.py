"""The bytes themselves: a file as it came, an output as it was published."""

from __future__ import annotations

import os

import anyio.to_thread
from fastapi import APIRouter, Request
from starlette.responses import Response

from filemill.encryption.age import key_in
from filemill.model.access import Principal, Right
from filemill.model.files import was_infected
from filemill.queries import FileHistory
from filemill.service import acts, replies
from filemill.web.downloading import Download, open_below
from filemill.web.errors import ApiError
from filemill.web.guarding import address_of
from filemill.web.identifying import ContentViewer
from filemill.web.opening import opened
from filemill.web.state import State, state_of

router = APIRouter(tags=["content"])


@router.get("/files/{file}/content", summary="A file as it came")
async def content(request: Request, principal: ContentViewer, file: str) -> Response:
    """As a download; `Range` is answered. A quarantined file needs the right `release-unsafe`, too.

    What is encrypted at rest is opened on its way out.
    """
    state = state_of(request)
    found = await _kept(state, principal, file)
    if key_in(found.content):
        try:
            answer = await _opened(request, state, principal, found)
        except ApiError as error:
            again = await _kept(state, principal, file)
            if error.code != "gone" or again.content == found.content:
                raise
            # It was encrypted anew meanwhile.
            answer = await _opened(request, state, principal, again)
        _note(request, principal, found)
        return answer
    root = os.path.join(os.fsencode(state.opening.data), b"content")
    _note(request, principal, found)
    return await _download(root, found.content.encode(), found.summary.name)


async def _kept(state: State, principal: Principal, file: str) -> FileHistory:
    """The file, whose bytes are kept and may be had.

    Raises:
        ApiError: 403 or 404, they may not, or are not.
    """
    found = await state.read(lambda queries: queries.file(file), principal)
    _harmless(principal, found)
    if not found.content:
        raise ApiError(404, "its bytes are not kept any more", code="gone")
    return found


async def _opened(
    request: Request, state: State, principal: Principal, found: FileHistory
) -> Response:
    ask = acts.HandOut(content=found.content)
    ticket = await state.channel.ask(ask, principal.name, replies.HandedOut)
    return await opened(request, ticket, found.summary.size, found.summary.name)


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
