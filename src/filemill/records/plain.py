"""Files whose bytes are as they look. No Polars here: who handles content imports it in the server, too."""

from __future__ import annotations

import os


class PlainBytes:
    """The bytes of a file that is as it looks."""

    def __init__(self, path: bytes) -> None:
        """Raises OSError."""
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def pread(self, size: int, at: int, /) -> bytes:
        """At most `size` bytes from place `at`; fewer only where the file ends."""
        return os.pread(self._descriptor, size, at)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)
