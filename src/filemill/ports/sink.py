"""Sinks: where results leave, in two halves. Workers stage; only the server publishes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Protocol, runtime_checkable

import msgspec
from pydantic import BaseModel

from filemill.model.runs import Mark, Publication, RunOrder, StagedOutput

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
    recipients: tuple[str, ...] = ()
    """For whom all that it stages is encrypted, under its plain name; empty: as its options say."""
    keepers: tuple[str, ...] = ()
    """For whom content is encrypted, and so what waits here to be encrypted for others; empty: for nobody."""


class Joined(msgspec.Struct, frozen=True):
    """An output all of whose parts are joined, as ciphertext that only workers open."""

    sink: str
    path: bytes
    target: bytes
    """Where it goes, encrypted for who reads it."""


class SealedUp(msgspec.Struct, frozen=True):
    """What a worker made of it: size and sha256 of what is there then, and how many plain bytes it has."""

    size: int
    digest: str
    plain: int


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

    An order with a `chunk` yields parts: staged beside the output they will be joined to, without its header, and not
    synced.
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

    def release(self) -> None:
        """Of parts, after `finish`: the server has received them. Idempotent."""
        ...

    def abort(self) -> None:
        """Remove everything staged. Idempotent; never raises."""
        ...


class Joining(Protocol):
    """The server's half for one run whose file is worked on in chunks: parts become one output, in order.

    Used by one thread at a time. What is joined is durable only after `finish`.
    """

    def append(self, part: StagedOutput) -> None:
        """Join the next part; the first one's header goes before it. The part itself stays.

        Raises:
            OSError: the part is gone, or the disk is full or failing: nothing of the part counts.
        """
        ...

    def mark(self) -> Mark | None:
        """How far it is, to go on from there after a crash; None before the first part."""
        ...

    def joined(self) -> Joined | None:
        """After the last part: what a worker has to encrypt before `finish`; None: nothing.

        Raises:
            OSError: the disk is full or failing.
        """
        ...

    def sealed(self, done: SealedUp) -> None:
        """A worker has encrypted what `joined` told."""
        ...

    def finish(self) -> StagedOutput | None:
        """Sync it and answer with what the ledger will know of it; None if no part came."""
        ...

    def leave(self) -> None:
        """Let go of it as it is; what is marked can be taken up again. Idempotent."""
        ...

    def abort(self) -> None:
        """Remove what was joined, also after `leave`. Idempotent; never raises."""
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

    def joins(self, read_as: str, *, more: bool) -> bool:
        """Say whether an output can be joined from parts that were encoded apart from one another.

        `read_as` is the reader's format; `more`: only the records tell which columns there are.
        """
        ...

    def rest(self) -> None:
        """Worker: nothing is to be staged for a while; let go of memory kept for that."""
        ...

    def joining(self, fence: int, mark: Mark | None = None) -> Joining | None:
        """Join one run's parts; with a mark, go on from there. None: the marked bytes are not there any more."""
        ...

    def seal_up(self, pour: Callable[[BinaryIO], None], target: bytes) -> SealedUp:
        """Worker: encrypt what `pour` writes into a new file at `target`, as this sink's outputs are.

        Raises:
            OSError: the disk is full or failing.
        """
        ...

    def receive(self, part: StagedOutput) -> StagedOutput:
        """Take a part over from its worker, as soon as that has answered; the part to be joined or forgotten.

        Raises:
            OSError: the part is gone, with its worker.
        """
        ...

    def forget(self, staged: Sequence[bytes]) -> None:
        """Remove received parts, each once. Never raises: what cannot be removed now is swept at the next start."""
        ...

    def probe(self) -> None:
        """Server: look whether outputs can be staged and published here now. Leaves nothing behind.

        Raises:
            OSError: they cannot (full, no access), or what is there is not the place that was there (unmounted).
            UsageError: they cannot, with help.
        """
        ...

    def misplaced(self, staged: Sequence[StagedOutput]) -> OSError | None:
        """Server: why these, staged in a worker, do not lie in the sink's place (it was unmounted); None: they do."""
        ...

    def publish(self, publications: Sequence[Publication]) -> list[Published]:
        """Make staged outputs visible under `name`, never replacing what is not ours, and only once.

        Idempotent: a publication whose target is already ours answers YES without another effect. One with mode
        `supersede` replaces a target that has the bytes of `over_digest`, at once and once; any other is TAKEN.
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


@runtime_checkable
class HasStagingFolder(Protocol):
    """A sink whose outputs are staged, and made durable, in a folder of its own."""

    def staging_folder(self) -> bytes:
        """Where; it is there after `prepare`, private, and no consumer looks into it."""
        ...
