"""A large file in parts (tus 1.0): a connection that breaks costs what was under way, not what had arrived.

Its Idempotency-Key finds the same upload again, so that another run of the command goes on with it, too.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

import httpx2

from filemill.client.exchange import Again, Exchange
from filemill.client.files import pieces
from filemill.client.outcomes import Receipt
from filemill.client.parcels import Parcel
from filemill.client.refusals import refusal
from filemill.model.errors import SystemFault

LARGE = 64 << 20
"""Bytes above which a file goes in parts."""
_VERSION = {"tus-resumable": "1.0.0"}
_STREAM = "application/offset+octet-stream"
_BEGUN = 3
"""How often it is begun before it is said that the server loses it."""
_STRAYED = 10
"""How often a part may come to where the upload is not."""


class Parts:
    """One file on its way. `send` may be called again after `Again`: it goes on."""

    def __init__(self, exchange: Exchange, parcel: Parcel, sent: Callable[[int], None]) -> None:
        self._exchange = exchange
        self._file = file = parcel.file
        self._sent = sent
        self._location = ""
        self._begun = self._strayed = 0
        self._offset = 0
        self._added = False
        words = {"filename": file.name, "source": parcel.entrance.source.encode()}
        if parcel.tags:
            words["tag"] = ",".join(parcel.tags).encode("utf-8", "surrogateescape")
        self._beginning = _VERSION | {
            "upload-length": str(file.size),
            "upload-metadata": ",".join(
                f"{word} {base64.b64encode(value).decode('ascii')}" for word, value in words.items()
            ),
            "idempotency-key": parcel.key,
            "repr-digest": parcel.digest_header,
        }

    async def send(self) -> Receipt:
        """Send what is missing.

        Raises:
            Again: it may go well later.
            FilemillError: as the server says, or the file is not what it was.
        """
        while True:
            answer = await self._where()
            if answer is None:
                continue
            if file := answer.headers.get("filemill-file", ""):
                return self._taken(file, fresh=self._added)
            part = pieces(self._file, self._offset, self._sent)
            headers = _VERSION | {
                "content-type": _STREAM,
                "upload-offset": str(self._offset),
                "content-length": str(self._file.size - self._offset),
            }
            self._added = True
            answer = await self._exchange.request(
                "PATCH", self._location, content=part, headers=headers
            )
            if answer.status_code in (404, 409, 410) and self._strayed < _STRAYED:
                self._strayed += 1
                continue  # asked where it is, it says what to do
            if not answer.is_success:
                raise refusal(answer.status_code, answer.content, self._exchange.url)
            if file := answer.headers.get("filemill-file", ""):
                return self._taken(file, fresh=True)
            self._at(answer)

    async def _where(self) -> httpx2.Response | None:
        """Begin it, or ask how far it is. None: it is not there any more, and is begun anew."""
        if not self._location:
            if self._begun >= _BEGUN:
                raise SystemFault("the server forgets this upload again and again")
            self._begun += 1
            answer = await self._exchange.request("POST", "/uploads", headers=self._beginning)
            if not answer.is_success:
                raise refusal(answer.status_code, answer.content, self._exchange.url)
            self._location = answer.headers.get("location", "")
            if not self._location.startswith("/uploads/"):
                raise refusal(answer.status_code, b"", self._exchange.url)
        else:
            answer = await self._exchange.request("HEAD", self._location, headers=_VERSION)
            if answer.status_code in (404, 410):
                self._location, self._offset = "", 0
                return None
            if not answer.is_success:
                raise Again(refusal(answer.status_code, answer.content, self._exchange.url))
        self._at(answer)
        return answer

    def _at(self, answer: httpx2.Response) -> None:
        text = answer.headers.get("upload-offset", "")
        if not text.isdigit() or int(text) > self._file.size:
            raise refusal(answer.status_code, b"", self._exchange.url)
        self._offset = int(text)
        self._sent(self._offset)

    def _taken(self, file: str, *, fresh: bool) -> Receipt:
        self._sent(self._file.size)
        return Receipt(file.rpartition("/")[2], fresh)
