"""Whose key a text is: what a face asks before it does anything for a stranger."""

from __future__ import annotations

from filemill.identity import keys, pepper
from filemill.model.access import Principal
from filemill.ports.clock import Clock
from filemill.queries import Queries


class Recognition:
    """Recognises the keys of one data directory; for one thread at a time, or several: it keeps the pepper only."""

    def __init__(self, data: str, clock: Clock) -> None:
        self._data = data
        self._clock = clock
        self._pepper: bytes | None = None

    @staticmethod
    def could_be(text: str) -> bool:
        """Say whether a text has the form of a key; asks nobody."""
        return keys.parse(text) is not None

    def owner(self, text: str, queries: Queries) -> Principal | None:
        """Whom this key lets in now; None for none. `queries` sees all there is.

        Raises:
            SystemFault: the pepper or the ledger cannot be read.
        """
        if self._pepper is None:
            self._pepper = pepper.read(self._data)
        if self._pepper is None:
            return None  # no key was ever made here
        return keys.recognise(text, self._pepper, queries.key, self._clock.wall_ns())
