"""When a one-shot run waits no longer: its time is over, or nothing is left but what waits for a broken sink."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from filemill.ports.units import format_duration

if TYPE_CHECKING:
    from filemill.engine.breaking import Broken
    from filemill.service.server import Server

LOOKS = 4
"""How often in a row a sink's place could not be used before nobody waits for it: after some 15 s."""
_EVERY = 0.5
_TWICE = 2
"""Seconds apart, and in a row, it must look so."""
_AT_ONCE = 1.0
"""Seconds that are left for what is being published, when nobody waits for workers."""


class Waiting(msgspec.Struct, frozen=True):
    """What a one-shot run left waiting, for the next start: why, how many files and runs, and what helps."""

    why: str
    live: int
    help: str


class Patience:
    """How long a one-shot run of this server goes on; `timeout` (seconds) None is for ever."""

    def __init__(self, server: Server, timeout: float | None) -> None:
        self._server = server
        self._timeout = timeout

    async def gone(self) -> str:
        """Return when it is over, with the reason; never, while something can still come to an end."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._stuck()
        except TimeoutError:
            return f"the time is over (--timeout {format_duration(self._timeout or 0)})"

    async def end(self, why: str) -> Waiting:
        """Let what is with workers come back, within the grace, and say what is left."""
        server = self._server
        running = server.parts.dispatcher.running
        await server.drain(server.plan.grace if running else _AT_ONCE)
        broken = [each.help for each in server.parts.breakers.broken if each.help]
        return Waiting(why, await server.ledger.live(), broken[0] if broken else "")

    async def _stuck(self) -> str:
        """Return when nothing is left but what waits for sinks that could not be used again and again."""
        seen = 0
        while seen < _TWICE:
            await asyncio.sleep(_EVERY)
            seen = seen + 1 if await self._is_stuck() else 0
        return "; ".join(f"sink {each.sink}: {each.message}" for each in self._given_up())

    def _given_up(self) -> list[Broken]:
        broken = self._server.parts.breakers.broken
        return [each for each in broken if not each.trying and each.looks >= LOOKS]

    async def _is_stuck(self) -> bool:
        parts = self._server.parts
        if not self._given_up() or len(self._given_up()) < len(parts.breakers.broken):
            return False
        if parts.dispatcher.running or parts.trouble.now:
            return False
        try:
            async with asyncio.timeout(_EVERY):
                await parts.intake.idle()
                await parts.inspected()
        except TimeoutError:
            return False
        return await self._server.ledger.next_due(parts.breakers.parked()) is None
