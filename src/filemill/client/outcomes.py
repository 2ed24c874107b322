"""What became of each file that was to be sent."""

from __future__ import annotations

from typing import Any

import msgspec

from filemill.client.files import Sendable
from filemill.model.errors import FilemillError

ENDS = frozenset({"done", "dead", "held", "cancelled", "discarded", "rejected", "quarantined"})
"""States of a file in which nothing more happens by itself."""


class Receipt(msgspec.Struct, frozen=True):
    """The server has it: no crash of anything loses it any more."""

    id: str
    fresh: bool
    """False: it was taken before, and is the same file."""


class Outcome(msgspec.Struct):
    """One file: it has a receipt, or an error, or neither when it was not come to."""

    file: Sendable
    digest: bytes = b""
    receipt: Receipt | None = None
    error: FilemillError | None = None
    ended: dict[str, Any] = msgspec.field(default_factory=dict)
    """What the server tells of it, once it was asked how its runs ended."""

    @property
    def state(self) -> str:
        """The file's state as it was told last; empty before."""
        return str(self.ended.get("state", ""))
