"""Adding to an upload in parts: what one request brings, acknowledged as far as it is safe.

Bytes are synced, then their offset is noted, then answered. The last ones are not noted by themselves: they
are acknowledged with the file, so an upload that is open is never one that came whole and was not taken.
"""

from __future__ import annotations

import msgspec
from starlette.requests import Request

from filemill.model.access import Principal
from filemill.model.uploads import PartialUpload
from filemill.routing.sniffing import HEAD
from filemill.service import acts, replies
from filemill.service.face_frames import Entrance
from filemill.web import tus
from filemill.web.errors import ApiError
from filemill.web.metering import count_upload
from filemill.web.opening import plain_of
from filemill.web.parts import Lost, Part
from filemill.web.pieces import pieces_of
from filemill.web.receiving import is_judged_by_content, judge_content, judge_size
from filemill.web.sealed_parts import SealedPart
from filemill.web.state import State

NOTE_EVERY = 8 << 20
"""Bytes of one request after which its offset is noted, though more comes: no crash loses more of it."""
_GONE = "fewer bytes are there than were acknowledged"


class Appending:
    """One request that adds to an upload."""

    def __init__(self, state: State, principal: Principal, upload: PartialUpload) -> None:
        self._state = state
        self._principal = principal
        self._upload = upload
        self._noted = upload.length
        self._entrance = _entrance(state, upload)
        self._part = _part(state, upload, self._entrance)

    async def take(self, request: Request | None) -> PartialUpload:
        """Take the body, and the file when it is whole; how the upload stands then."""
        try:
            await self._part.open()
            await self._recall()
            if request is not None:
                await self._append(request)
            if self._part.offset == self._upload.length:
                await self._finish()
            else:
                await self._note()
            return self._upload
        except Lost as error:
            await self._end(lost=_GONE)
            raise ApiError(410, _GONE, help="begin again") from error
        except ApiError as error:
            if error.status in (413, 415):
                await self._end()
            raise
        finally:
            self._part.close()

    async def _recall(self) -> None:
        """Read back what this process has to know of encrypted bytes that came before, and does not."""
        part = self._part
        if not isinstance(part, SealedPart) or not (missing := part.missing):
            return
        ask = acts.HandOut(upload=self._upload.file)
        ticket = await self._state.channel.ask(ask, self._principal.name, replies.HandedOut)
        try:
            async for piece in plain_of(ticket, missing):
                part.learn(piece)
        except ApiError as error:
            if error.code in {"gone", "corrupt"}:
                raise Lost from error
            raise

    async def _append(self, request: Request) -> None:
        if "upload-length" in request.headers and self._upload.length is None:
            length = tus.number_of(request, "upload-length")
            if length < self._upload.offset:
                raise ApiError(400, "more has come than Upload-Length says")
            judge_size(length, self._entrance)
            self._upload = msgspec.structs.replace(self._upload, length=length)
        given = request.headers.get("upload-checksum")
        checksum = None if given is None else tus.Checksum(given)
        self._bounded(self._part.offset + int(request.headers.get("content-length", "0")))
        self._state.limits.begin_upload(self._principal.name)
        try:
            async for piece in pieces_of(request):
                self._bounded(self._part.offset + len(piece))
                if checksum is not None:
                    checksum.add(piece)
                await self._part.write(piece)
                if checksum is None and self._part.offset - self._upload.offset >= NOTE_EVERY:
                    await self._note()
        except ApiError as error:
            # Silence or a cut: what came counts, unless nobody can tell whether it is right.
            whole = self._part.offset == self._upload.length
            if error.status in (400, 408) and checksum is None and not whole:
                await self._note()
            raise
        finally:
            self._state.limits.end_upload(self._principal.name)
        if checksum is not None:
            checksum.verify()

    def _bounded(self, size: int) -> None:
        """See that no more comes than was said, or may."""
        if self._upload.length is None:
            judge_size(size, self._entrance)
        elif size > self._upload.length:
            raise ApiError(400, f"more comes than Upload-Length says: {self._upload.length}")

    async def _note(self) -> None:
        """The offset is acknowledged: only of bytes that are synced."""
        part, before = self._part, self._upload.offset
        fresh = part.offset > before or self._noted != self._upload.length
        if not fresh or part.offset == self._upload.length:
            return
        await part.sync()
        if before < HEAD <= part.offset:
            await self._judge()
        act = acts.NoteOffset(
            file=self._upload.file, before=before, offset=part.synced, length=self._upload.length
        )
        done = await self._state.channel.ask(act, self._principal.name, replies.Done)
        if not all(done.moved):
            raise ApiError(409, "the upload is not where it was", help="ask for its offset by HEAD")
        part.noted()
        self._noted = self._upload.length
        self._upload = msgspec.structs.replace(self._upload, offset=part.synced)

    async def _judge(self) -> None:
        head = await self._part.head()
        if head is not None:
            judge_content(head, self._upload.relative, self._entrance.types)

    async def _finish(self) -> None:
        """It is whole: it becomes a file. Its last bytes are acknowledged with it, and not before."""
        await self._part.end()
        upload, length = self._upload, self._part.offset
        await self._judge()
        if upload.digest and await self._part.digest() != upload.digest:
            await self._end()
            raise ApiError(
                422, "what came has another digest than Repr-Digest says", code="bad-digest"
            )
        act = acts.TakeUpload(
            file=upload.file,
            source=upload.source,
            relative=upload.relative,
            size=length,
            stored=self._part.stored,
            tags=upload.tags,
        )
        done = await self._state.channel.ask(act, self._principal.name, replies.Done)
        if not all(done.moved):
            raise ApiError(409, "this upload is on its way", headers={"retry-after": "1"})
        count_upload(self._state.meter, act.source, act.size)
        await self._end(taken=length)
        self._upload = msgspec.structs.replace(upload, offset=length, length=length, taken=True)

    async def _end(self, *, taken: int | None = None, lost: str = "") -> None:
        act = acts.EndUpload(
            file=self._upload.file, taken=taken is not None, length=taken, lost=lost
        )
        await self._state.channel.ask(act, self._principal.name, replies.Done)
        self._part.ended()


def _part(state: State, upload: PartialUpload, entrance: Entrance) -> Part:
    data = state.opening.data
    if state.sealer is None:
        return Part(data, upload, state.durable)
    return SealedPart(
        data,
        upload,
        state.durable,
        state.sealer,
        state.begun,
        judged=not is_judged_by_content(upload.relative, entrance.types),
    )


def _entrance(state: State, upload: PartialUpload) -> Entrance:
    """The source it is for, as it is configured now.

    Raises:
        ApiError: 422, there is none any more.
    """
    for each in state.opening.entrances:
        if each.source == upload.source:
            return each
    raise ApiError(
        422, f"no source `{upload.source}` takes what is sent any more", code="no-source"
    )
