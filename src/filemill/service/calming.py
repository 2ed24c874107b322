"""One line for one trouble: parts of the server that meet the same cause, or meet it again, do not repeat it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

from filemill.model.events import Emit, Event, SystemRecovered, SystemTrouble

CALM = 2.0
"""Seconds without the trouble until it is said to be over: on a full disk a small write goes through now and then."""


class Calm:
    """Passes events on; of each trouble only its beginning and, after `CALM` seconds, its end. In one event loop."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._open: Counter[str] = Counter()
        self._said: dict[str, asyncio.TimerHandle | None] = {}
        self._events: dict[str, SystemTrouble] = {}

    @property
    def troubles(self) -> tuple[SystemTrouble, ...]:
        """Those that were said and are not yet said to be over, the oldest first."""
        return tuple(self._events.values())

    def __call__(self, event: Event) -> None:
        """Take one event."""
        match event:
            case SystemTrouble(what=what):
                self._open[what] += 1
                if what not in self._said:
                    self._events[what] = event
                    self._emit(event)
                elif (timer := self._said[what]) is not None:
                    timer.cancel()
                self._said[what] = None
            case SystemRecovered(what=what):
                self._open[what] -= 1
                if self._open[what] <= 0 and what in self._said:
                    with contextlib.suppress(
                        RuntimeError
                    ):  # no loop runs any more: nobody waits for it
                        loop = asyncio.get_running_loop()
                        self._said[what] = loop.call_later(CALM, self._over, event)
            case _:
                self._emit(event)

    def _over(self, event: SystemRecovered) -> None:
        del self._said[event.what], self._open[event.what], self._events[event.what]
        self._emit(event)
