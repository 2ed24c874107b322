"""A folder source, intake, content and an SQLite ledger on a real file system, for one event loop."""

# ruff: noqa: PLW0108 -- intake is made after its source

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from filemill.contents.local import LocalContent
from filemill.durable import Durable, Failpoints
from filemill.intake.intake import Intake
from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.model.events import Event
from filemill.model.files import FileRef
from filemill.ports.clock import RandomIds, SystemClock
from filemill.ports.source import SourceContext
from filemill.sources.folder import FolderSource


class World:
    """What a test sees: where files go in, what came out, what was said."""

    def __init__(self, base: bytes, *, ledger: str = ":memory:", **options: Any) -> None:
        self.base = base
        self.inbox = base + b"/inbox"
        self.ledger_path = ledger
        os.makedirs(self.inbox, exist_ok=True)
        self.options = {"folder": os.fsdecode(self.inbox), "settle": "50ms"} | options
        self.events: list[Event] = []
        self.refs: list[FileRef] = []
        self.room = 1_000_000
        self.content_root = base + b"/content"
        self.fatal: list[BaseException] = []

    @contextlib.asynccontextmanager
    async def open(self, *, source: bool = True, fail: str = "") -> AsyncIterator[World]:
        clock = SystemClock()
        self.durable = Durable(Failpoints("server", fail))
        self.ledger = await SqliteLedger.open(self.ledger_path, durable=self.durable)
        self.content = LocalContent(self.content_root, self.durable)
        self.content.open()
        context = SourceContext(
            name="in",
            options=FolderSource.Options(**self.options),
            sighted=lambda sightings: self.intake.sighted(sightings),
            emit=self.events.append,
            clock=clock,
            backlog=lambda: self.intake.backlog("in"),
        )
        self.source = FolderSource(context)
        self.intake = Intake(
            ledger=self.ledger,
            content=self.content,
            durable=self.durable,
            clock=clock,
            ids=RandomIds(),
            emit=self.events.append,
            sources={"in": self.source.settings()},
            on_ingested=self.refs.extend,
            room=lambda _: self.room,
            on_fatal=self.fatal.append,
        )
        self.recovered = await self.ledger.recover(clock.wall_ns(), 5)
        self.refs += await self.intake.recover(self.recovered)
        await self.intake.start()
        if source:
            await self.source.start()
        try:
            yield self
        finally:
            await self.source.stop()
            await self.intake.stop()
            await self.ledger.close()

    def path(self, name: bytes | str) -> bytes:
        return self.inbox + b"/" + (name if isinstance(name, bytes) else name.encode())

    def drop(self, name: bytes | str, data: bytes = b"data\n") -> bytes:
        """Write beside the inbox, rename in."""
        target = self.path(name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        aside = self.base + b"/aside"
        with open(aside, "wb") as out:
            out.write(data)
        os.rename(aside, target)
        return target

    def write(self, name: bytes | str, data: bytes = b"data\n") -> bytes:
        """Write in place."""
        target = self.path(name)
        with open(target, "wb") as out:
            out.write(data)
        return target

    def taken(self) -> dict[bytes, list[bytes]]:
        """The bytes of every acknowledged file by its path below the source."""
        out: dict[bytes, list[bytes]] = {}
        for ref in self.refs:
            with open(ref.path, "rb") as file:
                out.setdefault(ref.relative, []).append(file.read())
        return out

    def said(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, condition: Callable[[], Any], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, (
                f"not in {seconds} s; taken {[r.relative for r in self.refs][:20]}, "
                f"said {self.events[-10:]}"
            )
            await asyncio.sleep(0.005)

    async def count(self, number: int, seconds: float = 60.0) -> None:
        await self.until(lambda: len(self.refs) >= number, seconds)
