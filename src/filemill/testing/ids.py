"""Ids a test can foresee."""

from __future__ import annotations

import itertools

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


class SequentialIds:
    """Ids of the real shape (13 characters of base32) that count up: aaaaaaaaaaaab, aaaaaaaaaaaac..."""

    def __init__(self, start: int = 1) -> None:
        self._numbers = itertools.count(start)

    def new(self) -> str:
        """The next id."""
        number = next(self._numbers)
        return "".join(_ALPHABET[(number >> (5 * place)) & 31] for place in reversed(range(13)))
