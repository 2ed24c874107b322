"""Sending files: one or many in a form, or one as the body. Answered when they are acknowledged, not before.

`Idempotency-Key` gives an upload its id, so that whoever saw no answer sends it again and gets the same file. All files
of a request are received and judged before the first is handed over; of a request that is refused none is taken.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.routing import Match

from filemill.model.access import Principal
from filemill.model.errors import NotFound
from filemill.model.tags import TagSyntaxError, check_tag
from filemill.ports.clock import RandomIds
from filemill.ports.units import parse_duration
from filemill.queries import FileHistory, Queries
from filemill.service import acts, replies
from filemill.service.face_frames import Entrance
from filemill.web.answering import json
from filemill.web.errors import ApiError
from filemill.web.identifying import Uploader
from filemill.web.metering import count_upload
from filemill.web.multipart import Begun, Data, Ended, Field, Multipart
from filemill.web.pieces import pieces_of
from filemill.web.receiving import Receiving, proper_name, wanted_digest
from filemill.web.state import State, state_of
from filemill.web.telling import history_for

LONGEST_WAIT = 300.0
MOST_KEY = 255
_ENDS = frozenset({"done", "dead", "held", "cancelled", "discarded", "rejected", "quarantined"})


class EntranceRoute(APIRoute):
    """A route that is there only for paths that the configuration names."""

    def matches(self, scope: Any) -> tuple[Match, Any]:
        """Whether it takes this request."""
        state: State = scope["app"].state.filemill
        if not any(each.path == scope["path"] for each in state.opening.entrances):
            return Match.NONE, {}
        return super().matches(scope)


router = APIRouter(tags=["uploads"], route_class=EntranceRoute)


@router.post("/{entrance:path}", status_code=201, summary="Send files")
async def upload(
    request: Request,
    principal: Uploader,
    entrance: str,
    *,
    name: Annotated[str, Query(description="of a file that is the body itself")] = "",
    tag: Annotated[list[str] | None, Query(description="tags beside those of the source")] = None,
    wait: Annotated[str, Query(description="answer when its runs end, such as 30s")] = "",
    idempotency_key: Annotated[str, Header()] = "",
    content_digest: Annotated[str, Header()] = "",
) -> Response:
    """One or many files in `multipart/form-data`, or one as the body with `?name=`; fields `tag` give tags."""
    state = state_of(request)
    here = next(each for each in state.opening.entrances if each.path == f"/{entrance}")
    if principal.sources and here.source not in principal.sources:
        raise ApiError(403, "this key is not for this source")
    patience = _patience(wait)
    await refuse_if_full(state)
    reception = _Reception(state, here, principal, idempotency_key, list(tag or ()))
    state.limits.begin_upload(principal.name)
    try:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "multipart/form-data":
            await reception.form(request)
        else:
            await reception.body(request, name, wanted_digest(content_digest))
        taken = await reception.take()
    finally:
        state.limits.end_upload(principal.name)
        await reception.drop()
    known = all(not fresh for _, fresh in taken)
    files = [_receipt(each) for each, _ in taken]
    if patience:
        await _await_ends(state, files, patience, principal)
    headers = {"location": f"/files/{files[0]['id']}"} if len(files) == 1 else {}
    return json({"schema": "filemill.upload/1", "files": files}, 200 if known else 201, headers)


class _Reception:
    """The files of one request."""

    def __init__(
        self, state: State, entrance: Entrance, principal: Principal, key: str, tags: list[str]
    ) -> None:
        if len(key) > MOST_KEY:
            raise ApiError(400, f"an Idempotency-Key has at most {MOST_KEY} characters")
        self._state = state
        self._entrance = entrance
        self._principal = principal
        self._key = key
        self._tags = [checked_tag(tag) for tag in tags]
        self._files: list[Receiving] = []
        self._ids = RandomIds()

    async def form(self, request: Request) -> None:
        """Receive a form."""
        form = Multipart(request.headers["content-type"])
        digest: bytes | None = None
        async for piece in pieces_of(request):
            for part in form.feed(piece):
                if isinstance(part, Data):
                    await self._files[-1].write(part.data)
                elif isinstance(part, Begun):
                    digest = wanted_digest(part.digest)
                    self._begin(part.name)
                elif isinstance(part, Ended):
                    await self._files[-1].finish(digest)
                else:
                    self._field(part)
        form.end()
        if not self._files:
            raise ApiError(422, "no file was sent", help="curl -F file=@orders.csv ...")

    async def body(self, request: Request, name: str, digest: bytes | None) -> None:
        """Receive the body as one file."""
        if not name:
            raise ApiError(
                422,
                "a file that is the body needs `?name=`",
                help="or send a form: curl -F file=@orders.csv ...",
            )
        self._begin(name.encode("utf-8", "surrogateescape"))
        async for piece in pieces_of(request):
            await self._files[-1].write(piece)
        await self._files[-1].finish(digest)

    async def take(self) -> list[tuple[Receiving, bool]]:
        """Hand all over; each with whether it is new."""
        return [(each, await self._take(each)) for each in self._files]

    async def drop(self) -> None:
        """Remove what was not taken."""
        for each in self._files:
            await each.drop()

    async def _take(self, each: Receiving) -> bool:
        act = acts.TakeUpload(
            file=each.file,
            source=self._entrance.source,
            relative=each.name,
            size=each.size,
            stored=each.stored,
            tags=tuple(self._tags),
        )
        done = await self._state.channel.ask(act, self._principal.name, replies.Done)
        if not all(done.moved):
            await self._compare(each)
            return False
        count_upload(self._state.meter, act.source, act.size)
        return True

    async def _compare(self, each: Receiving) -> None:
        """The id is known: it must be the same file.

        Raises:
            ApiError: 409, it is not acknowledged yet; 422, it is another one.
        """
        found = await self._state.read(lambda queries: find_file(queries, each.file))
        if found is None or found.ingested_ns is None:
            raise ApiError(409, "this upload is on its way", headers={"retry-after": "1"})
        same = found.summary.size == each.size and found.summary.relative == each.name
        if not same or (found.digest and found.digest != each.digest):
            raise ApiError(422, "this Idempotency-Key was used for another file", code="key-reused")

    def _begin(self, name: bytes) -> None:
        each = Receiving(
            self._state.opening.data,
            self._id(),
            proper_name(name),
            self._entrance,
            self._state.sealer,
        )
        each.begin()
        self._files.append(each)

    def _id(self) -> str:
        if not self._key:
            return self._ids.new()
        return id_of_key(self._principal, self._key, len(self._files))

    def _field(self, field: Field) -> None:
        if field.name != "tag":
            raise ApiError(
                422, f"no field `{field.name[:60]}`", help="fields: tag; files: any name"
            )
        self._tags.append(checked_tag(field.value))


def id_of_key(principal: Principal, key: str, number: int = 0) -> str:
    """The id of what a principal sends, as the file of that number, under an Idempotency-Key."""
    said = f"{principal.name}\0{key}\0{number}"
    digest = hashlib.sha256(said.encode("utf-8", "surrogateescape")).digest()
    return base64.b32encode(digest)[:13].decode("ascii").lower()


async def refuse_if_full(state: State) -> None:
    """Refuse before anything is sent what would be refused afterwards.

    Raises:
        ApiError: 429 or 507, files are not taken now.
    """
    seen = await state.look()
    waits = next((each for each in seen.troubles if each.what == "intake"), None)
    if waits is not None:
        full = "queue" in waits.message
        raise ApiError(429 if full else 507, waits.message, help=waits.help)


def checked_tag(tag: str) -> str:
    """The tag.

    Raises:
        ApiError: 422, it is none.
    """
    try:
        check_tag(tag)
    except TagSyntaxError as error:
        raise ApiError(422, f"`{tag[:60]}` is no tag: {error}", code="bad-tag") from error
    return tag


def _patience(text: str) -> float:
    if not text:
        return 0.0
    try:
        return min(parse_duration(text), LONGEST_WAIT)
    except ValueError as error:
        raise ApiError(422, f"wait: {error}", help="such as 30s") from error


def _receipt(each: Receiving) -> dict[str, Any]:
    return {
        "id": each.file,
        "url": f"/files/{each.file}",
        "name": each.name.decode("utf-8", "backslashreplace"),
        "size": each.size,
        "sha256": each.digest,
    }


def find_file(queries: Queries, file: str) -> FileHistory | None:
    """All that is known of a file; None when nothing is."""
    try:
        return queries.file(file)
    except NotFound:
        return None


async def _await_ends(
    state: State, files: list[dict[str, Any]], patience: float, principal: Principal
) -> None:
    """Put into each receipt what became of its file, as far as that is known in time."""
    ends = time.monotonic() + patience
    pause = 0.02
    left = list(files)
    while True:
        for each in list(left):
            file = each["id"]
            found = await state.read(lambda queries, file=file: find_file(queries, file), principal)  # type: ignore[misc]
            if found is not None:
                shape = history_for(principal, found)
                each |= {key: shape[key] for key in ("state", "reason", "runs")}
                if found.summary.state in _ENDS:
                    left.remove(each)
        if not left or time.monotonic() > ends:
            return
        await asyncio.sleep(min(pause, max(0.0, ends - time.monotonic())))
        pause = min(2 * pause, 0.5)
