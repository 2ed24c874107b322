"""Sources: where files enter. They say what might be a file; intake decides and takes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


class SourceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What intake needs to know of one source; plain, so that intake knows no source kind. Seconds, bytes."""

    name: str
    root: bytes
    """Absolute path below which its files are; trusted as configured, symbolic links included. Empty: in no folder."""
    settle: float = 0.5
    settle_unproven: float = 10.0
    claim: str = "rename"
    """`rename` moves files out of the source, `copy` leaves them there."""
    after: str = "archive"
    duplicates: str = "process"
    max_size: int | None = None
    types: tuple[str, ...] = ()
    """Media types (`image/*`) or name globs (`*.csv`); none means any."""
    tags: tuple[str, ...] = ()
    """Tags it gives; a part may hold `{dir}`, the first folder below the root."""
    priority: int = 0


def roots_of(sources: Mapping[str, SourceSettings]) -> set[bytes]:
    """The folders that these sources watch."""
    return {each.root for each in sources.values()} - {b""}


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
    backlog: Callable[[], int] = lambda: 0
    """How many of its sightings still wait for intake; scans pause while they are many. Any thread may ask."""


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

    def settings(self) -> SourceSettings:
        """What intake needs to know of it."""
        ...

    def watching(self) -> tuple[str, str]:
        """(the place, how it is watched), for people: `("/srv/inbox", "inotify, settle 500ms")`. After `start`."""
        ...

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
