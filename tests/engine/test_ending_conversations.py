"""Who asks a server that is ending: an answer or a closed connection, and no traceback on the server's console."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from filemill.model.errors import UsageError
from filemill.ports.clock import SystemClock
from filemill.service import acts, control, replies
from filemill.service.reloading import Candidate, Reloader


async def _for_ever(*_: object) -> Any:
    await asyncio.Event().wait()


def test_a_conversation_that_takes_too_long_ends_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "FAREWELL", 0.05)

    async def talk() -> tuple[bytes, list[dict[str, Any]]]:
        complaints: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        socket = control.ControlSocket(str(tmp_path), _for_ever, replies.Seen)
        await socket.start()
        reader, writer = await asyncio.open_unix_connection(tmp_path / control.NAME)
        writer.write(msgspec.json.encode(acts.Reload()) + b"\n")
        await asyncio.sleep(0.1)
        await socket.stop()
        said = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        await asyncio.sleep(0)
        return said, complaints

    assert asyncio.run(talk()) == (b"", [])


def test_who_waits_for_a_reload_of_a_server_that_ends_is_told() -> None:
    def load() -> Candidate:
        raise AssertionError("the reload has not come so far")

    async def wait() -> None:
        # No more of the server is asked before `when`.
        server = SimpleNamespace(clock=SystemClock(), plan=SimpleNamespace(revision=1))
        reloader = Reloader(cast(Any, server), load)
        waiting = asyncio.create_task(reloader.reload(_for_ever))
        await asyncio.sleep(0.05)
        await reloader.stop()
        with pytest.raises(UsageError, match="the server is ending"):
            await waiting

    asyncio.run(wait())
