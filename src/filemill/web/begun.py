"""What this process remembers of encrypted uploads in parts: what it cannot read back, since it has no identity.

It is lost with the process. Then the place to go on is found in the file, and what has to be known of the bytes before
it, for their type or their digest, is read by way of who has the identity (`web/opening.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from hashlib import _Hash

MOST = 512


class Standing(msgspec.Struct, frozen=True):
    """An upload at an offset that is noted."""

    offset: int
    stored: int
    """Bytes of the file on the disk."""
    head: bytes
    """Its first bytes, as long as their type was not judged."""
    digest: _Hash | None
    """sha256 so far, where the whole has to have one."""


class Begun:
    """Uploads that were gone on with lately, by id. In one event loop."""

    def __init__(self) -> None:
        self._known: dict[str, Standing] = {}

    def at(self, file: str, offset: int) -> Standing | None:
        """How this upload stands at this offset, if it is known."""
        known = self._known.get(file)
        return known if known is not None and known.offset == offset else None

    def note(self, file: str, standing: Standing) -> None:
        """It stands so now."""
        self._known.pop(file, None)
        self._known[file] = standing
        if len(self._known) > MOST:
            del self._known[next(iter(self._known))]

    def forget(self, file: str) -> None:
        """It is over."""
        self._known.pop(file, None)
