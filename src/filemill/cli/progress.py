"""How far long work has come, on stderr: a bar for a person at a terminal, a line now and then for a log.

    with progress(session, "redriving", total=len(runs), unit="run") as step:
        for run in runs:
            redrive(run)
            step()          # or step(500) after a batch of 500
    with Stages(session) as told:
        told("copying", "file", 3, 20)

Nothing is shown in the first second. On a terminal a bar with rate and time left follows, and is wiped away at the
end; anywhere else (a pipe, a log, TERM=dumb) one line every ten seconds. stdout is never touched, `--quiet` shows
nothing. Rich is loaded only when a bar is due, so quick work does not pay for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self, TextIO

from filemill.cli.output import wants_color
from filemill.ports.clock import Clock, SystemClock
from filemill.telemetry.wording import duration, number, plural, size

if TYPE_CHECKING:
    from filemill.cli.session import Session

PATIENCE = 1.0
"""Seconds of work before anything is shown."""
EVERY = 10.0
"""Seconds between two lines where there is no terminal."""


@contextmanager
def progress(
    session: Session, what: str, *, total: int | None = None, unit: str = "file"
) -> Iterator[Callable[..., None]]:
    """Show how far `what` (a verb: `redriving`) has come; yields what to call with each unit done.

    `total` is the number of units (None: not known, then rate and count are all there is to show); of bytes
    (`unit="byte"`) sizes are said. Raises nothing of its own: a terminal that is gone shows nothing.
    """
    meter = Meter(session.output.stderr, what, total=total, unit=unit, quiet=session.quiet)
    meter.color = wants_color(session.color, session.output.stderr)
    try:
        yield meter.step
    finally:
        meter.close()


class Stages:
    """Progress of work in several stages, each of which counts things of its own; shows the one told of last.

    As a context, what it drew goes at the end.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._meter: Meter | None = None
        self._stage = ("", "")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._meter is not None:
            self._meter.close()

    def __call__(self, what: str, unit: str, done: int, total: int = 0) -> None:
        """So many of so many (0: nobody knows) are done; `what` is a verb (`copying`)."""
        if self._meter is None or self._stage != (what, unit):
            if self._meter is not None:
                self._meter.close()
            stream = self._session.output.stderr
            self._stage = (what, unit)
            self._meter = Meter(
                stream, what, total=total or None, unit=unit, quiet=self._session.quiet
            )
            self._meter.color = wants_color(self._session.color, stream)
        self._meter.step(done - self._meter.done)


class Meter:
    """Counts units of work and shows them on a stream as it is due. For one thread."""

    def __init__(
        self,
        stream: TextIO,
        what: str,
        *,
        total: int | None,
        unit: str,
        quiet: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.color = False
        self._stream = stream
        self._what = what
        self._total = total
        self._unit = unit
        self._quiet = quiet
        self._clock = clock or SystemClock()
        self._bar: _Bar | None = None
        self._drawn = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._began = self._clock.monotonic()
        self._due = self._began + (PATIENCE if self._drawn else EVERY)
        self.done = 0

    def step(self, count: int = 1) -> None:
        """So many units more are done. Costs a look at the clock."""
        self.done += count
        if self._bar is not None:
            self._bar.show(self.done, self.line())
        elif not self._quiet and self._clock.monotonic() >= self._due:
            self._show()

    def close(self) -> None:
        """Wipe the bar away. Idempotent."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _show(self) -> None:
        if self._drawn:
            self._bar = _Bar(self._stream, self._total, color=self.color)
            self._bar.show(self.done, self.line())
            return
        self._due = self._clock.monotonic() + EVERY
        try:
            self._stream.write(f"{self.line()}\n")
            self._stream.flush()
        except OSError:
            self._quiet = True  # nobody reads it any more; the work goes on

    def line(self) -> str:
        """Such as `redriving: 1,204 of 2,800 runs (43%), 120/s, 13s left`."""
        elapsed = max(self._clock.monotonic() - self._began, 1e-9)
        rate = self.done / elapsed
        pace = f"{size(int(rate))}/s" if self._unit == "byte" else f"{rate:,.0f}/s"
        if not self._total:
            return f"{self._what}: {self._much(self.done)}, {pace}"
        share = f"{100 * self.done // self._total}%"
        done = size(self.done) if self._unit == "byte" else number(self.done)
        told = f"{self._what}: {done} of {self._much(self._total)} ({share})"
        if not rate:
            return told
        left = duration(int((self._total - self.done) / rate * 1e9))
        return f"{told}, {pace}, {left} left"

    def _much(self, count: int) -> str:
        return size(count) if self._unit == "byte" else plural(count, self._unit)


class _Bar:
    """The drawn form: Rich's bar beside the same words as a line has, taken away at the end."""

    def __init__(self, stream: TextIO, total: int | None, *, color: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        console = Console(file=stream, no_color=not color, highlight=False, markup=False)
        self._progress = Progress(
            SpinnerColumn("line") if total is None else BarColumn(bar_width=24),
            TextColumn("{task.description}", style="none", markup=False),
            console=console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task("", total=total)
        self._progress.start()

    def show(self, done: int, line: str) -> None:
        self._progress.update(self._task, completed=done, description=line)

    def close(self) -> None:
        self._progress.stop()
