"""Time and ids come in from outside, so that tests and the simulated world can decide them."""

from __future__ import annotations

import os
import re
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


class Steady:
    """The time of day that does not jump: what the wall said once, and what the monotonic clock counted since.

    For what falls due. A clock that is set an hour back would otherwise hold retries up for an hour; one set ahead
    would spend all their attempts at once.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall_ns = clock.wall_ns()
        self._began = clock.monotonic()

    def ns(self) -> int:
        """Nanoseconds since the epoch; never goes back."""
        return self._wall_ns + round((self._clock.monotonic() - self._began) * 1e9)


_FORM = re.compile(r"[a-z2-7]{13}\Z")


def is_id(text: str) -> bool:
    """Say whether a text has the form of an id: whoever names one may come from outside, and it is part of paths."""
    return _FORM.match(text) is not None


_ALPHABET = b"abcdefghijklmnopqrstuvwxyz234567"
_LENGTH = 13
_TO_LETTER = bytes(_ALPHABET[byte & 31] for byte in range(256))
_SHARED = 3
"""First letters that ids made one after the other have in common."""
_AT_ONCE = 256


class RandomIds:
    """65 random bits an id, not ordered by time: a short prefix must tell two apart. Neighbours begin alike.

    Each 256 ids share their first three letters, which are random themselves. So their entries lie together in an
    index that knows a million others, and a commit of many files writes one of its pages and not one for each of them.
    The eight letters that people see still tell apart: two of 256 share the other five once in a thousand such groups.

    Randomness is fetched for many ids at once: a system call an id would cost more than the rest of it.
    """

    def __init__(self) -> None:
        self._shared = ""
        self._letters = ""

    def new(self) -> str:
        """A fresh id."""
        own = _LENGTH - _SHARED
        if not self._letters:
            fetched = os.urandom(_SHARED + own * _AT_ONCE).translate(_TO_LETTER).decode("ascii")
            self._shared, self._letters = fetched[:_SHARED], fetched[_SHARED:]
        fresh, self._letters = self._letters[:own], self._letters[own:]
        return self._shared + fresh
