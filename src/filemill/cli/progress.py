"""How far a long command is: a bar on a terminal after a second, else a line every ten; always beside the data."""

from __future__ import annotations

import time
from typing import Self

from filemill.cli.output import Output
from filemill.telemetry.wording import duration, number

_BAR_AFTER = 1.0
_LINE_EVERY = 10.0
_REDRAW_EVERY = 0.1
_COLUMNS = 24


class Progress:
    """Counts what is done of `total` (0: nobody knows); says nothing when it is over soon, or when quiet."""

    def __init__(self, output: Output, what: str, total: int, *, quiet: bool = False) -> None:
        self._stream = output.stderr
        self._what = what
        self._total = total
        self._quiet = quiet
        self._terminal = output.stderr.isatty()
        self._began = self._said = time.monotonic()
        self._drawn = False
        self.done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def step(self, count: int = 1) -> None:
        """So many more are done."""
        self.done += count
        if self._quiet:
            return
        now = time.monotonic()
        if self._terminal:
            if now - self._began >= _BAR_AFTER and now - self._said >= _REDRAW_EVERY:
                self._said = now
                self._drawn = True
                self._stream.write(f"\r\x1b[K{self._text(now, bar=True)}")
                self._stream.flush()
        elif now - self._said >= _LINE_EVERY:
            self._said = now
            self._stream.write(f"{self._text(now, bar=False)}\n")
            self._stream.flush()

    def _text(self, now: float, *, bar: bool) -> str:
        took = max(now - self._began, 1e-9)
        rate = self.done / took
        if not self._total:
            return f"{self._what} {number(self.done)}  {rate:.0f}/s"
        share = min(self.done / self._total, 1.0)
        full = round(_COLUMNS * share)
        drawn = f"[{'#' * full}{'.' * (_COLUMNS - full)}] " if bar else ""
        left = duration(int((self._total - self.done) / rate * 1e9)) if rate else "?"
        return (
            f"{self._what} {drawn}{number(self.done)} of {number(self._total)}  "
            f"{rate:.0f}/s  {left} left"
        )
