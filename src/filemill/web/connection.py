"""One connection: slow and hoarding clients are cut off before they cost anything.

uvicorn has no limit on how long, or how large, a request's head may be, nor on connections per address; these are here.
A body that stops coming is cut off by the route that reads it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD = 32 << 10
"""Bytes of request line and headers."""
HEAD_PATIENCE = 10.0
"""Seconds in which they must be there, from the first byte or the connection on."""
PER_ADDRESS = 512
"""Connections from one address."""
_REFUSED = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"
_held: Counter[str] = Counter()


class Connection(HttpToolsProtocol):
    """uvicorn's protocol, with limits on the head of a request and on connections."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head = 0
        self._in_head = True
        self._timer: asyncio.TimerHandle | None = None
        self._address = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count it, and wait for its first request."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if isinstance(peer, tuple) else ""
        _held[self._address] += 1
        if _held[self._address] > PER_ADDRESS:
            self._refuse(b"429 Too Many Requests", b'"too-many"', b'"too many connections"')
            return
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no more."""
        self._unwatch()
        _held[self._address] -= 1
        if not _held[self._address]:
            del _held[self._address]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; a head that is too long ends the connection."""
        if self._in_head:
            if self._timer is None:
                self._watch()
            self._head += len(data)
            super().data_received(data)
            if self._head > HEAD and not self._is_past_head():
                self._refuse(
                    b"431 Request Header Fields Too Large", b'"too-large"', b'"too long a head"'
                )
            return
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._in_head = False
        self._unwatch()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """The next request may come."""
        self._in_head, self._head = True, 0
        super().on_response_complete()

    def _is_past_head(self) -> bool:
        return not self._in_head

    def _watch(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(HEAD_PATIENCE, self._too_slow)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._refuse(b"408 Request Timeout", b'"too-slow"', b'"the request did not come"')

    def _refuse(self, status: bytes, code: bytes, message: bytes) -> None:
        body = b'{"error":{"code":%s,"message":%s,"help":"","request_id":""}}' % (code, message)
        if not self.transport.is_closing():
            self.transport.write(_REFUSED % (status, len(body), body))
            self.transport.close()
