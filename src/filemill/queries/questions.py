"""What all questions share: a reading of the ledger to ask, and a clock."""

from __future__ import annotations

from filemill.ports.clock import Clock
from filemill.ports.reading import Reading


class Questions:
    """Part of `Queries`, which is made of its subclasses, a module each."""

    def __init__(self, reading: Reading, clock: Clock) -> None:
        self._reading = reading
        self._clock = clock
