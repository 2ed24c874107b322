"""A clock that stands still until a test moves it."""

from __future__ import annotations


class FakeClock:
    """Both clocks of `ports.clock.Clock`, moved by hand; starts at a round moment in 2027."""

    def __init__(self, wall_ns: int = 1_800_000_000 * 10**9) -> None:
        self._wall_ns = wall_ns
        self._monotonic = 0.0

    def wall_ns(self) -> int:
        """Nanoseconds since the epoch, UTC."""
        return self._wall_ns

    def monotonic(self) -> float:
        """Seconds since this clock was made."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self._wall_ns += round(seconds * 10**9)
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock off, as an operator or a time server does; the monotonic one goes on."""
        self._wall_ns += round(seconds * 10**9)
