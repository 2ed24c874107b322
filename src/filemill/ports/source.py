"""Sources: where files enter. They say what might be a file; intake decides and takes it."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, ClassVar, Protocol

import msgspec
from pydantic import BaseModel

from filemill.model.events import Emit
from filemill.model.files import Identity
from filemill.ports.clock import Clock


class Proof(StrEnum):
    """What a source knows about the writer of a sighted file."""

    CLOSED = "closed"
    """The writer closed it (CLOSE_WRITE): quiet for `settle` is enough."""
    RENAMED = "renamed"
    """It was renamed in, whole by the usual contract: taken at once."""
    NONE = "none"
    """Found by a scan or on a mount without events: a lease test or `settle_unproven` decides."""


class Sighting(msgspec.Struct, frozen=True):
    """A name that might be a file to take. Sightings may repeat and may be wrong."""

    source: str
    path: bytes
    relative: bytes
    proof: Proof
    identity: Identity | None = None
    """As lstat saw it, when the source looked."""


class SourceSpec(msgspec.Struct, frozen=True):
    """What a source kind says of itself."""

    name: str
    summary: str
    example: str
    extra: str | None = None


class SourceContext(msgspec.Struct):
    """What a source gets from the composition root."""

    name: str
    options: Any
    """The kind's own Options, validated."""
    sighted: Callable[[list[Sighting]], None]
    """Takes sightings, from the event loop's thread; never blocks and never raises."""
    emit: Emit
    clock: Clock


class Source(Protocol):
    """One watched place. Lifecycle: constructed, `start`, `stop`; both idempotent.

    1. `start` runs in the event loop; when it returns the place is watched *and* a first full scan is under way.
    2. Events are hints, scans are truth: a lost event costs latency, never a file.
    3. A source opens nothing but directories and moves nothing; intake does.
    4. A place that is missing is `SourceMissing`, and watched again when it returns; its files are not
       concluded to be gone.
    """

    spec: ClassVar[SourceSpec]
    Options: ClassVar[type[BaseModel]]

    def __init__(self, context: SourceContext) -> None: ...

    async def start(self) -> None:
        """Begin to watch.

        Raises:
            UsageError: the place cannot be watched at all, with help.
        """
        ...

    async def stop(self) -> None:
        """Stop watching; sightings already given stand."""
        ...

    async def scanned(self) -> None:
        """Return when a full scan that began after this call has given all its sightings."""
        ...
