"""Values about runs: orders to workers, what they staged, what became of them."""

from __future__ import annotations

import hashlib

import msgspec

from filemill.model.errors import FailureKind
from filemill.model.files import FileRef, Identity


class ChunkRange(msgspec.Struct, frozen=True):
    """One record-aligned piece of a big file: chunk `number` of bytes `start` to `end` (exclusive).

    The first one begins at byte 0, before a mark and a header. Where chunks are worked on beside one another nobody
    knows yet how many records and lines came before: then both counts begin at 1 in each.
    """

    number: int
    start: int
    end: int
    first_record: int = 1
    first_line: int = 1


class Earlier(msgspec.Struct, frozen=True):
    """One output of a run that is done again, whose place the new run's output of the same sink and name takes."""

    publication: str
    run: str
    sink: str
    name: bytes
    """The name that it has below the sink's root, which may be `a-2.csv`."""
    size: int
    digest: str


class RunOrder(msgspec.Struct, frozen=True):
    """One run handed to a worker under a fence."""

    run: str
    file: FileRef
    pipeline: str
    revision: int
    attempt: int
    """Counts from 1, the first try included."""
    fence: int
    chunk: ChunkRange | None = None
    """None: the whole file."""
    solo: bool = False
    """True after a crash nobody could be charged for: it must not share a batch."""
    kept: str = ""
    """Content reference of a failed step's input that is kept for this run; empty: nothing is."""
    from_step: str = ""
    """The step that a person had it begin at, with what is kept; empty: it begins with the file."""
    input: bytes = b""
    """Absolute path of what is kept, if it begins there."""
    released: dict[str, str] = msgspec.field(default_factory=dict)
    """By id of a `hold` step: the answer with which a person let the run pass it; empty where it had none to give."""
    insists: bool = False
    """With `from_step`: a person wants it to begin there or not at all; else the file will do."""
    supersedes: tuple[Earlier, ...] = ()
    """Outputs whose places its own take, the latest first."""
    failing_ns: int = 0
    """Since when its attempts fail, as the first failure says it (`Failure.first_ns`); 0: none has."""


class KeptInput(msgspec.Struct, frozen=True):
    """What is kept of a run that waits for a person: all that its next attempt needs to begin at `step`.

    That is the step where the run ended, or the last one before it behind which a run cannot begin, because it sends
    to sinks or emits.
    """

    step: str
    size: int
    """Bytes that it takes."""
    records: int = 0
    """Records in it; of a file 0."""


class Captured(msgspec.Struct, frozen=True):
    """What a worker kept of one run's way to the step where it ended, or why it kept nothing."""

    run: str
    kept: KeptInput | None = None
    path: bytes = b""
    """Absolute path of it, whole and not yet synced; empty: what was kept before is still what is needed."""
    why: str = ""
    """Why nothing is kept; empty where nothing had to be: the file itself is what the step was given."""


class StepCount(msgspec.Struct, frozen=True):
    """What one step did in one attempt: taken + added = given + filtered + bad."""

    step: str
    taken: int
    given: int
    added: int = 0
    filtered: int = 0
    bad: int = 0
    took_ns: int = 0


class BadRecord(msgspec.Struct, frozen=True):
    """One record that failed for good: where it is in its file, and why."""

    step: str
    record: int
    """Number in the file, from 1, blank lines and a header not counted."""
    line: int
    """Physical line on which it starts, from 1."""
    start: int
    """First byte in the file."""
    end: int
    """One past its last byte, line ending excluded."""
    error: str
    """Class name, such as `FieldCount`."""
    message: str


class RecordForm(msgspec.Struct, frozen=True):
    """How records stand in their file: what it takes to write some of them down alone and read them again."""

    format: str
    """`csv`, `jsonl`, `json`, `lines`, `parquet` or `xml`, as it was read."""
    opens: str = ""
    """What stands before the first one: a csv header without its line ending, what opens a JSON array."""
    closes: str = ""
    """What stands behind the last one."""
    crlf: bool = False
    original: bool = True
    """False where a step put another file in the original's place: places of records are places in that one."""


class StagedOutput(msgspec.Struct, frozen=True):
    """One output written and synced under its sink's staging folder, not yet visible."""

    publication: str
    """H(run, sink, output name): the same for every attempt."""
    sink: str
    name: bytes
    """Wanted name below the sink's root."""
    staged: bytes
    """Absolute path of the staged file."""
    device: int
    inode: int
    size: int
    digest: str
    records: int
    mode: str = "suffix"
    """What a taken name does: `suffix`, `replace` or `fail`; `supersede`: only certain bytes may stand there."""
    header: bytes = b""
    """Of a chunk's part: what stands before the first part of the output; not among the part's bytes."""
    over_size: int = 0
    plain: int = -1
    """Its bytes before it was encrypted; -1: it is not encrypted."""
    over_digest: str = ""
    """With mode `supersede`: the sha256 (and size) of the bytes whose place it takes."""


MAX_DEPTH = 8
"""A child of a child... at most so deep: whatever emits in a circle ends there."""


class StagedChild(msgspec.Struct, frozen=True):
    """One file that a run emits, written and synced in `<data>/children`, not yet a file of its own."""

    file: str
    """Its id: H(run, what the run calls it), the same for every attempt, so that it becomes a file once."""
    staged: bytes
    """Absolute path of its bytes."""
    relative: bytes
    """Its parent's path below the source, `/`, and its own name."""
    identity: Identity
    tags: tuple[str, ...] = ()
    """Tags that its step gives it, beside those that its source gave the file it comes of."""


class Failure(msgspec.Struct, frozen=True):
    """Why a run did not finish, for the engine (`kind`) and for a person (the rest)."""

    kind: FailureKind
    step: str
    error: str
    """Class name of the error."""
    message: str
    help: str = ""
    traceback: str = ""
    output: str = ""
    """What the step printed, capped."""
    retry_after: float | None = None
    fingerprint: str = ""
    """Groups dead letters: `v1:` and a hash; empty until fingerprinted."""
    sink: str = ""
    """With `system`: the sink whose place is in trouble, if it is one's."""
    first_ns: int = 0
    """When the run first failed, if it is tried again, by a clock that does not jump; a redrive begins anew."""
    gave_up: str = ""
    """Why it was not tried again although attempts were left."""


class Hold(msgspec.Struct, frozen=True):
    """A step's wish that a person decides about a run. `line` is that of the first record it is about; 0: the file."""

    step: str
    message: str
    choices: tuple[str, ...] = ()
    line: int = 0

    def said(self) -> str:
        """The message with its place."""
        return f"{self.message} (line {self.line:,})" if self.line else self.message


class RunResult(msgspec.Struct, frozen=True):
    """One attempt's end as a worker reports it. Exactly one of staged outputs or `failure` counts.

    No outputs and no failure is a run whose records were all filtered: it is done.
    """

    run: str
    fence: int
    outputs: tuple[StagedOutput, ...] = ()
    steps: tuple[StepCount, ...] = ()
    bad: tuple[BadRecord, ...] = ()
    """At most 1,000 kept in detail."""
    bad_total: int = 0
    records: int = 0
    """Records read from the file."""
    blank: int = 0
    """Blank lines skipped."""
    took_ns: int = 0
    failure: Failure | None = None
    hold: str = ""
    """What a person is told when a step asked to hold the run; its outputs do not count then."""
    hold_step: str = ""
    choices: tuple[str, ...] = ()
    """The answers a person may give."""
    chunks: int = 0
    """How many chunks the file was worked on in; 0: as a whole."""
    children: tuple[StagedChild, ...] = ()
    """Files it emits; they count with the outputs, as all of it or nothing."""
    form: RecordForm | None = None
    """With bad records: how they stand in the file."""
    began_at: str = ""
    """The step that it began at, with kept input; empty: with the file. What the steps before did is in its counts."""
    kept: KeptInput | None = None
    """With a dead or held run: what is kept of it."""
    unkept: str = ""
    """With a dead or held run of which nothing is kept: why."""
    fell_back: str = ""
    """Why it began with the file, though something was kept for it to begin with."""


class ChunkResult(msgspec.Struct, frozen=True):
    """One chunk's end as a worker reports it; its outputs are parts, not synced, that wait to be joined in order.

    Numbers of records and lines count from the chunk's `first_record` and `first_line`.
    """

    run: str
    fence: int
    number: int
    parts: tuple[StagedOutput, ...] = ()
    steps: tuple[StepCount, ...] = ()
    bad: tuple[BadRecord, ...] = ()
    bad_total: int = 0
    bad_by_step: dict[str, int] = msgspec.field(default_factory=dict)
    tracebacks: dict[str, str] = msgspec.field(default_factory=dict)
    """By step: the first bad record's."""
    records: int = 0
    blank: int = 0
    lines: int = 0
    """Physical lines it has, a header's among them."""
    took_ns: int = 0
    failure: Failure | None = None
    hold: Hold | None = None
    form: RecordForm | None = None
    """With bad records: how they stand in the file."""
    drifted: bool = False
    """It does not end where a record does: the file was cut in the wrong place and must be read in sequence."""


class Mark(msgspec.Struct, frozen=True):
    """How far one output has been joined of a run's chunks: its first `size` bytes, of which `digest` is the sha256."""

    publication: str
    sink: str
    name: bytes
    staged: bytes
    size: int
    digest: str
    records: int
    mode: str


class Publication(msgspec.Struct, frozen=True):
    """One output of one run on its way to a sink, as the ledger knows it."""

    publication: str
    run: str
    fence: int
    sink: str
    name: bytes
    staged: bytes
    device: int
    inode: int
    size: int
    digest: str
    records: int
    mode: str
    state: str
    """`staged`, `published`, or `unverified` (staged file gone, no target with its inode)."""
    over_size: int = 0
    over_digest: str = ""
    """With mode `supersede`: what stands under its name is replaced if it has exactly these bytes (sha256)."""


def publication_id(run: str, sink: str, name: bytes) -> str:
    """H(run, sink, output name): 32 hex digits of sha256, the same for every attempt of the run."""
    fields = (run.encode(), sink.encode(), name)
    packed = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
    return hashlib.sha256(packed).hexdigest()[:32]
