"""Counting requests: which route, which status, how long until the answer began. The outermost of all."""

from __future__ import annotations

import time
from collections.abc import Callable

from filemill.telemetry.metering import Meter
from filemill.web.bodies import Message, Receive, Scope
from filemill.web.errors import ERROR
from filemill.web.guarding import App, Send

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
NOWHERE = "none"
"""The route of what is refused before any route is looked for, or that has none."""


class Metering:
    """ASGI middleware around everything, so that what the guard refuses counts too.

    `takes_files` says of a path that files are sent to it.
    """

    def __init__(self, app: App, meter: Meter, takes_files: Callable[[str], bool]) -> None:
        self._app = app
        self._meter = meter
        self._takes_files = takes_files
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        status, answered = 0, began

        async def sending(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], time.monotonic()
            await send(message)

        self._change(1)
        try:
            await self._app(scope, receive, sending)
        finally:
            self._change(-1)
            if status:
                self._count(scope, status, answered - began)

    def _change(self, by: int) -> None:
        self._under_way += by
        self._meter.set("filemill_http_requests_in_progress", to=self._under_way)

    def _count(self, scope: Scope, status: int, took: float) -> None:
        route = getattr(scope.get("route"), "path_format", NOWHERE)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._meter.add("filemill_http_requests_total", method, route, str(status))
        self._meter.observe("filemill_http_request_duration_seconds", route, value=took)
        if status >= 400 and self._takes_files(scope["path"]):
            self._meter.add("filemill_uploads_refused_total", scope.get(ERROR, str(status)))


def count_upload(meter: Meter, source: str, size: int) -> None:
    """A file that was sent is acknowledged."""
    meter.add("filemill_uploads_total", source)
    meter.add("filemill_upload_bytes_total", source, by=size)
