"""What server and workers say to one another of a big file's chunks. No Polars here: the server imports it."""

from __future__ import annotations

import msgspec

from filemill.engine.states import Carried
from filemill.model.runs import ChunkResult
from filemill.records.layout import Hints


class Cut(msgspec.Struct, frozen=True):
    """How a file is cut. Fewer than two ends: it is to be worked on whole, as if there were no chunks."""

    ends: tuple[int, ...] = ()
    ordered: bool = False
    """One after the other: a step sees the number of a record in its file, or all that came before."""
    whole: str = ""
    """Why it is not cut, for who looks at a trace."""
    state: bytes = b""
    """Where an earlier attempt stood, opened where it was sealed; empty: nowhere that is known any more."""


class ChunkDone(msgspec.Struct, frozen=True):
    """What a chunk came to, and what the chunks behind it have to know."""

    result: ChunkResult
    learned: Hints = Hints()
    restart: Hints | None = None
    """All chunks have to be done again with these."""
    state: Carried | None = None
    """What steps that see the whole file have seen so far."""
    lost: bool = False
    """The state it was given is not there any more."""
