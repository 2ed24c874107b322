"""Keepers of workers as the server sees them: how one is asked for, signalled, and known to have ended.

A keeper (`engine/keeping.py`) is forked by the fork server, so it is no child of the server, whose number could be
anybody's a moment later. It is signalled through a pidfd that it sends with its first word, and its last word is how
its worker ended; when its channel closes without one, it was killed.

Words on a channel are 4 bytes each: its process number (with the pidfd), then the worker's wait status.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Sequence

import msgspec

UNBORN = 256
"""In the place of an exit code, for a worker that never was: what forks it failed. No process can end by it."""
_WORD = struct.Struct("<i")
_LENGTH = struct.Struct("<I")
_DESCRIPTORS = 3
_SLICE = 0.1
"""Seconds between two looks whether another thread heard the last word."""
_BIRTH_LIMIT = 3.0
"""Seconds that whoever wants to signal a keeper waits for its first word."""


class Wanted(msgspec.Struct, frozen=True):
    """A worker that a fork server is asked for."""

    page: bytes
    root: bytes
    """The folder it works in."""
    bytecode: bool = True
    """Whether what it imports may be written down in compiled form."""


def ask(server: socket.socket, wanted: Wanted, descriptors: Sequence[int]) -> None:
    """Ask a fork server for a worker with this socket, channel and output.

    Raises:
        OSError: it is gone.
    """
    body = msgspec.msgpack.encode(wanted)
    socket.send_fds(server, [_LENGTH.pack(len(body))], descriptors)
    server.sendall(body)


def asked(server: socket.socket) -> tuple[Wanted, list[int]] | None:
    """In the fork server, the next worker that is wanted; None when there is nobody who wants one any more."""
    head, descriptors = _received(server, _LENGTH.size, _DESCRIPTORS)
    if len(head) < _LENGTH.size or len(descriptors) != _DESCRIPTORS:
        return None
    left = _LENGTH.unpack(head)[0]
    body = bytearray()
    while len(body) < left:
        part = server.recv(left - len(body))
        if not part:
            return None
        body += part
    return msgspec.msgpack.decode(body, type=Wanted), descriptors


def say_born(channel: int) -> None:
    """In the keeper, its first word.

    Raises:
        OSError: nobody listens.
    """
    me = os.getpid()
    handle: list[int] = []
    with contextlib.suppress(
        AttributeError, OSError
    ):  # systems and containers that have no such thing
        handle.append(os.pidfd_open(me))
    with socket.socket(fileno=os.dup(channel)) as speaking:
        socket.send_fds(speaking, [_WORD.pack(me)], handle)
    for each in handle:
        os.close(each)


def say_ended(channel: int, status: int) -> None:
    """In the keeper, its last word: the wait status of its worker."""
    with contextlib.suppress(OSError):  # nobody listens any more
        os.write(channel, _WORD.pack(status))


class Keeper:
    """One keeper, by our end of its channel. Any thread may ask it anything."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._pid = 0
        self._handle = -1
        self._last = b""
        self._code: int | None = None
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        """Its process number; 0 until it said so, which is before its worker says anything."""
        self.poll()
        return self._pid

    def poll(self) -> int | None:
        """Its worker's exit code (negative: a signal); None while it is there."""
        with self._lock:
            while self._code is None and _is_heard(self._channel, 0):
                self._hear()
            return self._code

    def wait(self, timeout: float) -> int:
        """The same, when it has ended.

        Raises:
            TimeoutError: it is still there after so many seconds.
        """
        ends = time.monotonic() + timeout
        while (code := self.poll()) is None:
            self._listen(ends)
        return code

    def signal(self, number: int) -> None:
        """Send it a signal; one that has ended, or was never born, gets none."""
        ends = time.monotonic() + _BIRTH_LIMIT
        while self.poll() is None and not self._pid:
            try:
                self._listen(ends)
            except TimeoutError:
                # With nobody to say its first word to, it ends should it be born yet.
                self.give_up()
        with self._lock:
            if self._code is not None:
                return
            with contextlib.suppress(ProcessLookupError):
                if self._handle >= 0:
                    signal.pidfd_send_signal(self._handle, number)
                else:  # the number is all there is
                    os.kill(self._pid, number)

    def give_up(self) -> None:
        """Listen to it no more: from here on it counts as killed."""
        with self._lock:
            self._end(-signal.SIGKILL)

    def _listen(self, until: float) -> None:
        """Wait a little for its next word, without keeping other threads from it.

        Raises:
            TimeoutError: it is later than that.
        """
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        with contextlib.suppress(ValueError):  # another thread heard its last word
            _is_heard(self._channel, min(left, _SLICE))

    def _hear(self) -> None:
        """Take the next word, or the end."""
        if not self._pid:
            word, handles = _received(self._channel, _WORD.size, 1)
            if word:
                self._pid = _WORD.unpack(word)[0]
                self._handle = handles[0] if handles else -1
            else:
                self._end(UNBORN)
        elif word := self._channel.recv(_WORD.size):
            self._last = word
        else:
            status = _WORD.unpack(self._last)[0] if self._last else signal.SIGKILL
            self._end(os.waitstatus_to_exitcode(status))

    def _end(self, code: int) -> None:
        if self._code is not None:
            return
        self._code = code
        self._channel.close()
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _received(channel: socket.socket, size: int, most: int) -> tuple[bytes, list[int]]:
    """The next bytes, and the descriptors that came with them, which nothing that is started from here inherits."""
    flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
    said, descriptors, _, _ = socket.recv_fds(channel, size, most, flags)
    return said, descriptors


def _is_heard(channel: socket.socket, seconds: float) -> bool:
    waiting = select.poll()  # the number may be beyond what `select` takes
    waiting.register(channel, select.POLLIN)
    return bool(waiting.poll(seconds * 1000))
