"""Sinks: where results leave, in two halves. Workers stage; only the server publishes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import msgspec
from pydantic import BaseModel

from filemill.model.runs import Publication, RunOrder, StagedOutput

if TYPE_CHECKING:
    from filemill.durable import Durable
    from filemill.records.batch import Batch
    from filemill.records.layout import Layout


class SinkSpec(msgspec.Struct, frozen=True):
    """What a sink kind says of itself. `transactional` sinks publish first."""

    name: str
    summary: str
    example: str
    transactional: bool = False
    extra: str | None = None


class SinkContext(msgspec.Struct):
    """What a sink gets, on both sides."""

    name: str
    options: Any
    timezone: str
    durable: Durable
    sync: bool = True
    """False under `durability: process`."""


class Published(StrEnum):
    """What became of one publication."""

    YES = "published"
    TAKEN = "taken"
    """The wanted name belongs to somebody else's file: name another (suffix) or fail."""
    UNVERIFIED = "unverified"


class Stager(Protocol):
    """The worker's half for one batch of runs of one pipeline. Used by one thread.

    `expect` comes before a run's records and may come again; `write` and `write_file` may be called any number of
    times in record order; `finish` once, or `abort`. Nothing is visible to a consumer, ever. A run that never got a
    record yields no output (unless `empty: write`).
    """

    def expect(self, order: int, layout: Layout, *, more: bool) -> None:
        """Say which columns a run's csv output has (those of `layout`), with records and without.

        `order` is the run's place among the orders. With `more` only the records can tell which columns there
        are: those come first, in order of first appearance, and then those of `layout` that no record had.
        """
        ...

    def write(self, batch: Batch) -> None:
        """Append the batch's records to each of its runs' outputs."""
        ...

    def write_file(self, order: RunOrder) -> None:
        """Stage the run's whole file as it is."""
        ...

    def drop(self, run: str) -> None:
        """Forget what was staged for one run, which failed; the others go on."""
        ...

    def finish(self) -> dict[str, list[StagedOutput]]:
        """Write, sync as one group, and answer with each run's outputs.

        Raises:
            SystemFault: the disk is full or a sync failed: nothing of the group counts.
        """
        ...

    def abort(self) -> None:
        """Remove everything staged. Idempotent; never raises."""
        ...


class Sink(Protocol):
    """One named sink. Workers call `stager`; the server calls the rest, in threads."""

    spec: ClassVar[SinkSpec]
    Options: ClassVar[type[BaseModel]]

    def __init__(self, context: SinkContext) -> None: ...

    def prepare(self) -> None:
        """Server, at start: make folders, prove the sink is usable.

        Raises:
            UsageError: it is not, with help.
        """
        ...

    def stager(
        self, orders: Sequence[RunOrder], headers: Mapping[int, tuple[str, ...]] | None = None
    ) -> Stager:
        """A worker's stager for these runs. `headers`: by order, columns that an earlier try found out too late."""
        ...

    def publish(self, publications: Sequence[Publication]) -> list[Published]:
        """Make staged outputs visible under `name`, never replacing what is not ours, and only once.

        Idempotent: a publication whose target is already ours answers YES without another effect.
        """
        ...

    def sync(self, publications: Sequence[Publication]) -> None:
        """Make these publications' names durable, as one group, before the DONE commit."""
        ...

    def free_names(self, names: Sequence[bytes]) -> list[bytes]:
        """For each taken name the first of its kind that is free now (`a.csv` -> `a-2.csv`), no two alike."""
        ...

    def sweep(self, known: frozenset[bytes]) -> int:
        """Remove staged files whose path is not in `known`; answers how many."""
        ...
