"""`python -m filemill.encryption.handing_out CHANNEL SERVER`: a process that opens content for those who may have it.

It has the identity, and does nothing else: no code of users runs here, no stranger's request is parsed here. The server
tells it by a ticket which one content may be read, once and soon; whoever brings the ticket to its socket is sent the
plain bytes from there to there, as they are opened: nothing is written, and no more than a piece is in memory.

A reader brings `ASK`; it is answered by `STARTS` and the bytes, or by `REFUSED` and `kind`, newline, what is wrong.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import struct
import sys
import threading
import time

import msgspec

from filemill.encryption.age import Corrupt, Opener, key_in
from filemill.encryption.hiding import hide_memory
from filemill.encryption.pieces import PIECE
from filemill.model.errors import FilemillError, PermanentError, SystemFault, plainly

ASK = struct.Struct(">32sQQ")
"""What a reader begins with: its ticket, and from where to where of the plain bytes it reads."""
STARTS, REFUSED = b"\0", b"\1"
LENGTH = struct.Struct(">I")
LIFE = 30.0
"""Seconds in which a ticket is used."""
PATIENCE = 300.0
"""Seconds that a reader may stand still."""
READERS = 64
"""Readers at once; others wait."""
_MOST = 1 << 20
_PR_SET_PDEATHSIG = 1
_PEER = struct.Struct("3i")


class Setup(msgspec.Struct, frozen=True):
    """Server: what opens content. Answered by `Ready`."""

    identity: str
    key: str
    """With which key content is encrypted now."""


class Ready(msgspec.Struct, frozen=True):
    """Here: where readers come. Its name has no file."""

    address: bytes
    error: str = ""


class Ticket(msgspec.Struct, frozen=True):
    """Server: who brings this may read that. Answered by a byte."""

    ticket: bytes
    path: bytes


class _Enough(OSError):
    """All that was asked for is out."""


def send(channel: socket.socket, message: msgspec.Struct) -> None:
    """One message, blocking."""
    body = msgspec.msgpack.encode(message)
    channel.sendall(LENGTH.pack(len(body)) + body)


def receive(channel: socket.socket) -> bytes:
    """The next message, blocking; empty at the end."""
    head = _exactly(channel, LENGTH.size)
    if len(head) < LENGTH.size:
        return b""
    (length,) = LENGTH.unpack(head)
    return _exactly(channel, min(length, _MOST))


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size and (more := connection.recv(size - len(found))):
        found += more
    return found


class HandingOut:
    """What may be read, and reading it."""

    def __init__(self, setup: Setup) -> None:
        self._opener = Opener(setup.identity)
        self._key = setup.key
        self._lock = threading.Lock()
        self._tickets: dict[bytes, tuple[bytes, float]] = {}
        self._room = threading.BoundedSemaphore(READERS)
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind("")  # the kernel gives it a name that no file system has
        self._listening.listen(512)

    @property
    def address(self) -> bytes:
        """Where readers come."""
        name = self._listening.getsockname()
        return name if isinstance(name, bytes) else os.fsencode(name)

    def admit(self, ticket: Ticket) -> None:
        """This may be read, once."""
        now = time.monotonic()
        with self._lock:
            self._tickets = {k: v for k, v in self._tickets.items() if v[1] > now}
            self._tickets[ticket.ticket] = (ticket.path, now + LIFE)

    def listen(self) -> None:
        """Serve readers, each in a thread of its own, for ever."""
        while True:
            self._room.acquire()
            try:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
            except OSError:
                self._room.release()
                time.sleep(0.1)  # out of descriptors, or threads: some end

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.settimeout(PATIENCE)
                self._answer(connection)
        except OSError:
            pass  # the reader has gone, or stands still
        finally:
            self._room.release()

    def _answer(self, connection: socket.socket) -> None:
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        asked = _exactly(connection, ASK.size)
        if _PEER.unpack(peer)[1] not in (os.geteuid(), 0) or len(asked) < ASK.size:
            return
        ticket, start, end = ASK.unpack(asked)
        with self._lock:
            path, until = self._tickets.pop(ticket, (b"", 0.0))
        if until < time.monotonic():
            connection.sendall(REFUSED + b"system\nno such ticket")
            return
        window = _Window(connection, start, end)
        try:
            self._open(path, window)
            window.flush()
        except _Enough:
            return
        except FileNotFoundError:
            window.refuse("gone", "its bytes are not kept any more")
        except PermanentError as error:
            window.refuse("corrupt", error.message)
        except (FilemillError, OSError) as error:
            window.refuse("system", plainly(error))

    def _open(self, path: bytes, window: _Window) -> None:
        """Write the plain bytes into the window: from where it begins, if they can be read from there."""
        ours = key_in(os.fsdecode(path)) == self._key
        try:
            opened = self._opener.by_place(path, ours=ours)
        except Corrupt:
            opened = None  # its end is missing: an upload in parts that still comes, or damage, as is seen there
        if opened is None:
            with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as source:
                self._opener.stream(source, window, ours=ours)
            return
        with contextlib.closing(opened):
            window.skip()
            while piece := opened.pread(PIECE, window.at):
                window.write(piece)


class _Window:
    """The bytes from `start` to `end` of what is written to it, sent on."""

    def __init__(self, connection: socket.socket, start: int, end: int) -> None:
        self._connection = connection
        self._start, self._end = start, end
        self.at = 0
        """The place of what is written next."""
        self._begun = False

    def write(self, data: bytes) -> int:
        view = memoryview(data)[max(0, self._start - self.at) : max(0, self._end - self.at)]
        self.at += len(data)
        if view:
            self._begin()
            self._connection.sendall(view)
        if self.at >= self._end:
            self._begin()
            raise _Enough
        return len(data)

    def skip(self) -> None:
        """Begin where the first byte that was asked for is."""
        self.at = self._start

    def flush(self) -> None:
        """All of it was opened."""
        self._begin()

    def refuse(self, kind: str, why: str) -> None:
        """Say why there are no bytes; behind the first ones it can only end too soon."""
        if not self._begun:
            self._connection.sendall(REFUSED + f"{kind}\n{why}".encode())

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._connection.sendall(STARTS)


def main(arguments: list[str]) -> int:
    """Serve until the channel closes or the server is gone."""
    descriptor, server = map(int, arguments)
    hide_memory()
    os.umask(0o077)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:
        return 0
    channel = socket.socket(fileno=descriptor)
    if not (body := receive(channel)):
        return 0
    try:
        handing = HandingOut(msgspec.msgpack.decode(body, type=Setup))
    except (FilemillError, OSError) as error:
        send(channel, Ready(b"", plainly(error)))
        return 1
    send(channel, Ready(handing.address))
    threading.Thread(target=handing.listen, daemon=True).start()
    while body := receive(channel):
        handing.admit(msgspec.msgpack.decode(body, type=Ticket))
        channel.sendall(b"\0")
    return 0


def read_ready(body: bytes) -> bytes:
    """Where readers come.

    Raises:
        ConnectionError: it has ended.
        SystemFault: it cannot be used.
    """
    if not body:
        raise ConnectionError("the process that opens content has ended")
    ready = msgspec.msgpack.decode(body, type=Ready)
    if ready.error:
        raise SystemFault(f"content cannot be opened: {ready.error}")
    return ready.address


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
