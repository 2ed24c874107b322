"""Measuring how this machine's disks sync, in the background: where nothing is known of one, or nothing new.

A server starts with what is remembered, or the fixed choice. A moment after the start, when nothing is to be
done, each file system on which it makes things durable is measured, and what is found is remembered in the data
directory, where workers look it up too. It is looked at again every hour: a reload may bring another sink, and what was
measured grows old.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping, Sequence

from filemill.durable import Durable
from filemill.durable.barrier import Measured
from filemill.durable.costs import Measurement, recall, remember
from filemill.durable.measuring import measure, sweep
from filemill.ports.clock import Clock
from filemill.ports.sink import HasStagingFolder, Sink
from filemill.ports.source import SourceSettings

FIRST = 2.0
"""Seconds after the start: the first files are not to wait for it."""
EVERY = 3_600.0
OLD = 86_400.0
"""Seconds after which what was measured is measured again."""
_PATIENCE = 60
"""Seconds that a moment without work is waited for; a server that never rests is measured at work."""


class SyncMeasuring:
    """Keeps what is remembered fresh. `start` once, then `stop`."""

    def __init__(
        self,
        durable: Durable,
        *,
        places: Callable[[], Sequence[bytes]],
        clock: Clock,
        busy: Callable[[], bool],
    ) -> None:
        self._durable = durable
        self._places = places
        self._clock = clock
        self._busy = busy
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; the first look comes a moment later. Without syncs, or with a fixed choice, there is nothing to do."""
        barrier = self._durable.barrier
        if self._durable.sync and isinstance(barrier, Measured):
            self._task = asyncio.create_task(self._work(barrier.path), name="sync measuring")

    async def stop(self) -> None:
        """End; a measurement under way is waited for. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _work(self, path: str) -> None:
        await asyncio.sleep(FIRST)
        while True:
            for _ in range(_PATIENCE):
                if not self._busy():
                    break
                await asyncio.sleep(1.0)
            looking = asyncio.create_task(
                asyncio.to_thread(refresh, path, self._places(), self._clock.wall_ns())
            )
            try:
                await asyncio.shield(looking)
            except asyncio.CancelledError:
                await looking
                raise
            await asyncio.sleep(EVERY)


def refresh(path: str, places: Sequence[bytes], now_ns: int) -> None:
    """Measure what is not remembered at `path`, or too old; one place of each device. Never raises for a place.

    What a killed measurement left in a place is removed, also where nothing is measured.
    """
    known = recall(path)
    kept: dict[int, Measurement] = {}
    changed = False
    for place in places:
        # A place that cannot be written to goes by the fixed choice: whoever works there meets the same error.
        with contextlib.suppress(OSError):
            sweep(place)
            device = os.stat(place).st_dev
            if device in kept:
                continue
            if device in known and 0 <= now_ns - known[device].at_ns < OLD * 1e9:
                kept[device] = known[device]
                continue
            kept[device] = measure(place, now_ns)
            changed = True
    if changed or kept.keys() != known.keys():
        with contextlib.suppress(OSError):  # a full disk, which all others meet as well
            remember(path, list(kept.values()))


def places_of(
    data: str, sinks: Mapping[str, Sink], sources: Mapping[str, SourceSettings]
) -> list[bytes]:
    """Folders of ours where a plan makes things durable; one that is not there (yet) is passed over."""
    places = [os.fsencode(data)]
    places += [
        sink.staging_folder() for sink in sinks.values() if isinstance(sink, HasStagingFolder)
    ]
    # Where files are taken across file systems, this folder is made for them anyway.
    places += [
        settings.root + b"/.filemill"
        for settings in sources.values()
        if settings.root and settings.claim == "rename"
    ]
    return places
