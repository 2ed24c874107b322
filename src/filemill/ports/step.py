"""Steps: one unit of work each. A step describes itself without being run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import msgspec
from pydantic import BaseModel

if TYPE_CHECKING:
    from filemill.model.plan import StepPlan
    from filemill.model.runs import BadRecord, RunOrder
    from filemill.records.batch import Batch
    from filemill.records.expressions import Expression
    from filemill.records.layout import Hints, Layout


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


class Opened(Protocol):
    """One file's bytes, by place."""

    def pread(self, size: int, at: int, /) -> bytes:
        """At most `size` bytes from place `at`; fewer only where the file ends."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


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
    opens: bool = False
    """True for a reader that takes its files' bytes from `StepContext.open` only, never by their paths: encrypted
    content is then read where it lies."""
    makes_tags: bool = False
    makes_columns: bool = False
    """True when only its records tell which columns they have behind it."""
    shorthand: str = ""
    """The option that a value standing directly behind the step's name fills (`filter: "a > 0"`)."""
    shorthand_only: bool = False
    """True when the value behind the name is always that one option (`derive: {a: "b + 1"}`)."""
    options_schema: dict[str, Any] | None = None
    """JSON Schema of the options: filled in when a user's step is described in a worker."""
    notes: str = ""
    """What a person has to know besides: whole sentences."""
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


class SchemaUse(msgspec.Struct, frozen=True):
    """One JSON Schema among a step's options."""

    where: tuple[str | int, ...]
    """Path below the step's key in the configuration, to point at it."""
    path: str
    """Absolute."""
    text: str
    """The file's own text, as it was read with the configuration."""


class PatternUse(msgspec.Struct, frozen=True):
    """One regular expression among a step's options (Rust's syntax)."""

    where: tuple[str | int, ...]
    pattern: str


class Uses(msgspec.Struct, frozen=True):
    """What a step's options refer to, so that `check` can follow it."""

    expressions: tuple[ExpressionUse, ...] = ()
    tags: tuple[str, ...] = ()
    """Record tags it makes."""
    answers: tuple[str, ...] = ()
    """Tags it gives when a person has decided; nobody has to use them."""
    sinks: tuple[str, ...] = ()
    children: tuple[str, ...] | None = None
    """Tags it gives the files it emits; None: it emits none."""
    selects: tuple[str, ...] | None = None
    """The only columns records have after it, in order; None: those before, then what its expressions give."""
    schemas: tuple[SchemaUse, ...] = ()
    patterns: tuple[PatternUse, ...] = ()
    types: dict[str, str] = {}
    """Types it declares for columns, in the words of `types:`; a reader directly before it reads them so, and leaves
    what does not fit to this step."""
    hides: tuple[str, ...] = ()
    """Columns whose values nobody may see behind it."""


class StepContext(Protocol):
    """What an opened step may ask of the worker that runs it."""

    plan: StepPlan
    options: Any
    """The step's own Options, validated."""
    orders: Sequence[RunOrder]
    """The runs of this batch; a batch's `_file` column indexes them."""
    chunk_size: int
    max_record: int
    needs: frozenset[str] | None
    """For a reader: the columns whose values later steps use; None when a user's function sees all of them."""
    named: frozenset[str]
    """For a reader: the columns that expressions name."""
    types: Mapping[str, str]
    """For a reader: types that the step directly behind it declares, and judges; the reader's own come first."""
    required: frozenset[str]
    """For a reader: those of them that the file must have, because no step before them makes up columns."""
    hints: Hints
    """For a reader: what an earlier reading of these files found out too late."""

    def open(self, path: bytes) -> Opened:
        """For a reader that says so (`StepSpec.opens`): the plain bytes of an order's file.

        Raises:
            OSError: it cannot be opened.
            PermanentError: it is encrypted, and not what was encrypted.
        """
        ...

    def expression(self, sql: str) -> Expression:
        """Compile a row-wise SQL expression once."""
        ...

    def bad(
        self,
        batch: Batch,
        rows: Any,
        error: str,
        messages: Sequence[str] | str,
        traceback: str = "",
    ) -> Batch:
        """Report these rows (a Boolean mask) as bad records of this step; answers with the others.

        `messages` is one text for all, or one for each bad row in order. `traceback` is the first one's, if any.
        """
        ...

    def count(self, *, filtered: int = 0, added: int = 0, file: int | None = None) -> None:
        """Count records this step dropped on purpose or added.

        `file` indexes the orders. Without it, what was dropped or added is told from the records that went in and
        came out, so only a step that does both on one file has to name it.
        """
        ...

    def report_bad(self, order: int, records: Sequence[BadRecord]) -> None:
        """For a reader: bad records of one file, by order index."""
        ...

    def count_records(self, order: int, number: int) -> None:
        """For a reader: records found in one file, good or bad."""
        ...

    def count_blank(self, order: int, number: int) -> None:
        """For a reader: blank lines skipped in one file."""
        ...

    def note_layout(self, order: int, layout: Layout) -> None:
        """For a reader: how one file is laid out; before its records, and also if it has none."""
        ...

    def note_range(self, order: int, lines: int, types: Mapping[str, str]) -> None:
        """For a reader at the end of a chunk: how many lines it had, and the types its columns have."""
        ...

    def hold(self, order: int, message: str, *, choices: Sequence[str] = (), line: int = 0) -> None:
        """Have a run wait for a person, nothing of it published: by order index, with what to decide.

        `line` is where the first record stands that asks for it; 0 for the file itself.
        """
        ...

    def answer(self, order: int) -> str | None:
        """What a person answered who let this run pass the step, which held it; None: nobody has yet.

        Empty where there was nothing to choose.
        """
        ...

    def tag_file(self, order: int, tag: str) -> None:
        """Give the run's file a tag, for whatever comes behind the step; before it is read."""
        ...

    def drop(self, batch: Batch) -> None:
        """Count these records as dropped on purpose; for a step that answers with no batch (`route`)."""
        ...

    def branch(self, number: int, batch: Batch) -> None:
        """Hand records to one of a route's branches (`plan.routes[number]`): through its steps to its sinks."""
        ...

    def send(self, sinks: Sequence[str], batch: Batch) -> None:
        """Hand records to sinks, in order."""
        ...

    def send_file(self, sinks: Sequence[str], run: str) -> None:
        """Hand a run's whole file to sinks."""
        ...

    def emit(self, order: int, path: bytes, key: bytes, name: bytes, tags: Sequence[str]) -> None:
        """Emit the file at `path`, which is in the step's work folder and goes from there, as a child.

        `order` indexes the orders; `key` tells the run's children apart, the same in every attempt; `name` is the
        child's path below its parent's: parts that are neither empty nor `..`.

        Raises:
            PermanentError: the file is itself a child too deep to have children.
        """
        ...

    def emit_through(self) -> Sequence[str]:
        """The hidden sink behind this step, for `send` and `send_file`: what it is sent becomes a child."""
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
class Cuts(Reader, Protocol):
    """A reader whose files can be read in chunks, in any order. An order's `chunk` says which bytes are asked for."""

    def cut(self) -> list[int]:
        """Where the chunks of the context's only order end, the file's size last; its layout is noted.

        A cut may be a guess, if `read` raises `Drifted` where the records do not bear it out.
        """
        ...


@runtime_checkable
class FileStep(Step, Protocol):
    """File -> file: a step whose `grain` is `FILE`."""

    grain: ClassVar[Grain]

    def change(self, number: int, folder: str) -> RunOrder:
        """The order of this number with the file that the step made of it, in its own work folder `folder`.

        The given file is never changed; one that is left as it is is answered by the order itself.
        """
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
class Carries(RecordStep, Protocol):
    """A step of scope `file` that holds no record back and can hand on what it has seen, from piece to piece."""

    def state(self) -> bytes:
        """What `restore` needs to go on with the file at hand."""
        ...

    def restore(self, state: bytes, order: int = 0) -> None:
        """Before the first batch: go on where another step of these options stood, in the file of this order."""
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
