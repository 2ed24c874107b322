"""The control socket `<data>/control.sock`: commands that change something ask the running server there.

One connection is one request: a line of JSON each way. Only processes of the server's own user, and root, are
answered: the socket has mode 0600 in a folder of mode 0700, and the kernel is asked who is at the other end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator

import msgspec

from filemill.model.errors import FilemillError, SystemFault
from filemill.service import acts, replies
from filemill.service.acting import principal_of

NAME = "control.sock"
MOST_BYTES = 1 << 20
"""Of one request or answer."""
PATIENCE = 30.0
"""Seconds in which a request must have arrived."""
FAREWELL = 2.0
"""Seconds that those who are being answered get when the server ends."""
_PEER = struct.Struct("3i")

Perform = Callable[
    [acts.Request, str],
    Awaitable[replies.Done | replies.Collected | replies.Reloaded | replies.Made],
]
_request: msgspec.json.Decoder[acts.Request | acts.Look] = msgspec.json.Decoder(
    acts.Request | acts.Look
)
_answer = msgspec.json.Encoder()


class ControlSocket:
    """Listens as long as the server lives. The caller holds the instance lock, so what lies there is nobody's."""

    def __init__(self, data: str, perform: Perform, look: Callable[[], replies.Seen]) -> None:
        self._data = data
        self._perform = perform
        self._look = look
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            SystemFault: the socket cannot be made.
        """
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with reachable(self._data) as path:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)  # noqa: TID251 -- a socket is no data: nothing of it need be durable
                listening.bind(path)
                os.chmod(path, 0o600)
            listening.listen(64)
        except OSError as error:
            listening.close()
            raise SystemFault(
                f"the control socket {self._data}/{NAME} cannot be made: {error.strerror}",
                help="the data directory must be a writable local folder",
            ) from error
        self._server = await asyncio.start_unix_server(self._talk, sock=listening, limit=MOST_BYTES)

    async def stop(self) -> None:
        """Listen no more; what was asked is answered first. Idempotent."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        if self._talks:
            _, silent = await asyncio.wait(set(self._talks), timeout=FAREWELL)
            for talk in silent:
                talk.cancel()
        with contextlib.suppress(OSError), reachable(self._data) as path:
            os.unlink(path)  # noqa: TID251 -- as above

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a coroutine of a server runs in a task"  # noqa: S101
        self._talks.add(task)
        try:
            answer = await self._answer(reader, writer)
            writer.write(_answer.encode(answer) + b"\n")
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            pass  # whoever asked has gone; what was begun for them is done
        except asyncio.CancelledError:
            if self._server is not None:
                raise
            # `stop` waits no longer. Of a task that ends as cancelled asyncio would print a traceback.
        finally:
            self._talks.discard(task)
            writer.close()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> replies.Answer:
        uid = _peer(writer.get_extra_info("socket"))
        if uid not in (os.geteuid(), 0):
            return replies.Refused("UsageError", "this server is another user's")
        try:
            async with asyncio.timeout(PATIENCE):
                line = await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            return replies.Refused("UsageError", f"a request has at most {MOST_BYTES:,} bytes")
        try:
            act = _request.decode(line)
        except msgspec.DecodeError as error:
            return replies.Refused(
                "UsageError",
                f"the server does not know this request: {error}",
                "the command and the server are of different versions: restart the server",
            )
        if isinstance(act, acts.Look):
            return self._look()
        try:
            return await self._perform(act, principal_of(uid))
        except FilemillError as error:
            return replies.Refused(type(error).__name__, error.message, error.help)


@contextlib.contextmanager
def reachable(data: str) -> Iterator[str]:
    """A path of the socket that fits into an address (108 bytes), however deep the data directory lies."""
    path = os.path.join(data, NAME)
    if len(os.fsencode(path)) < 100 or not os.path.isdir("/proc/self/fd"):
        yield path
        return
    folder = os.open(data, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{NAME}"
    finally:
        os.close(folder)


def _peer(connection: socket.socket) -> int:
    """Uid of the process at the other end."""
    if not hasattr(socket, "SO_PEERCRED"):
        return os.geteuid()  # the folder's mode alone keeps others out
    answer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    return int(_PEER.unpack(answer)[1])
