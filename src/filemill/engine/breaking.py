"""Circuit breakers, one for each sink: what is wrong with one sink's place stops nothing that goes elsewhere.

    closed --trouble--> open --its place can be used again--> trying --quiet for a while--> closed
                         ^                                      |
                         +--------------- trouble --------------+

While a sink's breaker is open, runs of the pipelines that write to it are not leased: they stay queued, and no attempt
is spent. Runs that are staged already wait in `publishing`, their bytes where they are, and hold up no other. Whether
the place can be used is looked at after a second, then after two, four... at most every minute (`Sink.probe`); then
work goes through again, and when that meets the trouble once more, the next look comes later.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from filemill.engine.trouble import SYSTEM_ERRNOS, advice
from filemill.model.errors import FilemillError
from filemill.model.events import Emit, SinkBroken, SinkMended
from filemill.model.plan import PipelinePlan, StepPlan
from filemill.ports.clock import Clock
from filemill.ports.sink import Sink

SINK_ERRNOS = SYSTEM_ERRNOS - {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""What a sink's place may suffer from; the others are the server's own trouble, whichever sink meets it."""
FIRST_DELAY = 1.0
LONGEST_DELAY = 60.0
QUIET = 2.0
"""Seconds of work without trouble after which a sink is said to be mended."""
FORGIVEN = 60.0
"""Seconds after which a new trouble is looked at from the first delay on again."""


class Broken(msgspec.Struct):
    """A sink whose breaker is not closed."""

    sink: str
    since_ns: int
    message: str
    help: str
    delay: float
    """Seconds between the last look and the next."""
    next_ns: int = 0
    """Wall time of the next look."""
    trying: bool = False
    """Work goes through again, to see whether it does."""


class Breakers:
    """The breakers of all sinks. In one event loop. `changed` is called with the sink when one lets work through."""

    def __init__(
        self,
        sinks: Mapping[str, Sink],
        pipelines: Iterable[PipelinePlan],
        clock: Clock,
        emit: Emit,
        changed: Callable[[str], None],
    ) -> None:
        self._sinks = sinks
        self._writers = writers(pipelines)
        self._clock = clock
        self._emit = emit
        self._changed = changed
        self._broken: dict[str, Broken] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._troubled = {name: asyncio.Event() for name in sinks}
        self._mended: dict[str, tuple[float, float]] = {}
        """By sink: when it was mended last (monotonic), and the delay it had come to."""

    @property
    def broken(self) -> tuple[Broken, ...]:
        """Every sink whose breaker is not closed."""
        return tuple(self._broken.values())

    def parked(self) -> frozenset[str]:
        """Pipelines of which no run may be leased now."""
        parked: set[str] = set()
        for sink, state in self._broken.items():
            if not state.trying:
                parked |= self._writers.get(sink, set())
        return frozenset(parked)

    def is_open(self, sink: str) -> bool:
        """Say whether nothing may be tried on this sink now."""
        state = self._broken.get(sink)
        return state is not None and not state.trying

    def knows(self, sink: str) -> bool:
        """Say whether this is a sink of the configuration, and not where children wait, say."""
        return sink in self._sinks

    def trip(self, sink: str, error: BaseException, pipelines: Iterable[str] = ()) -> None:
        """The sink's place failed; `pipelines` are those whose runs met it."""
        self._writers.setdefault(sink, set()).update(pipelines)
        text = error.message if isinstance(error, FilemillError) else str(error)
        text = text.removeprefix(f"staging for sink `{sink}` failed: ")
        help_ = (error.help if isinstance(error, FilemillError) else "") or advice(error)
        state = self._broken.get(sink)
        if state is not None:
            state.message, state.help = text, help_
            if state.trying:
                state.trying = False
                self._troubled[sink].set()
            return
        when, delay = self._mended.pop(sink, (0.0, 0.0))
        recent = when and self._clock.monotonic() - when < FORGIVEN
        delay = _longer(delay) if recent else FIRST_DELAY
        state = Broken(sink, self._clock.wall_ns(), text, help_, delay)
        self._broken[sink] = state
        self._tasks[sink] = asyncio.create_task(self._mend(state), name=f"breaker {sink}")
        self._emit(
            SinkBroken(
                at_ns=self._clock.wall_ns(),
                sink=sink,
                message=text,
                help=help_,
                pipelines=tuple(sorted(self._writers[sink])),
            )
        )

    async def fails(self, sink: str) -> OSError | FilemillError | None:
        """Look whether the sink's place can be used; what is wrong with it, if anything is."""
        try:
            await asyncio.to_thread(self._sinks[sink].probe)
        except (OSError, FilemillError) as error:
            return error
        return None

    async def stop(self) -> None:
        """Look no more."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _mend(self, state: Broken) -> None:
        """Look again and again until work has gone through for a while."""
        troubled = self._troubled[state.sink]
        while True:
            state.next_ns = self._clock.wall_ns() + int(state.delay * 1e9)
            await asyncio.sleep(state.delay)
            state.delay = _longer(state.delay)
            error = await self.fails(state.sink)
            if error is not None:
                state.message = error.message if isinstance(error, FilemillError) else str(error)
                continue
            troubled.clear()
            state.trying = True
            self._changed(state.sink)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(troubled.wait(), QUIET)
            if state.trying:
                break
        del self._broken[state.sink], self._tasks[state.sink]
        self._mended[state.sink] = (self._clock.monotonic(), state.delay)
        self._emit(SinkMended(at_ns=self._clock.wall_ns(), sink=state.sink))


def writers(pipelines: Iterable[PipelinePlan]) -> dict[str, set[str]]:
    """By sink: the pipelines that may write to it, as far as the plan tells."""
    found: dict[str, set[str]] = {}
    for pipeline in pipelines:
        for sink in _sinks_of(pipeline.steps):
            found.setdefault(sink, set()).add(pipeline.name)
    return found


def _sinks_of(steps: Iterable[StepPlan]) -> Iterator[str]:
    for step in steps:
        if step.uses == "write":
            yield from step.options.get("to", ())
        for route in step.routes:
            yield from route.sinks
            yield from _sinks_of(route.steps)


def _longer(delay: float) -> float:
    return min(LONGEST_DELAY, delay * 2)
