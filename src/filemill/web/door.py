"""Where connections come in: counted by address from their first moment on, whether or not a TLS handshake ever ends.

uvicorn's own way, `create_server`, tells of a connection only when its handshake is over, and waits for that a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import sys
from collections import Counter
from collections.abc import Callable

PER_ADDRESS = 512
"""Connections from one address."""
REFUSALS = 128
"""Of those over it so many are told why; others are closed without a word."""
HANDSHAKE = 10.0
"""Seconds in which a TLS handshake must be over."""
NEW_A_SECOND, NEW_AT_ONCE = 100, 64
"""TLS handshakes that one address may begin: so many a second, and so many before that counts. Others wait their turn.

With its first requests a new connection costs some milliseconds of the one thread that serves all addresses.
"""
FAREWELL = 5.0
"""Seconds in which a client must answer the end of TLS."""
BACKLOG = 1024
_AT_ONCE = 128
_REMEMBERED = 10_000
"""Addresses whose turns are known before those that are over are forgotten."""
_NO_ROOM = 0.5
"""Seconds for which nobody is let in when the process can open nothing more."""
MakeProtocol = Callable[[Callable[[], None], bool], asyncio.BaseProtocol]
"""Of what to call when the connection is lost, and whether it is welcome."""


class Door:
    """Lets connections in from `open` to `close`; in one event loop. What uvicorn asks of a server, it answers."""

    def __init__(self, protocol: MakeProtocol, context: ssl.SSLContext | None) -> None:
        self._protocol = protocol
        self._context = context
        self._held: Counter[str] = Counter()
        self._turns: dict[str, float] = {}
        """When the next handshake of an address is due, if it were to begin them evenly."""
        self._listening: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_full = False

    def open(self, listening: socket.socket) -> None:
        """Let in who comes to this socket."""
        listening.setblocking(False)
        listening.listen(BACKLOG)
        self._listening.append(listening)
        asyncio.get_running_loop().add_reader(listening, self._come, listening)

    def close(self) -> None:
        """Let nobody in any more, and let go of those that are in a handshake."""
        for each in self._listening:
            asyncio.get_running_loop().remove_reader(each)
        self._listening.clear()
        for task in self._tasks:
            task.cancel()

    async def wait_closed(self) -> None:
        """Return when it is."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _come(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Out of descriptors or memory: asked again at once, it would be the same.
                if not self._is_full:
                    print(f"no connection can be let in: {error.strerror}", file=sys.stderr)  # noqa: T201
                self._is_full = True
                loop = asyncio.get_running_loop()
                loop.remove_reader(listening)
                loop.call_later(_NO_ROOM, self._again, listening)
                return
            self._is_full = False
            self._enter(connection, str(address[0]))

    def _again(self, listening: socket.socket) -> None:
        if listening in self._listening:
            asyncio.get_running_loop().add_reader(listening, self._come, listening)

    def _enter(self, connection: socket.socket, address: str) -> None:
        is_welcome = self._held[address] < PER_ADDRESS
        # A handshake costs more than a word is worth.
        most = PER_ADDRESS + (REFUSALS if self._context is None else 0)
        if self._held[address] >= most:
            connection.close()
            return
        self._held[address] += 1
        connection.setblocking(False)
        with contextlib.suppress(OSError):  # it has left; the next step notices
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = asyncio.create_task(self._let_in(connection, address, is_welcome=is_welcome))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _turn(self, address: str) -> float:
        """Seconds until the next handshake of this address may begin; 0 or less: it may now."""
        now = asyncio.get_running_loop().time()
        if len(self._turns) > _REMEMBERED:
            self._turns = {each: due for each, due in self._turns.items() if due > now}
        due = max(self._turns.get(address, 0.0), now - NEW_AT_ONCE / NEW_A_SECOND)
        self._turns[address] = due + 1 / NEW_A_SECOND
        return due - now

    async def _let_in(self, connection: socket.socket, address: str, *, is_welcome: bool) -> None:
        is_in = True

        def gone() -> None:
            nonlocal is_in
            if is_in:
                is_in = False
                self._held[address] -= 1
                if not self._held[address]:
                    del self._held[address]

        patience = None if self._context is None else (HANDSHAKE, FAREWELL)
        try:
            if self._context is not None:
                await asyncio.sleep(self._turn(address))
        except asyncio.CancelledError:
            connection.close()
            gone()
            raise
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._protocol(gone, is_welcome),
                connection,
                ssl=self._context,
                ssl_handshake_timeout=patience[0] if patience else None,
                ssl_shutdown_timeout=patience[1] if patience else None,
            )
        except OSError:  # its handshake failed, or never ended: it was never a connection
            gone()
        except asyncio.CancelledError:
            gone()
            raise
