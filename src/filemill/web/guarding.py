"""What every request passes before any route: its host, its size, its principal; and the headers of every answer.

A host name that is not ours is refused (421), so that a page elsewhere cannot have a browser ask us under its own name
(DNS rebinding). Bodies are counted while they are read, whatever their headers say (`bodies`); routes that take files
count by themselves.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

from filemill.model.plan import LOOPBACK
from filemill.service.face_frames import Opening
from filemill.web.bodies import MOST_BODY, Body, Message, Receive, Scope
from filemill.web.channel import ADDRESS
from filemill.web.errors import ERROR, ApiError, body
from filemill.web.limiting import Limits

Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
)
"""On every answer that does not say otherwise."""
PIECE = 64 << 10
"""Bytes that are handed to a connection at once: it waits for its client before it takes more, and holds no more."""
HSTS = (b"strict-transport-security", b"max-age=31536000")
"""Under TLS of our own: browsers ask this host no other way for a year."""


class Guard:
    """ASGI middleware, the outermost. `takes_files` says of a path that its route counts its body by itself."""

    def __init__(
        self,
        app: App,
        opening: Callable[[], Opening],
        takes_files: Callable[[str], bool],
        limits: Limits,
    ) -> None:
        self._limits = limits
        self._app = app
        self._opening = opening
        self._takes_files = takes_files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            return
        ADDRESS.set(address_of(scope))
        scope["filemill.request"] = number = secrets.token_hex(6)
        given = Body(scope, receive, is_bounded=not self._takes_files(scope["path"]))

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                there = {name.lower() for name, _ in headers}
                headers += [each for each in HEADERS if each[0] not in there]
                headers.append((b"x-request-id", number.encode()))
                if self._opening().tls is not None:
                    headers.append(HSTS)
                if not given.is_whole and b"connection" not in there:
                    # Nobody reads what is left of the body, so no request can follow it.
                    headers.append((b"connection", b"close"))
                message["headers"] = headers
            whole, at = message.get("body", b""), 0
            while len(whole) - at > PIECE:
                piece = whole[at : at + PIECE]
                await send({"type": message["type"], "body": piece, "more_body": True})
                at += PIECE
            await send({**message, "body": whole[at:]} if at else message)

        if (why := self._refused(scope)) is not None:
            await _answer(why, scope, sending)
            return
        await self._app(scope, given.receive, sending)

    def _refused(self, scope: Scope) -> ApiError | None:
        try:
            self._limits.request("address", address_of(scope))
        except ApiError as error:
            return error
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1:
            return ApiError(400, "a request names one host")
        if not self._is_ours(hosts[0].decode("latin-1")):
            return ApiError(
                421,
                "this host name is not served here",
                help="`web: {hosts: [...]}` lists the names under which it may be asked for",
            )
        length = next((v for n, v in scope["headers"] if n == b"content-length"), b"0")
        if not length.isdigit():
            return ApiError(400, "content-length is no number")
        if int(length) > MOST_BODY and not self._takes_files(scope["path"]):
            return ApiError(413, f"more than {MOST_BODY:,} bytes")
        return None

    def _is_ours(self, host: str) -> bool:
        opening = self._opening()
        name = host.lower()
        name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
        known = {opening.host, *opening.hosts}
        if opening.host in (*LOOPBACK, "0.0.0.0", "::"):  # noqa: S104 -- compared, not bound
            known |= set(LOOPBACK)
        return name in known


def address_of(scope: Scope) -> str:
    """Where a request comes from; behind a proxy, as the proxy says."""
    client = scope.get("client")
    return str(client[0]) if client else ""


async def _answer(error: ApiError, scope: Scope, send: Send) -> None:
    scope[ERROR] = error.code
    content = body(error, scope["filemill.request"])
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        *((name.encode(), value.encode()) for name, value in error.headers.items()),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
