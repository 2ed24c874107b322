"""Encrypted content on its way out: read from the process that opens it, and sent on as it comes.

This process has no identity. It has a ticket for these bytes, and they pass through its memory.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from urllib.parse import quote

from fastapi import Request
from starlette.responses import Response, StreamingResponse

from filemill.encryption.handing_out import ASK, STARTS
from filemill.service import replies
from filemill.web.downloading import HEADERS, range_of
from filemill.web.errors import ApiError

_PIECE = 256 << 10
_PATIENCE = 60.0
_STATUS = {"gone": 404, "corrupt": 500, "system": 503}


async def opened(request: Request, given: replies.HandedOut, size: int, name: str) -> Response:
    """The plain bytes, or the one range of them that is asked for, saved as `name`.

    Raises:
        ApiError: they cannot be opened; 416, there are no such bytes.
    """
    asked = range_of(request.headers.get("range", ""), size)
    start, end = asked or (0, size)
    reader, writer = await _asked(given, start, end)
    headers = HEADERS | {
        "accept-ranges": "bytes",
        "content-length": str(end - start),
        "content-disposition": _disposition(os.path.basename(name) or "file"),
    }
    if asked is not None:
        headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
    return StreamingResponse(
        _pieces(reader, writer, end - start),
        status_code=200 if asked is None else 206,
        headers=headers,
        media_type="application/octet-stream",
    )


async def plain_of(given: replies.HandedOut, size: int) -> AsyncIterator[bytes]:
    """The first `size` plain bytes.

    Raises:
        ApiError: they cannot be opened.
    """
    reader, writer = await _asked(given, 0, size)
    try:
        async for piece in _pieces(reader, writer, size):
            yield piece
    except OSError as error:
        raise ApiError(500, "its bytes are not whole", code="corrupt") from error


async def _asked(
    given: replies.HandedOut, start: int, end: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Where the bytes are read from now.

    Raises:
        ApiError: they cannot be opened.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.setblocking(False)
    try:
        connection.connect(given.address)  # to a queue of the kernel, or it is full
        reader, writer = await asyncio.open_unix_connection(sock=connection, limit=_PIECE)
    except OSError as error:
        connection.close()
        raise ApiError(503, "content cannot be opened now", code="system") from error
    try:
        async with asyncio.timeout(_PATIENCE):
            writer.write(ASK.pack(given.ticket, start, end))
            said = await reader.readexactly(1)
            if said == STARTS:
                return reader, writer
            kind, _, why = (await reader.read()).decode("utf-8", "replace").partition("\n")
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        writer.close()
        raise ApiError(503, "content cannot be opened now", code="system") from error
    writer.close()
    raise ApiError(_STATUS.get(kind, 503), why, code=kind)


async def _pieces(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int
) -> AsyncIterator[bytes]:
    """So many bytes; an answer that ends before is cut off, so that nobody takes it for whole."""
    try:
        while left:
            piece = await reader.read(min(left, _PIECE))
            if not piece:
                raise ConnectionError("content ended before its end")
            left -= len(piece)
            yield piece
    finally:
        writer.close()


def _disposition(name: str) -> str:
    quoted = quote(name)
    if quoted == name:
        return f'attachment; filename="{name}"'
    return f"attachment; filename*=utf-8''{quoted}"
