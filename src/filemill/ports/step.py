"""Steps: one unit of work each. A step describes itself without being run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import msgspec
from pydantic import BaseModel

if TYPE_CHECKING:
    from filemill.model.plan import StepPlan
    from filemill.model.runs import RunOrder
    from filemill.records.batch import Batch
    from filemill.records.expressions import Expression


class Form(StrEnum):
    """What flows between steps."""

    FILE = "file"
    RECORDS = "records"
    ANY = "any"
    NOTHING = "nothing"


class Grain(StrEnum):
    """What one call of a step sees."""

    RECORD = "record"
    """`dict`: one record."""
    STREAM = "stream"
    """`Iterable[dict]`: the whole file's records in order."""
    FRAME = "frame"
    """`polars.DataFrame`: a batch of any size."""
    FILE = "file"
    """`File`: the whole file."""
    BATCH = "batch"
    """A built-in step on a `Batch`."""


class Scope(StrEnum):
    """What a step may depend on, and so where its chunks may run."""

    RECORD = "record"
    """One record at a time: any chunk on any worker."""
    BATCH = "batch"
    """Row-wise over batches of any size."""
    FILE = "file"
    """The whole file in order on one worker."""


class StepSpec(msgspec.Struct, frozen=True):
    """What a step says of itself."""

    name: str
    summary: str
    example: str
    takes: Form = Form.RECORDS
    gives: Form = Form.RECORDS
    grain: Grain = Grain.BATCH
    scope: Scope = Scope.RECORD
    io: bool = False
    ends: bool = False
    """True for a step after which none may follow (`route`)."""
    makes_tags: bool = False
    shorthand: str = ""
    """The option that a value standing directly behind the step's name fills (`filter: "a > 0"`)."""
    shorthand_only: bool = False
    """True when the value behind the name is always that one option (`derive: {a: "b + 1"}`)."""
    options_schema: dict[str, Any] | None = None
    """JSON Schema of the options: filled in when a user's step is described in a worker."""
    extra: str | None = None
    origin: str = "built-in"
    """`built-in`, a plugin's distribution, or the path of the user's module."""


class ExpressionUse(msgspec.Struct, frozen=True):
    """One SQL expression among a step's options."""

    where: tuple[str | int, ...]
    """Path below the step's key in the configuration, to point at it."""
    sql: str
    predicate: bool
    """True when it must be Boolean."""
    gives: str = ""
    """The column or tag it makes, if any."""


class Uses(msgspec.Struct, frozen=True):
    """What a step's options refer to, so that `check` can follow it."""

    expressions: tuple[ExpressionUse, ...] = ()
    tags: tuple[str, ...] = ()
    """Record tags it makes."""
    sinks: tuple[str, ...] = ()


class StepContext(Protocol):
    """What an opened step may ask of the worker that runs it."""

    plan: StepPlan
    options: Any
    """The step's own Options, validated."""
    orders: Sequence[RunOrder]
    """The runs of this batch; a batch's `_file` column indexes them."""
    chunk_size: int
    max_record: int

    def expression(self, sql: str) -> Expression:
        """Compile a row-wise SQL expression once."""
        ...

    def bad(self, batch: Batch, rows: Any, error: str, messages: Sequence[str] | str) -> Batch:
        """Report these rows (a Boolean mask) as bad records of this step; answers with the others."""
        ...

    def count(self, *, filtered: int = 0, added: int = 0, blank: int = 0) -> None:
        """Count records this step dropped on purpose, added, or blank lines skipped."""
        ...

    def send(self, sinks: Sequence[str], batch: Batch) -> None:
        """Hand records to sinks, in order."""
        ...

    def send_file(self, sinks: Sequence[str], run: str) -> None:
        """Hand a run's whole file to sinks."""
        ...


class Step(Protocol):
    """A component: constructed once per batch of runs with a context, then called in order.

    Raise `Reject` or `Retry` for the record or file at hand; `OSError` with an errno, timeouts and
    connection errors are transient; anything else is a bad record (per-record work) or a dead run.
    """

    spec: ClassVar[StepSpec]
    Options: ClassVar[type[BaseModel]]

    def __init__(self, context: StepContext) -> None: ...

    @classmethod
    def uses(cls, options: Any) -> Uses:
        """What these (validated) options refer to."""
        ...


@runtime_checkable
class Reader(Step, Protocol):
    """File -> records. Bad records are reported, blank lines counted, neither is yielded."""

    def read(self) -> Iterator[Batch]:
        """Batches of the context's orders: consecutive records of one file, or many small files at once."""
        ...


@runtime_checkable
class RecordStep(Step, Protocol):
    """Records -> records."""

    def apply(self, batch: Batch) -> Batch:
        """The batch after this step; filtered records are counted through the context."""
        ...

    def close(self) -> Batch | None:
        """After the last batch: records a `file`-scoped step still held back."""
        ...


@runtime_checkable
class Terminal(Step, Protocol):
    """Records or a file -> sinks. `write` passes its input on, `route` ends a pipeline."""

    def deliver(self, batch: Batch) -> Batch | None:
        """Send records to sinks."""
        ...

    def deliver_file(self, run: str) -> None:
        """Send a whole file to sinks."""
        ...
