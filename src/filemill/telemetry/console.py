"""The console: what happens to files, as lines a person can read along with."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Sequence
from typing import TextIO

from filemill.model import events as e
from filemill.telemetry.lines import Lines
from filemill.telemetry.painting import Paint, marks_for
from filemill.telemetry.throttle import Throttle
from filemill.telemetry.wording import printable
from filemill.telemetry.writing import LineWriter

_TROUBLE = (
    e.SystemTrouble,
    e.SinkBroken,
    e.IntakeWaits,
    e.FileRejected,
    e.WorkerLost,
    e.OutputUnverified,
    e.SourceMissing,
)


class Console:
    """Prints events as people read them. Calling it never blocks and never raises.

    `zone` None is the machine's own time zone. `quiet` leaves only failures and trouble, `verbose` adds
    every arrival. Above `rate` lines of one kind a second, one summed line a second is printed.
    """

    def __init__(
        self,
        stream: TextIO,
        zone: dt.tzinfo | None = None,
        *,
        color: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        rate: int = 25,
    ) -> None:
        self._quiet = quiet
        self._paint = Paint(on=color)
        marks = marks_for(getattr(stream, "encoding", None))
        lines = Lines(
            marks=marks, paint=self._paint, zone=zone, verbose=verbose, columns=_columns_of(stream)
        )
        throttle = Throttle(lines, rate)
        self._writer: LineWriter[e.Event] = LineWriter(
            stream, throttle.take, waiting=lambda: throttle.pending, idle=throttle.flush
        )

    def __call__(self, event: e.Event) -> None:
        """Take one event, from any thread."""
        if not self._quiet or _is_trouble(event):
            self._writer.put(event)

    def say(self, *lines: str) -> None:
        """Print lines that come from no event, in their place among those that do."""
        for line in lines:
            self._writer.put(line)

    def banner(
        self,
        *,
        version: str,
        config: str,
        revision: int,
        data: str,
        watching: Sequence[tuple[str, str]],
        workers: int,
        pipelines: Sequence[str],
    ) -> None:
        """Say what is being started. `watching` is (place, how it is watched) of each source."""
        if self._quiet:
            return
        name = self._paint("strong", f"filemill {version}")
        self.say(f"{name}   config {printable(config)} (rev {revision})   data {printable(data)}")
        for index, (place, how) in enumerate(watching):
            label, more = ("watching ", f"     workers {workers}") if index == 0 else (" " * 9, "")
            self.say(f"{label} {printable(place)}{f' ({how})' if how else ''}{more}")
        if not watching:
            self.say(f"watching  nothing: there is no source     workers {workers}")
        self.say(f"pipelines {'  '.join(pipelines) or '(none)'}")

    @property
    def gone(self) -> bool:
        """True once nobody reads its stream any more."""
        return self._writer.gone

    def close(self, seconds: float = 1.0) -> None:
        """Write what is left, for at most so long, and end. Idempotent."""
        self._writer.close(seconds)


def _columns_of(stream: TextIO) -> Callable[[], int | None]:
    """How to ask for the width of the terminal that a stream writes to, which people change; None for no terminal."""
    if not stream.isatty():
        return lambda: None
    return lambda: shutil.get_terminal_size().columns


def _is_trouble(event: e.Event) -> bool:
    if isinstance(event, e.RunFailed):
        return event.state == "dead"
    return isinstance(event, _TROUBLE)
