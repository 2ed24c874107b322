"""Closing a connection so that the client reads why.

Whoever closes a socket that has bytes to read resets the connection, and a client that is still sending may never see
what it was told. So, where more of a request is on its way, our side alone is closed first, and what comes is read and
thrown away until the client has closed too, has fallen silent, or has had time enough.
"""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
import time
from collections.abc import Callable
from typing import Any

LINGER = 30.0
"""Seconds for which a client that goes on sending is read."""
SILENCE = 5.0
"""Seconds without a byte after which it is not waited for any more."""


def untaken(transport: asyncio.Transport) -> int:
    """Bytes that were written and that the other side has not confirmed.

    Most of them are in the kernel, which takes megabytes, and asks for more only when a good part of them is gone.
    """
    kept = 0
    try:
        number = transport.get_extra_info("socket").fileno()
        (kept,) = struct.unpack("i", fcntl.ioctl(number, termios.TIOCOUTQ, b"\0" * 4))
    except OSError:  # it is closed, or no socket that tells
        pass
    return transport.get_write_buffer_size() + kept


class Lingering:
    """A transport whose `close` lingers where `is_owed` says that more of a request may come. All else is as it was."""

    def __init__(self, transport: asyncio.Transport, is_owed: Callable[[], bool]) -> None:
        self._transport = transport
        self._is_owed = is_owed
        self._is_closing = False
        self._ends = 0.0
        self._heard = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send these bytes, unless it is closing."""
        if not self.is_closing():
            self._transport.write(data)

    def is_closing(self) -> bool:
        """Whether nothing is sent any more."""
        return self._is_closing or self._transport.is_closing()

    def close(self, patience: float | None = None) -> None:
        """Close when what was written is sent, and the client has had its time to read it. Idempotent."""
        if self._is_closing:
            return
        self._is_closing = True
        if self._transport.is_closing():
            return
        patience = LINGER if patience is None else patience
        now = time.monotonic()
        self._heard, self._ends = now, now + patience
        if self._is_owed():
            self._transport.resume_reading()
            if self._transport.can_write_eof():
                self._transport.write_eof()
        else:
            self._transport.close()
        self._later(min(SILENCE, patience))

    def heard(self) -> None:
        """Something came meanwhile."""
        self._heard = time.monotonic()

    def gone(self) -> None:
        """The connection is no more."""
        self._is_closing = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _later(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        now = time.monotonic()
        is_silent = now - self._heard >= SILENCE
        if now >= self._ends or (is_silent and not untaken(self._transport)):
            self._transport.abort()
        else:
            # What is not taken yet is looked at again in a while.
            again = SILENCE if is_silent else self._heard + SILENCE - now
            self._later(min(again, self._ends - now))
