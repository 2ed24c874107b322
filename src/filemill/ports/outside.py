"""Ports whose first adapters come with scanning and scale-out; their promises are fixed here."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import msgspec


class Verdict(StrEnum):
    """What a scanner says. Anything but CLEAN keeps a file from every step."""

    CLEAN = "clean"
    INFECTED = "infected"
    UNKNOWN = "unknown"
    """Down, too slow, over its size limit: the file waits, it does not pass."""


class Scan(msgspec.Struct, frozen=True):
    """One file's verdict and the signature or reason behind it."""

    verdict: Verdict
    detail: str = ""


class Scanner(Protocol):
    """Looks at acknowledged content before anything parses it. Fails closed."""

    def scan(self, path: bytes) -> Scan:
        """Scan one file, in a worker; never raises for a scanner's own trouble: that is UNKNOWN."""
        ...


class Delivery(msgspec.Struct, frozen=True):
    """One message: a run id and the token that acknowledges it."""

    run: str
    token: str
    deliveries: int = 1


class Broker(Protocol):
    """Transport of run ids between machines, at least once; the ledger stays the truth.

    A lost message costs latency (polling finds the run), a doubled one costs a refused lease.
    """

    async def publish(self, runs: Sequence[str]) -> None:
        """Hand over; returns when the broker has confirmed that they are durable."""
        ...

    async def claim(self, limit: int, wait: float) -> list[Delivery]:
        """Up to `limit` messages, waiting at most `wait` seconds for the first."""
        ...

    async def acknowledge(self, tokens: Sequence[str]) -> None:
        """Done with these; called only after the ledger's commit."""
        ...

    async def give_back(self, tokens: Sequence[str], delay: float) -> None:
        """Deliver them again, to anyone, after `delay` seconds."""
        ...

    async def depth(self) -> int:
        """How many wait, roughly."""
        ...

    async def close(self) -> None:
        """Close. Idempotent."""
        ...
