"""Reading the ledger: what queries ask of a store, beside a running server or without one.

Every method answers from one consistent snapshot, changes nothing and never blocks the writer. Methods are
synchronous; one object serves one thread at a time. Times are wall nanoseconds, UTC. Names are bytes.

Errors: `NotFound` when there is no ledger, `UsageError` when it is another version's, `SystemFault` when it
cannot be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from filemill.model.files import TagHit
from filemill.model.runs import BadRecord, Failure, KeptInput, Publication, RecordForm, StepCount
from filemill.ports.access import ReadingAccess
from filemill.ports.sessions import ReadingSessions
from filemill.ports.standing import ReadingStanding
from filemill.ports.uploads import ReadingUploads


class FileRow(msgspec.Struct, frozen=True):
    """A file as the ledger knows it. `no` is its place in the order of arrival."""

    no: int
    file: str
    state: str
    state_ns: int
    source: str
    path: bytes
    relative: bytes
    size: int
    mtime_ns: int
    content: str
    arrived_ns: int
    ingested_ns: int | None
    how: str
    after: str
    parent: str | None
    tags: tuple[str, ...]
    digest: str
    media: str
    attributes: dict[str, str]
    hits: tuple[TagHit, ...]
    header: tuple[str, ...]
    reason: str
    duplicate_of: str | None
    disposed_ns: int | None
    freed_ns: int | None
    """Since when its bytes are not in content any more."""
    principal: str
    """Who sent it; empty: nobody did."""


class RunRow(msgspec.Struct, frozen=True):
    """A run as the ledger knows it; `step`, `error` and `message` are of its latest failure."""

    no: int
    run: str
    file_no: int
    pipeline: str
    revision: int
    state: str
    state_ns: int
    queued_ns: int
    began_ns: int | None
    attempt: int
    interruptions: int
    due_ns: int | None
    records: int
    bad: int
    fingerprint: str
    step: str
    error: str
    message: str
    input: str | None
    tries: int
    """How many attempts its policy allowed at its latest failure; 0: it never failed so."""
    fence: int = 0
    from_step: str | None = None
    """The step it begins at, with `input`; None: with the file."""
    pinned: int = 0
    """It stays with its revision."""
    replays: str | None = None
    """The run that it does again."""
    mended: str | None = None
    """The file that a person made in its place, or of its bad records."""
    supersede: int = 0
    """Its outputs take the places of those of the run that it does again."""


class AuditRow(msgspec.Struct, frozen=True):
    """One thing that a person did: who, when, what, to which run, file, pipeline or group."""

    at_ns: int
    principal: str
    action: str
    object: str
    detail: dict[str, str | int | bool | None]
    """What else is known of it; `reason` is in their own words."""


class PauseRow(msgspec.Struct, frozen=True):
    """One paused pipeline."""

    pipeline: str
    at_ns: int
    principal: str
    reason: str


class AttemptRow(msgspec.Struct, frozen=True):
    """One try of a run; `outcome` is the state it led to."""

    number: int
    fence: int
    began_ns: int
    ended_ns: int
    outcome: str
    steps: tuple[StepCount, ...]
    records: int
    blank: int
    bad: int
    took_ns: int
    hold: str
    hold_step: str
    choices: tuple[str, ...]
    failure: Failure | None
    revision: int
    form: RecordForm | None = None
    """With bad records: how they stand in the file."""
    began_at: str = ""
    kept: KeptInput | None = None
    unkept: str = ""
    fell_back: str = ""


class GroupRow(msgspec.Struct, frozen=True):
    """Dead runs of one fingerprint."""

    fingerprint: str
    pipeline: str
    step: str
    error: str
    message: str
    count: int
    first_ns: int
    last_ns: int


class CauseRow(msgspec.Struct, frozen=True):
    """A group of dead letters that a person called mended."""

    fingerprint: str
    resolved_ns: int
    revision: int
    principal: str
    reason: str


class FailureRow(msgspec.Struct, frozen=True):
    """A death that the folder of what failed does not tell of yet, or tells of no longer rightly."""

    subject: str
    """Id of the dead run, or of the rejected file."""
    file: str
    """Id of its file; empty where only the copy is left to be removed."""
    died_ns: int
    name: str = ""
    """Of the copy there is, of an earlier death or of a run that is not dead any more."""
    digest: str = ""
    """sha256 of that copy's bytes, hex; empty: it was not noted."""


class TallyRow(msgspec.Struct, frozen=True):
    """Sums over some time of what happened."""

    pipeline: str
    step: str
    sink: str
    outcome: str
    count: int
    records: int
    bytes: int
    latency: dict[int, int]


class RevisionRow(msgspec.Struct, frozen=True):
    """One stored configuration and how many runs it has."""

    number: int
    digest: str
    at_ns: int
    text: str
    runs: int


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which files; all that are set must hold."""

    state: str = ""
    """`live`, an end of runs, or a file's own state."""
    tag: str = ""
    """A tag, or a prefix ending in `*`."""
    pipeline: str = ""
    principal: str = ""
    """Only files that this one sent."""
    name: bytes = b""
    """Part of the path below the source; with `*` or `?` a pattern for its last part. ASCII case is ignored."""
    since_ns: int = 0
    before: int | None = None
    """Only files that arrived before the one of this number."""
    limit: int = 50


class Reading(ReadingAccess, ReadingStanding, ReadingUploads, ReadingSessions, Protocol):
    """The methods; see the module for what all of them promise."""

    def select(self, selection: Selection) -> list[FileRow]:
        """Files that fit, the latest arrival first."""
        ...

    def files(self, ids: Sequence[str]) -> list[FileRow]:
        """The files with these ids, in any order."""
        ...

    def ids(self, prefix: str, limit: int) -> list[tuple[str, str, str]]:
        """(`file` or `run`, id, file's id) of files and runs whose id begins so."""
        ...

    def runs(self, files: Sequence[int]) -> list[RunRow]:
        """Every run of these files (by number), in the order in which they were queued."""
        ...

    def attempts(self, run: int) -> list[AttemptRow]:
        """Every recorded attempt of a run (by number), in order."""
        ...

    def publications(self, run: int) -> list[tuple[Publication, int]]:
        """Every output of a run and since when it is in its state."""
        ...

    def rejects(self, run: int, limit: int) -> list[BadRecord]:
        """The bad records kept in detail, in the file's order."""
        ...

    def relatives(self, file: str) -> tuple[list[str], list[str]]:
        """Ids of its children, and of later files with the same content."""
        ...

    def groups(self, pipeline: str, since_ns: int) -> list[GroupRow]:
        """Dead runs by fingerprint, the latest first; `pipeline` empty means all."""
        ...

    def causes(self) -> list[CauseRow]:
        """Every group of dead letters that a person called mended."""
        ...

    def ended(
        self,
        state: str,
        pipeline: str,
        fingerprint: str,
        before: int | None,
        limit: int,
        *,
        without: Sequence[str] = (),
    ) -> list[RunRow]:
        """Runs in one side state (`dead`, `held`), the latest arrival first; none of the groups in `without`."""
        ...

    def uncopied(self, limit: int) -> list[FailureRow]:
        """Dead runs and rejected files whose death the folder of what failed does not tell of."""
        ...

    def outlived(self, limit: int) -> list[FailureRow]:
        """Copies in the folder of what failed whose run is not dead, or whose file is not rejected, any more."""
        ...

    def run_states(self, runs: Sequence[str]) -> dict[str, tuple[str, str]]:
        """(state, fingerprint) of each of these runs, by id; the unknown are absent."""
        ...

    def audit(self, objects: Sequence[str]) -> list[AuditRow]:
        """What people did to these runs, files, pipelines or groups, in order."""
        ...

    def pauses(self) -> list[PauseRow]:
        """Which pipelines are paused."""
        ...

    def by_number(self, files: Sequence[int]) -> list[FileRow]:
        """The files with these numbers, in any order."""
        ...

    def tags(self, prefix: str, limit: int) -> list[str]:
        """Tags of files that begin so, in order; the cost does not depend on how many files have them."""
        ...

    def pipelines(self) -> list[str]:
        """Every pipeline that has a run, in order; at the cost of their number, not of the runs'."""
        ...

    def fingerprints(self, limit: int) -> list[str]:
        """Fingerprints that dead runs have, in order; at the cost of their number, not of the runs'."""
        ...

    def newest_file(self) -> int:
        """The number of the latest file; 0 where there is none."""
        ...

    def files_after(self, file: int, limit: int) -> list[FileRow]:
        """Files that arrived after the one of this number, in the order of arrival."""
        ...

    def runs_ended(self, since_ns: int | None, limit: int) -> list[RunRow]:
        """Runs that came to an end at or after a time (None: the last ones), in that order. Replays are runs too."""
        ...

    def runs_retrying(self, since_ns: int | None, limit: int) -> list[RunRow]:
        """Runs that wait for a retry since a time or later, in any order; None: the first to be due, in that order."""
        ...

    def files_ended(self, since_ns: int | None, limit: int) -> list[FileRow]:
        """Files that came to an end without a run at or after a time (None: the last ones), in that order."""
        ...

    def last_failures(self, runs: Sequence[int]) -> dict[int, Failure]:
        """The latest failure of each of these runs (by number) that failed."""
        ...

    def outputs_of(self, runs: Sequence[int]) -> list[tuple[int, str, int, bytes]]:
        """(run, sink, records, name) of every output of these runs (by number), by run."""
        ...

    def children_of(self, files: Sequence[str]) -> dict[str, int]:
        """How many files were made from each of these (by id) that have any."""
        ...

    def tally(self, since_ns: int, outcomes: Sequence[str] = ()) -> list[TallyRow]:
        """Sums since a time (whole minutes) by pipeline, step, sink and outcome; of these outcomes, if any are said."""
        ...

    def revisions(self) -> list[RevisionRow]:
        """Every stored configuration, the latest first."""
        ...

    def activations(self) -> list[tuple[int, int, str]]:
        """(revision, when, how) of each time a configuration came into force, the latest first."""
        ...

    def refusal(self) -> tuple[int, str] | None:
        """When and why the last configuration was not taken; None when it was."""
        ...

    def has_revision(self, digest: str) -> bool:
        """Say whether the configuration of this digest is stored."""
        ...

    def close(self) -> None:
        """Close. Idempotent."""
        ...
