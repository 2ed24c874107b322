"""A source that raises when it is stopped: everything else is stopped all the same, and its error is told."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from program import workers

from filemill.config.loading import load
from filemill.ledgers.sqlite.lock import InstanceLock
from filemill.ports.registry import Registry
from filemill.service.children import describe
from filemill.service.server import Revision, Server
from filemill.sources.folder import FolderSource

CONFIG = """\
version: 1
sources:
  bad: {folder: bad, create: true}
  good: {folder: good, create: true}
tags: {any: {name: "*"}}
pipelines: {all: {when: any, steps: [read_lines, {route: {else: out}}]}}
sinks: {out: {folder: out}}
"""
STOPPED: list[str] = []


class Reluctant(FolderSource):
    """A folder source that stops, and says that it did not."""

    async def stop(self) -> None:
        await super().stop()
        STOPPED.append(self._context.name)
        if self._context.name == "bad":
            raise OSError("this source does not stop")


class WithReluctant(Registry):
    """What is installed, but for the folder source."""

    def get(self, kind: str, name: str) -> Any:
        return Reluctant if (kind, name) == ("sources", "folder") else super().get(kind, name)


@pytest.mark.parametrize("drains", [False, True])
def test_a_source_that_fails_to_stop_holds_no_other_part_up(tmp_path: Path, drains: bool) -> None:
    (tmp_path / "filemill.yaml").write_text(CONFIG)
    registry = WithReluctant()
    loaded = load(str(tmp_path / "filemill.yaml"), registry=registry, describe=describe)
    STOPPED.clear()

    async def life() -> None:
        server = Server(loaded.plan, Revision(loaded.digest, loaded.text), registry, lambda _: None)
        await server.start()
        assert workers(os.getpid())
        if drains:
            with pytest.raises(OSError, match="does not stop"):
                await server.drain(10)
            await server.stop()
        else:
            with pytest.raises(OSError, match="does not stop"):
                await server.stop()
        stopped.append(workers(os.getpid()) == [])
        await server.stop()

    stopped: list[bool] = []
    asyncio.run(life())
    assert sorted(STOPPED) == ["bad", "good"]
    assert stopped == [True]
    lock = InstanceLock(loaded.plan.data)
    lock.acquire()
    lock.release()
