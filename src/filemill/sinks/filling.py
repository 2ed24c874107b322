"""A staged file as a library that writes whole formats sees it."""

from __future__ import annotations

from collections.abc import Callable


class Filling:
    """A staged file as somebody else's code writes to it. What went wrong then is kept in `error`."""

    def __init__(self, put: Callable[[bytes], None]) -> None:
        self._put = put
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Append."""
        try:
            self._put(data)
        except OSError as error:
            self.error = error
            raise
        return len(data)

    def flush(self) -> None:
        """Nothing waits here."""
