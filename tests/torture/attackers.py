"""Programs that others wrote to find what is wrong with a server, and a good client that asks meanwhile."""

from __future__ import annotations

import http.client
import os
import shutil
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest


def program(name: str, package: str) -> str:
    """Where it is; skips the test where it is not, and fails it in CI."""
    found = shutil.which(name)
    if found is None:
        why = f"{name} is not installed: apt-get install {package}"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    return found


def sockets(pid: int) -> int:
    """How many a process has open."""
    count = 0
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            count += os.readlink(entry.path).startswith("socket:")
        except OSError:
            continue
    return count


def resident(pid: int) -> int:
    """Bytes that a process holds for itself."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    return 0


def kept_waiting(pid: int, thread: int) -> float:
    """Seconds for which this thread was ready to run, and others had the processors."""
    return int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[1]) / 1e9


class GoodClient:
    """Asks a server's child twice a second, from an address that is not the attacker's.

    `times` are the seconds each answer took, less those for which other programs of this machine kept both sides from
    running.
    """

    def __init__(
        self, child: int, port: int, context: ssl.SSLContext, look: Callable[[], None]
    ) -> None:
        self.times: list[float] = []
        self.failures: list[str] = []
        self._child = child
        self._port = port
        self._context = context
        self._look = look
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._over.wait(0.5):
            began, before = time.monotonic(), self._starved()
            try:
                self._once()
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.failures.append(repr(error))
            self.times.append(time.monotonic() - began - (self._starved() - before))
            self._look()

    def _starved(self) -> float:
        own = kept_waiting(os.getpid(), threading.get_native_id())
        return own + kept_waiting(self._child, self._child)

    def _once(self) -> None:
        made = http.client.HTTPSConnection(
            "127.0.0.1",
            self._port,
            timeout=120,
            context=self._context,
            source_address=("127.0.0.2", 0),
        )
        try:
            made.request("GET", "/livez")
            assert made.getresponse().status == 200
        finally:
            made.close()
