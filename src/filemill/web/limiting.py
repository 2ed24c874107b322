"""How much one address or principal may ask for, so that one of them cannot keep the others from being served.

Counted in memory: a web child that begins anew counts from nothing.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable

import msgspec
from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from filemill.model.plan import LimitsPlan
from filemill.ports.clock import SystemClock
from filemill.web.errors import ApiError

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 300.0
"""Seconds for which an address is not heard after a failed key too many; each further one doubles it."""
FORGOTTEN = 900.0
"""Seconds without a failed key after which those before do not count."""
MOST_ADDRESSES = 10_000
"""Addresses of which failed keys are known; the one that failed longest ago makes room."""
LISTENERS = 32
"""Streams of events at once: each holds a reading of the ledger."""
LISTENERS_EACH = 8
"""Of one principal, so that none takes them all."""


class _Failures(msgspec.Struct):
    count: int = 0
    last: float = 0.0
    until: float = 0.0


class Limits:
    """One per process, in its event loop. `monotonic` is the clock that pauses go by."""

    def __init__(
        self, plan: Callable[[], LimitsPlan], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._plan = plan
        self._monotonic = monotonic
        self._storage = MemoryStorage()
        self._windows = SlidingWindowCounterRateLimiter(self._storage)
        self._failures: dict[str, _Failures] = {}
        self._uploads: Counter[str] = Counter()
        self._listeners: Counter[str] = Counter()

    def request(self, kind: str, who: str) -> None:
        """Count a request of an `address` or a `principal`.

        Raises:
            ApiError: 429, there are too many a second.
        """
        most = self._plan().requests
        if most and not self._windows.hit(RateLimitItemPerSecond(most), kind, who):
            raise ApiError(429, f"more than {most:,} requests a second", headers=_again(1))

    def may_try(self, who: str, where: str = "came from this address") -> None:
        """Whether a key from this address, or for this account, is looked at.

        Raises:
            ApiError: 429, too many were wrong; not even a right one is looked at for a while.
        """
        found = self._failures.get(who)
        left = found.until - self._monotonic() if found else 0.0
        if left > 0:
            raise ApiError(
                429,
                f"too many wrong keys {where}",
                help="wait, then send the right one",
                headers=_again(left),
            )

    def failed(self, who: str) -> None:
        """A key from this address, or for this account, was wrong."""
        now = self._monotonic()
        found = self._failures.pop(who, None)
        if found is None or now - found.last > FORGOTTEN:
            found = _Failures()
        found.count, found.last = found.count + 1, now
        # Cut off before it is a power: an address may go on for days.
        over = min(found.count - self._plan().failed_keys, 30)
        if over >= 0:
            found.until = now + min(FIRST_PAUSE * 2**over, LONGEST_PAUSE)
        # Each is put at the end: the first is the one that failed longest ago.
        self._failures[who] = found
        if len(self._failures) > MOST_ADDRESSES:
            del self._failures[next(iter(self._failures))]

    def begin_upload(self, principal: str) -> None:
        """Count an upload under way; `end_upload` must follow.

        Raises:
            ApiError: 429, it has too many. It is not counted.
        """
        most = self._plan().uploads
        if self._uploads[principal] >= most:
            raise ApiError(429, f"more than {most:,} uploads at once with this key")
        self._uploads[principal] += 1

    def end_upload(self, principal: str) -> None:
        """It is over."""
        self._uploads[principal] -= 1
        if not self._uploads[principal]:
            del self._uploads[principal]

    def begin_listening(self, principal: str) -> None:
        """Count a stream of events; `end_listening` must follow.

        Raises:
            ApiError: 429, it has too many, or all together have. It is not counted.
        """
        if self._listeners[principal] >= LISTENERS_EACH:
            raise ApiError(
                429, f"{LISTENERS_EACH} listen already with this key", headers=_again(15)
            )
        if self._listeners.total() >= LISTENERS:
            raise ApiError(429, f"{LISTENERS} listen already", headers=_again(15))
        self._listeners[principal] += 1

    def end_listening(self, principal: str) -> None:
        """It is over."""
        self._listeners[principal] -= 1
        if not self._listeners[principal]:
            del self._listeners[principal]

    def received(self, principal: str, size: int) -> None:
        """Count bytes of an upload.

        Raises:
            ApiError: 429, it sent as many as it may in a day.
        """
        most = self._plan().bytes_per_day
        if not most or not size:
            return
        day = RateLimitItemPerDay(most)
        if not self._windows.hit(day, "bytes", principal, cost=size):
            raise ApiError(
                429,
                "this key sent as many bytes as it may in a day",
                help="`web: {limits: {bytes_per_day: ...}}` says how many",
                headers=_again(self._frees(day, principal)),
            )

    def _frees(self, day: RateLimitItem, principal: str) -> float:
        ends = self._windows.get_window_stats(day, "bytes", principal).reset_time
        return ends - SystemClock().wall_ns() / 1e9


class Pace:
    """How fast a sender is: only the time that it is waited for counts, not what we need to write."""

    def __init__(self, least: int, window: float) -> None:
        self._least = least
        self._window = window
        self._waited = 0.0
        self._came = 0

    def took(self, seconds: float, size: int) -> None:
        """So many bytes came after so long a wait.

        Raises:
            ApiError: 408, they come more slowly than is borne.
        """
        self._waited += seconds
        self._came += size
        if self._waited < self._window:
            return
        if self._came < self._least * self._waited:
            raise ApiError(
                408,
                f"fewer than {self._least:,} bytes a second came",
                headers={"connection": "close"},
            )
        self._waited, self._came = 0.0, 0


def _again(seconds: float) -> dict[str, str]:
    return {"retry-after": str(max(1, math.ceil(seconds)))}
