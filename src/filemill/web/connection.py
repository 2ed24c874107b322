"""One connection: slow and hoarding clients are cut off before they cost anything.

uvicorn has no limit on how long, or how large, a request's head may be, nor on how slowly an answer may be read; these
are here. A body that stops coming is cut off by whoever reads it (`bodies`, `pieces`).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from filemill.web.errors import ApiError, body
from filemill.web.lingering import Lingering, untaken

HEAD = 32 << 10
"""Bytes of request line and headers."""
HEAD_PATIENCE = 10.0
"""Seconds in which they must be there, from the first byte or the connection on."""
REFUSAL_PATIENCE = 5.0
"""Seconds for which whoever sent no proper head may read what it is told."""
STUCK = 30.0
"""Seconds after which a client that takes next to nothing of its answer is given up."""
LEAST_TAKEN = 3_000
"""Bytes that it must take in them."""
_REFUSED = """\
HTTP/1.1 {status}\r
content-type: application/json\r
content-length: {length}\r
connection: close\r
x-content-type-options: nosniff\r
x-request-id: {number}\r
{more}\r
{body}"""


class Connection(HttpToolsProtocol):
    """uvicorn's protocol, with limits. `gone` is called when the connection is lost; who is not welcome is told so."""

    def __init__(
        self, *args: Any, gone: Callable[[], None], is_welcome: bool, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._gone = gone
        self._is_welcome = is_welcome
        self._head = 0
        self._in_head = True
        self._is_whole = True
        """Nothing of a request that has begun is missing."""
        self._timer: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None
        self._untaken = 0
        self._lingering: Lingering

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for its first request."""
        # Under TLS half a megabyte would wait in it otherwise.
        transport.set_write_buffer_limits(high=64 << 10)
        self._lingering = Lingering(transport, lambda: not self._is_whole)
        super().connection_made(cast("asyncio.Transport", self._lingering))
        if self._is_welcome:
            self._watch()
        else:
            self._refuse("429 Too Many Requests", "too many connections")

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of it."""
        self._unwatch()
        self._unstick()
        self._lingering.gone()
        self._gone()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; a head that is too long ends the connection."""
        if self._lingering.is_closing():
            self._lingering.heard()
            return
        if self._in_head:
            if self._timer is None and not self._is_answering():
                self._watch()
            self._head += len(data)
        super().data_received(data)
        if self._in_head and self._head > HEAD:
            self._refuse("431 Request Header Fields Too Large", "too long a head")

    def on_message_begin(self) -> None:
        """A request's first byte is there."""
        self._is_whole = False
        if self._timer is None and not self._is_answering():
            self._watch()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._in_head = False
        self._unwatch()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is there; the next head may come."""
        self._in_head, self._head = True, 0
        self._is_whole = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The next answer may be given."""
        super().on_response_complete()
        if self.transport.is_closing() or self._is_answering() or self._is_whole:
            return
        if self._in_head:
            # The head of the next request has begun to come while this one was answered.
            self._watch()
        else:
            # Nobody reads what is left of this body.
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, in the one shape of errors."""
        del msg
        self._refuse("400 Bad Request", "this is no HTTP request")

    def shutdown(self) -> None:
        """End, as soon as an answer under way is given."""
        if self._lingering.is_closing():
            self._lingering.abort()
        else:
            super().shutdown()

    def pause_writing(self) -> None:
        """The client takes less than it is sent: see that it takes something."""
        super().pause_writing()
        if self._stuck is None:
            self._look_again()

    def resume_writing(self) -> None:
        """It has taken most of it."""
        self._unstick()
        super().resume_writing()

    def _look_again(self) -> None:
        self._untaken = untaken(self.transport)
        self._stuck = asyncio.get_running_loop().call_later(STUCK, self._look)

    def _look(self) -> None:
        self._stuck = None
        if self._untaken - untaken(self.transport) < LEAST_TAKEN:
            self.transport.abort()
        else:
            self._look_again()

    def _unstick(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _is_answering(self) -> bool:
        # uvicorn has none before the first request, and does not say so.
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _watch(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(HEAD_PATIENCE, self._too_slow)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._refuse("408 Request Timeout", "the request did not come")

    def _refuse(self, status: str, message: str) -> None:
        """Say why, unless another answer is under way, and close."""
        self._unwatch()
        self._is_whole = False
        if not self._is_answering() or self._is_reading_body():
            number = secrets.token_hex(6)
            said = body(ApiError(int(status[:3]), message), number).decode("ascii")
            more = "retry-after: 1\r\n" if status.startswith("429") else ""
            told = _REFUSED.format(
                status=status, length=len(said), number=number, more=more, body=said
            )
            self.transport.write(told.encode("ascii"))
        self._lingering.close(REFUSAL_PATIENCE)
        if self._is_answering():
            # What it answers would go nowhere.
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _is_reading_body(self) -> bool:
        """Whether what is wrong is in the body of the one request that is there, of which nothing is answered yet."""
        return not (self._in_head or self.pipeline or self.cycle.response_started)
