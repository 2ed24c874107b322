"""The web child's life: hear how to serve, serve, end when the server does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import uvicorn
import uvloop

from filemill.encryption.hiding import hide_memory
from filemill.service.face_frames import Opening
from filemill.web.application import application
from filemill.web.certificates import Certificates
from filemill.web.channel import Channel
from filemill.web.connection import Connection
from filemill.web.door import Door
from filemill.web.local_key import local_key
from filemill.web.state import State

GRACE = 4
"""Seconds that answers under way get at the end."""


def serve(channel: socket.socket, listening: socket.socket) -> int:
    """Serve until the channel closes; answers the exit code."""
    return uvloop.run(_serve(channel, listening))


async def _serve(connection: socket.socket, listening: socket.socket) -> int:
    channel = Channel(connection)
    ended = asyncio.Event()
    state: State | None = None

    def told(opening: Opening) -> None:
        if state is not None:
            state.opening = opening

    opening = await channel.open(ended.set, told)
    if opening.recipients:
        hide_memory()  # what is sent is plain here, and nowhere else
    state = State(channel, opening, await asyncio.to_thread(local_key, opening.data))
    config = uvicorn.Config(
        application(state),
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        # What strangers do wrong is told them, and is no line of ours.
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=opening.behind_proxy,
        forwarded_allow_ips=list(opening.proxies),
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACE,
    )
    certificates: Certificates | None = None
    watching: asyncio.Task[None] | None = None
    if opening.tls is not None:
        certificates = Certificates(opening.tls, channel.note)
        config.ssl_context_factory = certificates.context
        watching = asyncio.create_task(certificates.watch(), name="certificates")
    server = _Server(config, channel.listening)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    ending = asyncio.create_task(ended.wait())
    await asyncio.wait({serving, ending}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await serving
    if state.provider is not None:
        await state.provider.aclose()
    ending.cancel()
    if watching is not None:
        watching.cancel()
    return 0


class _Server(uvicorn.Server):
    """Lets connections in by our own door, and says when requests are answered."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await self.lifespan.startup()
        door = Door(self._connection, self.config.ssl)
        for each in sockets or ():
            door.open(each)
        self.servers = [door]  # type: ignore[list-item]
        self.started = True
        self._listening()

    def _connection(self, gone: Callable[[], None], is_welcome: bool) -> Connection:
        return Connection(
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            gone=gone,
            is_welcome=is_welcome,
        )
