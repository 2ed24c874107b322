"""Many clients that send files at once and note what they were told, until the server is killed under them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import Counter

from sites import Site

HEAD = (
    '--b\r\ncontent-disposition: form-data; name="file"; filename="{name}"\r\n'
    "content-type: text/plain\r\n\r\n"
)
TAIL = b"\r\n--b--\r\n"


class Crowd:
    """`acknowledged` are the names of files answered 201; `said` counts other answers, `before` those to the cut."""

    def __init__(self, site: Site, clients: int, size: int) -> None:
        self._site = site
        self._clients = clients
        self._data = os.urandom(size // 2).hex().encode()
        self._key = site.key
        self._ends = 0.0
        self.acknowledged: list[str] = []
        self.said: Counter[str] = Counter()
        self.before: Counter[str] = Counter()

    async def send(self, seconds: float) -> None:
        """Send for so long."""
        self._ends = time.monotonic() + seconds
        await asyncio.gather(*(self._client(number) for number in range(self._clients)))

    async def send_until_cut(self, seconds: float, cut: object) -> None:
        """Send, call `cut` after so long, and return when every client has noticed."""
        sending = asyncio.create_task(self.send(seconds + 60))
        await asyncio.sleep(seconds)
        self.before = Counter(self.said)
        cut()  # type: ignore[operator]
        self._ends = 0.0
        await sending

    async def _client(self, number: int) -> None:
        count = 0
        while time.monotonic() < self._ends:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._site.port)
                try:
                    while time.monotonic() < self._ends:
                        name = f"c{number:03}-{count:05}.txt"
                        count += 1
                        await self._one(reader, writer, name)
                finally:
                    writer.close()
            if time.monotonic() < self._ends:
                await asyncio.sleep(0.05)

    async def _one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str
    ) -> None:
        head = HEAD.format(name=name).encode()
        length = len(head) + len(self._data) + len(TAIL)
        writer.write(
            f"POST /upload HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {self._key}\r\n"
            f"content-type: multipart/form-data; boundary=b\r\ncontent-length: {length}\r\n\r\n".encode()
            + head
        )
        writer.write(self._data)
        writer.write(TAIL)
        await writer.drain()
        answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        rest = next(int(x.split(":")[1]) for x in answer if x.startswith("content-length:"))
        await reader.readexactly(rest)
        status = answer[0].split()[1]
        if status == "201":
            self.acknowledged.append(name)
        else:
            self.said[status] += 1
            await asyncio.sleep(0.05)
