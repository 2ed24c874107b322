"""A file in one request: a form, so that its name is any bytes, with its digest, under its Idempotency-Key."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable

import msgspec

from filemill.client.exchange import Exchange
from filemill.client.files import pieces
from filemill.client.outcomes import Receipt
from filemill.client.parcels import Parcel
from filemill.client.refusals import refusal


class _File(msgspec.Struct, frozen=True):
    id: str


class _Answer(msgspec.Struct, frozen=True):
    files: tuple[_File, ...]


class Form:
    """The body of one request. `sent` is told how many bytes of the file went out."""

    def __init__(self, parcel: Parcel, sent: Callable[[int], None]) -> None:
        self._file = file = parcel.file
        self._sent = sent
        boundary = secrets.token_hex(16).encode("ascii")
        fields = b"".join(
            b'--%s\r\nContent-Disposition: form-data; name="tag"\r\n\r\n%s\r\n'
            % (boundary, tag.encode("utf-8", "surrogateescape"))
            for tag in parcel.tags
        )
        name = file.name.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        self._head = fields + (
            b'--%s\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n'
            b"Content-Type: application/octet-stream\r\nContent-Digest: %s\r\n\r\n"
            % (boundary, name, parcel.digest_header.encode("ascii"))
        )
        self._tail = b"\r\n--%s--\r\n" % boundary
        self.headers = {
            "content-type": f"multipart/form-data; boundary={boundary.decode('ascii')}",
            "content-length": str(len(self._head) + file.size + len(self._tail)),
        }

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The bytes.

        Raises:
            Changed: the file is not what it was.
        """
        yield self._head
        async for piece in pieces(self._file, 0, self._sent):
            yield piece
        yield self._tail


async def send(exchange: Exchange, parcel: Parcel, sent: Callable[[int], None]) -> Receipt:
    """Send it in one request.

    Raises:
        Again: it may go well later.
        FilemillError: as the server says, or the file is not what it was.
    """
    form = Form(parcel, sent)
    headers = form.headers | {"idempotency-key": parcel.key}
    answer = await exchange.request("POST", parcel.entrance.path, content=form, headers=headers)
    if not answer.is_success:
        raise refusal(answer.status_code, answer.content, exchange.url)
    try:
        (taken,) = msgspec.json.decode(answer.content, type=_Answer).files
    except (msgspec.MsgspecError, ValueError) as error:
        raise refusal(answer.status_code, b"", exchange.url) from error
    sent(parcel.file.size)
    return Receipt(taken.id, answer.status_code == 201)
