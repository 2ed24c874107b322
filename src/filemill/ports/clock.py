"""Time and ids come in from outside, so that tests and the simulated world can decide them."""

from __future__ import annotations

import secrets
import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: `wall_ns` to tell people, `monotonic` (seconds) to measure and to wait."""

    def wall_ns(self) -> int:
        """Nanoseconds since the epoch, UTC; may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        ...


class Ids(Protocol):
    """Source of ids."""

    def new(self) -> str:
        """A fresh id: 13 characters of lower-case base32, random, safe in a path and on a screen."""
        ...


class SystemClock:
    """The machine's clocks."""

    def wall_ns(self) -> int:
        """Nanoseconds since the epoch, UTC."""
        return time.time_ns()  # noqa: TID251 -- the one place

    def monotonic(self) -> float:
        """Seconds of the monotonic clock."""
        return time.monotonic()


_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


class RandomIds:
    """65 random bits an id. Not time-ordered: a short prefix must tell two apart."""

    def new(self) -> str:
        """A fresh id."""
        number = secrets.randbits(65)
        return "".join(_ALPHABET[(number >> (5 * place)) & 31] for place in range(13))
