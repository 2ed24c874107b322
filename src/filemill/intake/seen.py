"""Versions of files that stay in their source though they were taken: no scan needs to have them looked at again."""

from __future__ import annotations

from filemill.model.files import Identity
from filemill.ports.source import Sighting

_REMEMBERED = 50_000
"""Files left in place that are remembered, so that scans need not ask the ledger about them; bounds memory."""


class Seen:
    """What was taken by copy, by path. A hint: what is forgotten is asked of the ledger."""

    def __init__(self) -> None:
        self._versions: dict[bytes, Identity] = {}

    def add(self, path: bytes, version: Identity) -> None:
        """This version was taken, or is known."""
        if len(self._versions) >= _REMEMBERED:
            self._versions.clear()
        self._versions[path] = version

    def others(self, sightings: list[Sighting]) -> list[Sighting]:
        """Those that may be of something else."""
        versions = self._versions
        if not versions:
            return sightings
        return [s for s in sightings if s.identity is None or versions.get(s.path) != s.identity]
