"""Progress of work in several stages, each of which counts things of its own."""

from __future__ import annotations

from typing import Self

from filemill.cli.output import wants_color
from filemill.cli.progress import Meter
from filemill.cli.session import Session


class Stages:
    """Shows the stage that is told of last. As a context, what it drew goes at the end."""

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
