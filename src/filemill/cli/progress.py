"""How far a long command is: a bar on a terminal after a second, else a line every ten seconds; always on stderr."""

from __future__ import annotations

from typing import Self, TextIO

from filemill.ports.clock import Clock, SystemClock
from filemill.telemetry.wording import number

_FIRST = 1.0
_BAR_EVERY = 0.1
_LINE_EVERY = 10.0
_WIDTH = 24


class Progress:
    """Counts one kind of thing. Use as a context, so that the bar goes when the command ends."""

    def __init__(
        self, stream: TextIO, what: str, *, quiet: bool = False, clock: Clock | None = None
    ) -> None:
        self._stream = stream
        self._what = what
        self._quiet = quiet
        self._clock = clock or SystemClock()
        self._bar = stream.isatty()
        self._next = self._clock.monotonic() + (_FIRST if self._bar else _LINE_EVERY)
        self._drawn = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def of(self, what: str, done: int, total: int) -> None:
        """The same, of another thing."""
        self._what = what
        self(done, total)

    def __call__(self, done: int, total: int = 0) -> None:
        """So many of so many are done; 0: nobody knows how many there are."""
        now = self._clock.monotonic()
        if self._quiet or now < self._next:
            return
        of = f" of {number(total)}" if total else ""
        text = f"{self._what}: {number(done)}{of}"
        if self._bar:
            filled = min(_WIDTH, _WIDTH * done // total) if total else 0
            drawn = f" [{'#' * filled}{'.' * (_WIDTH - filled)}]" if total else ""
            self._stream.write(f"\r\x1b[K{text}{drawn}")
            self._drawn = True
        else:
            self._stream.write(f"{text}\n")
        self._stream.flush()
        self._next = now + (_BAR_EVERY if self._bar else _LINE_EVERY)
