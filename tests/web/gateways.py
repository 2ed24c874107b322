"""A gateway in front of a real server, in which connections break, crawl, or are told to come later."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Self

ANSWER = -1
"""A cut that lets the request pass, and loses its answer."""
_SAID = b'{"error": {"code": "too-many", "message": "too busy for it", "help": "later", "request_id": "1"}}'
_LATER = (
    b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-type: application/json\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(_SAID), _SAID)
)


class Gateway:
    """Passes bytes to a port of this machine.

    `cuts(n)` says of the n-th request that sends bytes of a file after how many bytes it breaks (ANSWER: when it is
    answered; None: not). The first `says_later` of these are answered 429 instead. `rate` is bytes a second.
    """

    def __init__(self, port: int, rate: int = 0) -> None:
        self._to = port
        self._rate = rate
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listening.getsockname()[1]
        self.cuts: Callable[[int], int | None] = lambda _: None
        self.says_later = self.said_later = self.cut = self.passed = 0
        self._requests = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # else its thread stays in accept()
        self._listening.close()
        self._thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=_Way(self, client).serve, daemon=True).start()

    def begins(self) -> int | None:
        """One more request sends bytes of a file: after how many it breaks; 0: it is told to come later."""
        with self._lock:
            if self.said_later < self.says_later:
                self.said_later += 1
                return 0
            self._requests += 1
            return self.cuts(self._requests - 1)

    def count(self, *, passed: int = 0, cut: int = 0) -> None:
        with self._lock:
            self.passed += passed
            self.cut += cut

    def wait(self, size: int) -> None:
        if self._rate:
            time.sleep(size / self._rate)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._to))


class _Way:
    """One connection."""

    def __init__(self, gateway: Gateway, client: socket.socket) -> None:
        self._gateway = gateway
        self._client = client
        self._left: int | None = None

    def serve(self) -> None:
        try:
            self._server = self._gateway.connect()
        except OSError:
            self._client.close()
            return
        threading.Thread(target=self._back, daemon=True).start()
        with contextlib.suppress(OSError):
            while data := self._client.recv(65_536):
                if not self._forth(data):
                    break
        self._close()

    def _forth(self, data: bytes) -> bool:
        if data.startswith((b"POST /upload ", b"PATCH ")):
            self._left = self._gateway.begins()
            if self._left == 0:
                self._client.sendall(_LATER)
                self._client.shutdown(socket.SHUT_WR)
                while self._client.recv(65_536):
                    pass
                return False
        if self._left is not None and self._left > 0:
            data, self._left = data[: self._left], max(0, self._left - len(data))
        self._server.sendall(data)
        self._gateway.count(passed=len(data))
        self._gateway.wait(len(data))
        if self._left == 0:
            self._gateway.count(cut=1)
            return False
        return True

    def _back(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._server.recv(65_536):
                if self._left == ANSWER:
                    self._gateway.count(cut=1)
                    break
                self._client.sendall(data)
        self._close()

    def _close(self) -> None:
        for each in (self._client, self._server):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
