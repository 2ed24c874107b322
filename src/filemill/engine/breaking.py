"""Circuit breakers, one for each sink: what is wrong with one sink's place stops nothing that goes elsewhere.

    closed --trouble--> open --its place can be used again--> trying --quiet for a while--> closed
                         ^                                      |
                         +--------------- trouble --------------+

While a sink's breaker is open, runs of the pipelines that write to it are not leased: they stay queued, and no attempt
is spent. Runs that are staged already wait in `publishing`, their bytes where they are, and hold up no other. Whether
the place can be used is looked at after a second, then after two, four... at most every 15 seconds (`Sink.probe`); then
work goes through again, and when that meets the trouble once more, the next look comes later.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from filemill.engine.trouble import SYSTEM_ERRNOS, advice
from filemill.model.errors import FilemillError, plainly
from filemill.model.events import Emit, SinkBroken, SinkMended
from filemill.model.plan import PipelinePlan, StepPlan
from filemill.ports.clock import Clock
from filemill.ports.sink import Sink

SINK_ERRNOS = SYSTEM_ERRNOS - {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""What a sink's place may suffer from; the others are the server's own trouble, whichever sink meets it."""
FIRST_DELAY = 1.0
LONGEST_DELAY = 15.0
"""Short, because whoever mends a disk looks on; a look at a folder costs next to nothing."""
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
    looks: int = 0
    """How often it could not be used when it was looked at, or when work went through again."""
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
        self._older: dict[str, Sink] = {}
        """Sinks that are no longer in force and that runs of their revisions still met, by key."""
        self._writers = writers(pipelines)
        self._clock = clock
        self._emit = emit
        self._changed = changed
        self._broken: dict[str, Broken] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._troubled: dict[str, asyncio.Event] = {}
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

    def key(self, name: str, sinks: Mapping[str, Sink], revision: int) -> str:
        """Under which name the breaker goes that belongs to this sink of `sinks`, those of a revision.

        Its own, unless a change has put another sink in its place. Empty: it is no sink (where children wait, say).
        """
        sink = sinks.get(name)
        if sink is None:
            return ""
        if self._sinks.get(name) is sink:
            return name
        for key, known in self._older.items():
            if known is sink:
                return key
        key = f"{name} (rev {revision})"
        self._older[key] = sink
        return key

    def is_older(self, key: str) -> bool:
        """Say whether this is the breaker of a sink that is no longer in force: no pipeline is parked for it."""
        return key in self._older

    def update(self, sinks: Mapping[str, Sink], pipelines: Iterable[PipelinePlan]) -> None:
        """Go by another configuration: a breaker whose sink is another one now, or gone, is forgotten."""
        former, self._sinks = self._sinks, sinks
        self._writers = writers(pipelines)
        for name, sink in former.items():
            if sinks.get(name) is not sink and self._broken.pop(name, None) is not None:
                self._tasks.pop(name).cancel()
                self._emit(SinkMended(at_ns=self._clock.wall_ns(), sink=name))
                self._changed(name)

    def pipelines_of(self, sink: str) -> tuple[str, ...]:
        """The pipelines whose runs wait while this sink is broken, in order."""
        return tuple(sorted(self._writers.get(sink, ())))

    def trip(self, sink: str, error: BaseException, pipelines: Iterable[str] = ()) -> None:
        """The sink's place failed; `pipelines` are those whose runs met it."""
        mine = self._writers.setdefault(sink, set())
        if not self.is_older(sink):  # what goes to the sinks of today has no part in it
            mine.update(pipelines)
        text = error.message if isinstance(error, FilemillError) else plainly(error)
        text = text.removeprefix(f"staging for sink `{sink}` failed: ")
        help_ = (error.help if isinstance(error, FilemillError) else "") or advice(error)
        state = self._broken.get(sink)
        if state is not None:
            state.message, state.help = text, help_
            if state.trying:
                state.trying = False
                self._troubled.setdefault(sink, asyncio.Event()).set()
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
            await asyncio.to_thread(self._place(sink).probe)
        except (OSError, FilemillError) as error:
            return error
        return None

    def _place(self, key: str) -> Sink:
        return self._older.get(key) or self._sinks[key]

    async def stop(self) -> None:
        """Look no more."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _mend(self, state: Broken) -> None:
        """Look again and again until work has gone through for a while."""
        troubled = self._troubled.setdefault(state.sink, asyncio.Event())
        while True:
            state.next_ns = self._clock.wall_ns() + int(state.delay * 1e9)
            await asyncio.sleep(state.delay)
            state.delay = _longer(state.delay)
            error = await self.fails(state.sink)
            if error is not None:
                state.message = (
                    error.message if isinstance(error, FilemillError) else plainly(error)
                )
                state.looks += 1
                continue
            troubled.clear()
            state.trying = True
            self._changed(state.sink)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(troubled.wait(), QUIET)
            if state.trying:
                break
            state.looks += 1
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
