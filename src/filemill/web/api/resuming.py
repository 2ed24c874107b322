"""Uploads in parts (tus 1.0): begun, asked for and gone on with by whoever began them, across any crash.

Each part is answered when the ledger has its offset, which it has only of synced bytes; what came before a cut is kept
as well. A part with a checksum counts whole or not at all. The last part is answered when the file is acknowledged.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine, Iterator
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from filemill.model.access import Principal
from filemill.model.errors import FilemillError
from filemill.model.uploads import PartialUpload
from filemill.ports.clock import RandomIds
from filemill.queries import FileHistory
from filemill.service import acts, replies
from filemill.web import tus
from filemill.web.api.uploading import (
    MOST_KEY,
    checked_tag,
    find_file,
    id_of_key,
    refuse_if_full,
)
from filemill.web.appending import Appending
from filemill.web.errors import ApiError, of_error
from filemill.web.identifying import Uploader
from filemill.web.receiving import (
    judge_name,
    judge_size,
    proper_name,
    wanted_digest,
)
from filemill.web.state import State, state_of

UPLOADS = "/uploads"
OPEN = (UPLOADS, f"{UPLOADS}/{{file}}")
"""What OPTIONS tells everybody."""


class TusRoute(APIRoute):
    """Every answer, also one that is no success, says which version is spoken."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, wrapped."""
        handle = super().get_route_handler()

        async def handling(request: Request) -> Response:
            try:
                answer = await handle(request)
            except FilemillError as error:
                refused = of_error(error)
                refused.headers["tus-resumable"] = tus.VERSION
                raise refused from error
            except ApiError as error:
                error.headers["tus-resumable"] = tus.VERSION
                raise
            answer.headers["tus-resumable"] = tus.VERSION
            return answer

        return handling


router = APIRouter(tags=["uploads in parts"], route_class=TusRoute)
Method = Annotated[str, Header(alias="x-http-method-override")]


@router.options("/uploads", status_code=204, summary="What of tus is spoken")
async def abilities(request: Request) -> Response:
    """Version, extensions, checksums and the largest size; needs no key."""
    return Response(status_code=204, headers=tus.abilities(state_of(request).opening.entrances))


@router.options("/uploads/{file}", status_code=204, summary="What of tus is spoken")
async def abilities_here(request: Request, file: str) -> Response:  # noqa: ARG001 -- the description names it
    """The same for every upload, also for one that is not there; needs no key."""
    return await abilities(request)


@router.post("/uploads", status_code=201, summary="Begin an upload in parts")
async def create(
    request: Request,
    principal: Uploader,
    upload_metadata: Annotated[str, Header()] = "",
    idempotency_key: Annotated[str, Header()] = "",
    repr_digest: Annotated[str, Header()] = "",
) -> Response:
    """Its length by `Upload-Length` or later, its name by `Upload-Metadata`; the body may have its first bytes."""
    tus.check_version(request)
    state = state_of(request)
    if len(idempotency_key) > MOST_KEY:
        raise ApiError(400, f"an Idempotency-Key has at most {MOST_KEY} characters")
    said = tus.metadata_of(upload_metadata)
    entrance = tus.entrance_of(state.opening.entrances, said.source, principal)
    length = tus.length_of(request)
    digest = wanted_digest(repr_digest)
    name = proper_name(said.filename)
    judge_name(name, entrance.types)
    judge_size(length or 0, entrance)
    await refuse_if_full(state)
    wanted = acts.OpenUpload(
        file=id_of_key(principal, idempotency_key) if idempotency_key else RandomIds().new(),
        source=entrance.source,
        relative=name,
        tags=tuple(checked_tag(tag) for tag in said.tags),
        key=idempotency_key,
        length=length,
        digest="" if digest is None else digest.hex(),
    )
    location = {"location": f"{UPLOADS}/{wanted.file}"}
    upload = await _opened(state, principal, wanted)
    has_body = request.headers.get("content-type", "") == tus.OFFSET_STREAM
    if not upload.taken and (has_body or upload.length == upload.offset):
        if has_body and upload.offset:
            raise ApiError(
                409, "this upload has begun", help="ask for its offset by HEAD", headers=location
            )
        with _alone(state, upload.file):
            upload = await Appending(state, principal, upload).take(request if has_body else None)
    return Response(status_code=201, headers=location | tus.standing(upload))


@router.head("/uploads/{file}", summary="How far an upload is")
async def ask(request: Request, principal: Uploader, file: str) -> Response:
    """`Upload-Offset` is where to go on."""
    tus.check_version(request)
    state = state_of(request)
    upload = await _own(state, principal, file)
    if not upload.taken and upload.offset == upload.length:
        with _alone(state, file):
            upload = await Appending(state, principal, upload).take(None)
    return Response(status_code=200, headers={"cache-control": "no-store"} | tus.standing(upload))


@router.patch("/uploads/{file}", status_code=204, summary="Go on with an upload")
async def go_on(request: Request, principal: Uploader, file: str) -> Response:
    """The body's bytes follow those before `Upload-Offset`."""
    tus.check_version(request)
    state = state_of(request)
    with _alone(state, file):
        upload = await _own(state, principal, file)
        if request.headers.get("content-type", "") != tus.OFFSET_STREAM:
            raise ApiError(415, f"a part is sent as {tus.OFFSET_STREAM}")
        if tus.number_of(request, "upload-offset") != upload.offset:
            raise ApiError(
                409,
                f"the upload is at {upload.offset}",
                help="ask for its offset by HEAD",
                headers={"upload-offset": str(upload.offset)},
            )
        if not upload.taken:
            upload = await Appending(state, principal, upload).take(request)
    return Response(status_code=204, headers=tus.standing(upload))


@router.delete("/uploads/{file}", status_code=204, summary="Give an upload up")
async def give_up(request: Request, principal: Uploader, file: str) -> Response:
    """Its bytes are removed. One that came whole is a file, and stays."""
    tus.check_version(request)
    state = state_of(request)
    with _alone(state, file):
        upload = await _own(state, principal, file)
        if upload.taken:
            raise ApiError(409, "it came whole, and is a file now", help=f"/files/{file}")
        await state.channel.ask(acts.EndUpload(file=file), principal.name, replies.Done)
    return Response(status_code=204)


@router.post(
    "/uploads/{file}", status_code=204, summary="Go on, or give up, without PATCH or DELETE"
)
async def overridden(
    request: Request, principal: Uploader, file: str, method: Method = ""
) -> Response:
    """What a client whose network knows no PATCH or DELETE asks for by `X-HTTP-Method-Override`."""
    if method == "PATCH":
        return await go_on(request, principal, file)
    if method == "DELETE":
        return await give_up(request, principal, file)
    raise ApiError(
        405, "an upload is gone on with by PATCH", headers={"allow": "HEAD, PATCH, DELETE"}
    )


async def _opened(state: State, principal: Principal, wanted: acts.OpenUpload) -> PartialUpload:
    """The upload, new or known by its key.

    Raises:
        ApiError: 422, the key was used for another one.
    """
    if wanted.key and (found := await state.read(lambda q: find_file(q, wanted.file))) is not None:
        # Taken, whether or not its upload is still remembered.
        same = found.summary.relative == wanted.relative
        if not same or wanted.length not in (None, found.summary.size):
            raise ApiError(422, "this Idempotency-Key was used for another file", code="key-reused")
    await state.channel.ask(wanted, principal.name, replies.Done)
    upload = await _own(state, principal, wanted.file)
    same = (upload.source, upload.relative) == (wanted.source, wanted.relative)
    if not same or (wanted.length is not None and upload.length not in (None, wanted.length)):
        raise ApiError(422, "this Idempotency-Key was used for another file", code="key-reused")
    return upload


async def _own(state: State, principal: Principal, file: str) -> PartialUpload:
    """The upload, as the ledger has it: a file that is acknowledged came whole, whatever its upload says.

    Raises:
        ApiError: 404, there is none, or it is somebody else's.
    """
    upload = await state.read(lambda queries: queries.upload(file))
    if upload is None or upload.principal != principal.name:
        raise ApiError(404, "there is no such upload, or its time is over", help="begin again")
    if not upload.taken:
        found = await state.read(lambda queries: find_file(queries, file))
        if _is_taken(found, file):
            size = found.summary.size if found is not None else 0
            return msgspec.structs.replace(upload, offset=size, length=size, taken=True)
    return upload


def _is_taken(found: FileHistory | None, file: str) -> bool:
    return found is not None and found.summary.file == file and found.ingested_ns is not None


@contextlib.contextmanager
def _alone(state: State, file: str) -> Iterator[None]:
    """No two requests add to one upload at once.

    Raises:
        ApiError: 423, another one does.
    """
    if file in state.appended:
        raise ApiError(
            423, "another request goes on with this upload", headers={"retry-after": "1"}
        )
    state.appended.add(file)
    try:
        yield
    finally:
        state.appended.discard(file)
