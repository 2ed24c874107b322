r"""What queries answer with: typed values every face shows, prints as JSON, or serves.

Names come twice: `relative` holds the exact bytes, `name` is their text, with bytes that are no UTF-8 as `\xNN`.
Times are wall nanoseconds since the epoch, UTC.
"""

from __future__ import annotations

import msgspec

from filemill.model.files import TagHit
from filemill.model.fingerprint import Parts
from filemill.model.runs import BadRecord, Failure, KeptInput, RecordForm, StepCount
from filemill.ports.reading import AuditRow
from filemill.ports.standing import MoveRow


class RunSummary(msgspec.Struct, frozen=True):
    """One run in a list. `step`, `error` and `message` are of its latest failure, if it failed."""

    run: str
    pipeline: str
    revision: int
    state: str
    state_ns: int
    attempt: int
    records: int
    bad: int
    tries: int = 0
    """How many attempts its policy allowed at its latest failure; 0: it never failed so."""
    due_ns: int | None = None
    """With `retrying`: when it is tried again."""
    fingerprint: str = ""
    step: str = ""
    error: str = ""
    message: str = ""
    fence: int = 0
    """Its version: whoever acts on the run names the fence it had when they saw it."""
    replays: str | None = None
    """The run that it does again."""
    from_step: str | None = None
    """The step it begins at, with its kept input; None: with the file."""
    pinned: bool = False
    """It stays with its revision, though another is current."""
    mended: str | None = None
    """The file that a person made in its place, or of its bad records."""
    supersede: bool = False
    """Its outputs take the places of those of the run that it does again."""


class FileSummary(msgspec.Struct, frozen=True):
    """One file in a list, with its worst run's state."""

    file: str
    name: str
    relative: bytes
    source: str
    state: str
    size: int
    arrived_ns: int
    tags: tuple[str, ...]
    reason: str
    """Why it is held, rejected, quarantined or discarded without a run."""
    runs: tuple[RunSummary, ...]
    principal: str = ""
    """Who sent it; empty: it was found in a source, or a command took it."""

    @property
    def worst(self) -> RunSummary | None:
        """The run whose state the file counts under; None without runs."""
        return next((run for run in self.runs if run.state == self.state), None) or next(
            iter(self.runs), None
        )


class FilePage(msgspec.Struct, frozen=True):
    """Files, the latest arrival first; `next` is the cursor of the page after, None at the end."""

    items: tuple[FileSummary, ...]
    next: str | None = None


class Attempt(msgspec.Struct, frozen=True):
    """One try of a run. `outcome` is the state it led to; `took_ns` is the worker's own time."""

    number: int
    began_ns: int
    ended_ns: int
    outcome: str
    steps: tuple[StepCount, ...]
    records: int
    blank: int
    bad: int
    took_ns: int
    failure: Failure | None = None
    hold: str = ""
    """What a person is told whom a step asked to decide, `hold_step`; `choices` are the answers there are."""
    hold_step: str = ""
    choices: tuple[str, ...] = ()
    form: RecordForm | None = None
    """With bad records: how they stand in the file."""
    began_at: str = ""
    """The step that it began at, with kept input; empty: with the file."""
    kept: KeptInput | None = None
    """What was kept when it ended."""
    unkept: str = ""
    """Why nothing was."""
    fell_back: str = ""
    """Why it began with the file, though something was kept for it to begin with."""
    revision: int = 0
    """Number of the configuration it ran at."""


class Output(msgspec.Struct, frozen=True):
    """One output. `state` is `staged`, `published` or `unverified`."""

    publication: str
    sink: str
    name: str
    relative: bytes
    """Its name below the sink's root."""
    path: bytes
    """Absolute path it is, or will be, published under."""
    size: int
    records: int
    digest: str
    state: str
    state_ns: int


class RunHistory(msgspec.Struct, frozen=True):
    """A run with all that happened to it."""

    summary: RunSummary
    queued_ns: int
    interruptions: int
    input: str | None
    """Content reference of what is kept of it; None: it begins with its file."""
    attempts: tuple[Attempt, ...]
    outputs: tuple[Output, ...]
    bad: tuple[BadRecord, ...]
    """Bad records of its latest attempt, at most 1,000 in detail."""

    @property
    def kept(self) -> KeptInput | None:
        """What is kept for its next attempt to begin with, if it waits for a person."""
        if self.input is None or self.summary.state not in {"dead", "held"}:
            return None
        return next((each.kept for each in reversed(self.attempts) if each.kept), None)


class FileHistory(msgspec.Struct, frozen=True):
    """Everything the ledger knows of one file."""

    summary: FileSummary
    path: bytes
    content: str
    digest: str
    media: str
    header: tuple[str, ...]
    attributes: dict[str, str]
    tags: tuple[TagHit, ...]
    """Each tag and why it was given."""
    ingested_ns: int | None
    disposed_ns: int | None
    how: str
    after: str
    parent: str | None
    children: tuple[str, ...]
    duplicate_of: str | None
    duplicates: tuple[str, ...]
    runs: tuple[RunHistory, ...]
    deeds: tuple[AuditRow, ...] = ()
    """What people did to the file and its runs."""
    freed_ns: int | None = None
    """Since when its bytes are not in the data directory any more."""
    forgotten: tuple[str, ...] = ()
    """Those of `parent` and `duplicate_of` of which retention left nothing."""

    @property
    def delivered(self) -> tuple[Output, ...]:
        """Outputs of it that sinks hold."""
        return tuple(each for run in self.runs for each in run.outputs if each.state != "staged")


class DeadItem(msgspec.Struct, frozen=True):
    """One dead run and its file."""

    file: str
    name: str
    relative: bytes
    source: str
    arrived_ns: int
    tags: tuple[str, ...]
    run: RunSummary


class DeadGroup(msgspec.Struct, frozen=True):
    """Dead runs that failed alike; `message` is an example."""

    fingerprint: str
    pipeline: str
    step: str
    error: str
    message: str
    count: int
    first_ns: int
    last_ns: int
    status: str = "ongoing"
    """`new` (the first died within a day), `ongoing`, `resolved`, or `regressed`: one died after it was resolved."""
    resolution: Resolution | None = None


class Resolution(msgspec.Struct, frozen=True):
    """A person's word that the cause of a group is mended."""

    at_ns: int
    revision: int
    principal: str
    reason: str


class DeadCause(msgspec.Struct, frozen=True):
    """One group in full: why its members are one group, and what they have in common."""

    group: DeadGroup
    why: Parts | None
    """What its fingerprint is made of; None where a step named the group itself."""
    tags: tuple[tuple[str, int], ...]
    """Each tag and how many of the `looked_at` members have it, the commonest first."""
    revisions: tuple[tuple[int, int], ...]
    """Each revision and how many of these members ran at it."""
    looked_at: int
    items: tuple[DeadItem, ...]
    """The members that were looked at, the latest arrival first."""


class DeadPage(msgspec.Struct, frozen=True):
    """All groups, the latest first, and one page of their runs."""

    total: int
    groups: tuple[DeadGroup, ...]
    items: tuple[DeadItem, ...]
    next: str | None = None
    hidden: int = 0
    """Groups that are not among these because they are resolved."""


class HeldItem(msgspec.Struct, frozen=True):
    """A file or run that waits for a person; `run` is None for a file without runs."""

    file: str
    name: str
    relative: bytes
    source: str
    arrived_ns: int
    tags: tuple[str, ...]
    reason: str
    run: RunSummary | None = None


class HeldPage(msgspec.Struct, frozen=True):
    """What waits for a person, the latest arrival first."""

    items: tuple[HeldItem, ...]
    next: str | None = None


class Pause(msgspec.Struct, frozen=True):
    """Who paused a pipeline, when and why."""

    principal: str
    at_ns: int
    reason: str


class PipelineStatus(msgspec.Struct, frozen=True):
    """One pipeline's runs by state, and the hour behind: finished, failed for good, and how long it took."""

    pipeline: str
    runs: dict[str, int]
    waiting_since_ns: int | None
    """Arrival of its oldest queued file; None when none waits."""
    done_recently: int
    dead_recently: int
    p50_ns: int
    p95_ns: int
    paused: Pause | None = None

    @property
    def live(self) -> int:
        """Runs not at an end."""
        return sum(self.runs.get(s, 0) for s in ("queued", "running", "publishing", "retrying"))


class Retry(msgspec.Struct, frozen=True):
    """A run that waits for its next attempt, and its file."""

    file: str
    name: str
    run: RunSummary


class FileCounts(msgspec.Struct, frozen=True):
    """How many files counted under each word at a moment."""

    at_ns: int
    files: dict[str, int]


class Status(msgspec.Struct, frozen=True):
    """Everything at a glance. `files` counts each file once, under its one word."""

    at_ns: int
    files: dict[str, int]
    files_at_ns: int
    """When they were counted: `at_ns`, except for a scope whose counts nobody keeps."""
    total: int
    waiting_since_ns: int | None
    arrived_recently: int
    bytes_recently: int
    recent_ns: int
    """How long `recently` is."""
    pipelines: tuple[PipelineStatus, ...]
    retries: tuple[Retry, ...] = ()
    """The runs whose next attempt is due first, at most RETRIES_SHOWN."""


class Standing(msgspec.Struct, frozen=True):
    """What is where by source and pipeline, and all that ever moved."""

    at_ns: int
    moves: tuple[MoveRow, ...]
    runs: tuple[tuple[str, str, str, int], ...]
    """(source, pipeline, state, how many)."""
    oldest: tuple[tuple[str, str, int], ...]
    """(source, pipeline, arrival of its oldest file with a queued run)."""
    paused: tuple[str, ...]
    """Pipelines."""


class Revision(msgspec.Struct, frozen=True):
    """One stored configuration. `runs` are those whose latest attempt ran at it."""

    number: int
    digest: str
    at_ns: int
    """When it was first stored."""
    runs: int
    text: str
    began: tuple[tuple[int, str], ...] = ()
    """(when, `start` or `reload`) of each time it came into force, the latest first; none: it never did."""
    current: bool = False
    """It is the one that came into force last."""


class Revisions(msgspec.Struct, frozen=True):
    """Every stored configuration, the latest first."""

    items: tuple[Revision, ...]


class Refusal(msgspec.Struct, frozen=True):
    """A configuration that the server did not take, and why, as it was shown."""

    at_ns: int
    why: str
