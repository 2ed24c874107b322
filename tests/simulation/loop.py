"""An event loop in which no time is waited for, and in which what threads do is done by the loop, in a fixed order."""

from __future__ import annotations

import asyncio
import itertools
import random
import selectors
from collections.abc import Callable
from typing import Any

from filemill.testing.clock import FakeClock

MOST_TURNS = 200_000
"""Turns of the loop in which no time passes: more is a part of the server that spins."""


class Stalled(AssertionError):
    """Nothing will ever happen again, or something happens without an end."""


class Selector(selectors.EpollSelector):
    """Real descriptors are asked, and never waited for: where nothing is ready, time passes at once."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        self._turns += 1
        if self._turns > MOST_TURNS:
            raise Stalled(f"{MOST_TURNS} turns, and it is still {self._clock.monotonic():.6f}")
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise Stalled("everything waits, and nothing will come")
        self._clock.advance(max(timeout, 1e-9))
        self._turns = 0
        return []


class Task(asyncio.Task):
    """A task that sets order by when it was made, not by where it lies in memory."""

    numbers = itertools.count()

    def __init__(self, *given: Any, **named: Any) -> None:
        self._place = next(Task.numbers)
        super().__init__(*given, **named)

    def __hash__(self) -> int:
        return self._place


class Future(asyncio.Future):
    """The same for futures."""

    def __init__(self, *given: Any, **named: Any) -> None:
        self._place = next(Task.numbers)
        super().__init__(*given, **named)

    def __hash__(self) -> int:
        return self._place


class Loop(asyncio.SelectorEventLoop):
    """Virtual time; what is given to threads is done in one piece, at a moment that chance decides."""

    def __init__(self, clock: FakeClock, chance: random.Random) -> None:
        Task.numbers = itertools.count()
        super().__init__(Selector(clock))
        self._clock = clock
        self._chance = chance
        self.dead = False
        """What was given to threads and has not begun is not done any more."""
        self.defects: list[str] = []
        """What nobody caught."""
        self.set_task_factory(lambda loop, coro, **named: Task(coro, loop=loop, **named))
        self.set_exception_handler(self._note)

    def time(self) -> float:
        return self._clock.monotonic()

    def create_future(self) -> Future:
        return Future(loop=self)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Future:
        """As in a thread, but when this loop says, and nothing else happens meanwhile."""
        done = self.create_future()
        self.call_later(self._takes(), self._work, done, func, args)
        return done

    def call_soon_threadsafe(
        self, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> Any:
        return self.call_soon(callback, *args, context=context)

    def _takes(self) -> float:
        return self._chance.choice((0.0, 0.0, 0.0001, 0.001, 0.01))

    def _work(self, done: Future, func: Callable[..., Any], args: Any) -> None:
        if done.cancelled():
            return
        if self.dead:
            done.set_result(None)
            return
        try:
            result = func(*args)
        except BaseException as error:
            if isinstance(error, StopIteration):
                raise
            done.set_exception(error)
        else:
            if not done.cancelled():
                done.set_result(result)

    def _note(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is None or isinstance(error, Exception):
            self.defects.append(f"{context['message']}: {error!r}")
