"""Content: where acknowledged bytes live, under references, immutable from then on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import BinaryIO, Protocol

INPUT = ".input"
"""Ends the references of kept inputs. Each can be made again from its file: one that no row names is left over."""


def is_spare(reference: str) -> bool:
    """Say whether bytes that no row names can be let go of: a copy that a crash cut off, or a kept input."""
    name = reference.rpartition("/")[2]
    return name.endswith((".part", INPUT)) or f"{INPUT}." in name


class Content(Protocol):
    """A store of immutable byte sequences, each under a reference the caller reserved.

    A reference is `bucket/id`: opaque to all but the store. Nothing written is visible under its
    reference before it is whole. Durable means: survives a power cut; it is promised only after `sync`.
    All methods are synchronous and are called from worker threads, never from the event loop.
    """

    @property
    def seals(self) -> bool:
        """Whether what is copied or put in is encrypted; only what is encrypted already may be adopted then."""
        ...

    @property
    def key(self) -> str:
        """With which key what comes in is encrypted; empty: with none."""
        ...

    def reserve(self, ids: Sequence[str]) -> list[str]:
        """One reference per id. References of one call share what makes syncing them together cheap."""
        ...

    def path(self, reference: str) -> bytes:
        """Absolute path of the reference's bytes, to be opened for reading only."""
        ...

    def adopt(self, source: bytes, reference: str) -> None:
        """Move the file at `source` in by rename, never replacing anything.

        Raises:
            FileNotFoundError: `source` is gone.
            OSError: EXDEV when it is on another file system: use `copy`.
        """
        ...

    def copy(self, source: BinaryIO, reference: str) -> int:
        """Copy an open file in, visible only when whole; returns how many bytes it had."""
        ...

    def sync(self, references: Sequence[str], directories: Iterable[bytes] = ()) -> None:
        """Make these references' bytes and names durable, as one group.

        `directories` are folders the bytes were moved out of: their names become durable with the group,
        in the same round where they share its file system. One that is gone is no error.

        Raises:
            OSError: none of the group may be counted durable.
        """
        ...

    def exists(self, reference: str) -> bool:
        """Say whether the reference has bytes."""
        ...

    def put(self, data: bytes, reference: str) -> None:
        """Write small bytes (a dead letter's step input), visible only when whole."""
        ...

    def delete(self, references: Sequence[str], *, durable: bool = False) -> None:
        """Remove them; those that are gone already are no error. With `durable` no power cut brings them back.

        Durable is what must be gone before its row is: bytes that no row names are never taken for garbage.

        Raises:
            OSError: some may still be there, or come back.
        """
        ...

    def references(self) -> Sequence[str]:
        """Every reference that has bytes; for recovery's search for orphans."""
        ...
