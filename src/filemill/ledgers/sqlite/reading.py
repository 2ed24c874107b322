"""Reading the SQLite ledger: `ports.reading.Reading` over one read-only connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import apsw
import msgspec

from filemill.ledgers.sqlite.opening import open_reader
from filemill.ledgers.sqlite.packing import (
    unpack_attempt,
    unpack_failure,
    unsigned,
)
from filemill.ledgers.sqlite.reading_access import SqliteReadingAccess
from filemill.ledgers.sqlite.reading_connection import said
from filemill.ledgers.sqlite.reading_standing import SqliteReadingStanding
from filemill.ledgers.sqlite.selecting import MANY_TAGS, build
from filemill.ledgers.sqlite.sessions import SqliteReadingSessions
from filemill.ledgers.sqlite.tally import decode_latency
from filemill.ledgers.sqlite.telling import Telling, Words, file_row
from filemill.ledgers.sqlite.transaction import numbers, texts
from filemill.ledgers.sqlite.uploads import SqliteReadingUploads
from filemill.model.runs import BadRecord, Failure, KeptInput, Publication
from filemill.ports.access import Scope
from filemill.ports.reading import (
    AttemptRow,
    AuditRow,
    CauseRow,
    FailureRow,
    FileRow,
    GroupRow,
    PauseRow,
    RevisionRow,
    RunRow,
    Selection,
    TallyRow,
)

_MINUTE_NS = 60_000_000_000
_TOP = (1 << 63) - 1
_NO_GROUP = "-"
"""A fingerprint that no failure has."""
_DETAIL = msgspec.json.Decoder(dict[str, str | int | bool | None])


class SqliteReading(
    SqliteReadingAccess,
    SqliteReadingStanding,
    SqliteReadingUploads,
    SqliteReadingSessions,
    Telling,
):
    """Opens its own read-only connection; works while a server runs and when none does."""

    def __init__(
        self, db: apsw.Connection, scope: Scope | None = None, words: Words | None = None
    ) -> None:
        super().__init__(db, scope)
        self._words = words

    @classmethod
    def open(
        cls, path: str, scope: Scope | None = None, words: Words | None = None
    ) -> SqliteReading:
        """Open the ledger file at `path` for reading; with a scope, what is out of it is not there.

        `words` says what people see of texts that are sealed.

        Raises:
            NotFound: there is none.
            UsageError: it is another version's.
            SystemFault: it cannot be read.
        """
        return cls(open_reader(path), scope, words)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close; the log stays as it is."""
        self._db.close()

    def select(self, selection: Selection) -> list[FileRow]:
        """Files that fit, the latest arrival first."""
        first = None
        if selection.since_ns:
            first = self._value("first_since", selection.since_ns)
            if first is None:
                return []
        tags = None
        if selection.tag.endswith("*"):
            tags = self.tags(selection.tag[:-1], MANY_TAGS + 1)
            if not tags:
                return []
            tags = tags if len(tags) <= MANY_TAGS else None
        text, bindings = build(selection, self._columns["{file}"], first, tags)
        with said():
            rows = self._db.execute(self._seen(text), bindings)
            return self._told(file_row(row) for row in rows)

    def files(self, ids: Sequence[str]) -> list[FileRow]:
        """The files with these ids."""
        return self._told(file_row(row) for row in self._rows("files_by_id", texts(ids)))

    def by_number(self, files: Sequence[int]) -> list[FileRow]:
        """The files with these numbers."""
        return self._told(file_row(row) for row in self._rows("files_by_number", numbers(files)))

    def ids(self, prefix: str, limit: int) -> list[tuple[str, str, str]]:
        """Files and runs whose id begins so."""
        return self._rows("ids", prefix, prefix + "\U0010ffff", limit)

    def runs(self, files: Sequence[int]) -> list[RunRow]:
        """Every run of these files."""
        return self._told(RunRow(*row) for row in self._rows("runs", numbers(files)))

    def attempts(self, run: int) -> list[AttemptRow]:
        """Every recorded attempt of a run."""
        found = []
        for number, fence, began_ns, ended_ns, outcome, facts, failure, revision in self._rows(
            "attempts", run
        ):
            packed, steps = unpack_attempt(facts)
            found.append(
                AttemptRow(
                    number=number,
                    fence=fence,
                    began_ns=began_ns,
                    ended_ns=ended_ns,
                    outcome=outcome,
                    steps=steps,
                    records=packed.records,
                    blank=packed.blank,
                    bad=packed.bad,
                    took_ns=packed.took_ns,
                    hold=packed.hold,
                    hold_step=packed.hold_step,
                    choices=packed.choices,
                    began_at=packed.began_at,
                    kept=KeptInput(*packed.kept) if packed.kept is not None else None,
                    unkept=packed.unkept,
                    fell_back=packed.fell_back,
                    failure=unpack_failure(failure),
                    form=packed.form,
                    revision=revision,
                )
            )
        return self._told(found)

    def publications(self, run: int) -> list[tuple[Publication, int]]:
        """Every output of a run."""
        found = []
        for *values, since_ns in self._rows("publications", run):
            values[6:8] = [unsigned(values[6]), unsigned(values[7])]
            found.append((Publication(*values), since_ns))
        return found

    def rejects(self, run: int, limit: int) -> list[BadRecord]:
        """The bad records kept in detail."""
        return self._told(BadRecord(*row) for row in self._rows("rejects", run, limit))

    def relatives(self, file: str) -> tuple[list[str], list[str]]:
        """Children, and later files with the same content."""
        return (
            [row[0] for row in self._rows("children", file)],
            [row[0] for row in self._rows("twins", file)],
        )

    def groups(self, pipeline: str, since_ns: int) -> list[GroupRow]:
        """Dead runs by fingerprint, the latest first."""
        return self._told(GroupRow(*row) for row in self._rows("groups", pipeline, since_ns))

    def causes(self) -> list[CauseRow]:
        """Every group that a person called mended."""
        return [CauseRow(*row) for row in self._rows("causes")]

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
        """Runs in one side state, the latest arrival first."""
        bindings: list[Any] = [state, pipeline, _TOP if before is None else before, limit]
        query = "ended"
        if fingerprint:
            query = "ended_of_group"
            bindings.append(fingerprint)
        else:
            bindings.append(texts(without or (_NO_GROUP,)))
        return self._told(RunRow(*row) for row in self._rows(query, *bindings))

    def uncopied(self, limit: int) -> list[FailureRow]:
        """Deaths that no copy tells of."""
        return [FailureRow(*row) for row in self._rows("uncopied", limit)]

    def outlived(self, limit: int) -> list[FailureRow]:
        """Copies of what is not dead any more."""
        return [FailureRow(*row) for row in self._rows("outlived", limit)]

    def tags(self, prefix: str, limit: int) -> list[str]:
        """Tags that begin so."""
        return [row[0] for row in self._rows("tags_from", prefix, prefix + "\U0010ffff", limit)]

    def pipelines(self) -> list[str]:
        """Every pipeline that has a run."""
        return [row[0] for row in self._rows("pipelines")]

    def fingerprints(self, limit: int) -> list[str]:
        """Groups of dead letters."""
        return [row[0] for row in self._rows("fingerprints", limit)]

    def newest_file(self) -> int:
        """The number of the latest file."""
        return int(self._value("newest_file"))

    def files_after(self, file: int, limit: int) -> list[FileRow]:
        """Files that arrived after the one of this number."""
        return self._told(file_row(row) for row in self._rows("files_after", file, limit))

    def runs_ended(self, since_ns: int | None, limit: int) -> list[RunRow]:
        """Runs at an end, in the order in which they came to it."""
        if since_ns is None:
            return self._told(RunRow(*row) for row in self._rows("runs_ended_last", limit))[::-1]
        return self._told(RunRow(*row) for row in self._rows("runs_ended_since", since_ns, limit))

    def runs_retrying(self, since_ns: int | None, limit: int) -> list[RunRow]:
        """Runs that wait for a retry."""
        if since_ns is None:
            return self._told(self._due_first(limit))
        return self._told(
            RunRow(*row) for row in self._rows("runs_retrying_since", since_ns, limit)
        )

    def files_ended(self, since_ns: int | None, limit: int) -> list[FileRow]:
        """Files at an end without a run, in the order in which they came to it."""
        if since_ns is None:
            return self._told(file_row(row) for row in self._rows("files_ended_last", limit))[::-1]
        return self._told(file_row(row) for row in self._rows("files_ended_since", since_ns, limit))

    def last_failures(self, runs: Sequence[int]) -> dict[int, Failure]:
        """The latest failure of each of these runs that failed."""
        rows = self._rows("last_failures", numbers(runs))
        found = {run: unpack_failure(packed) for run, _, packed in rows}
        return {
            run: self._told([failure])[0] for run, failure in found.items() if failure is not None
        }

    def outputs_of(self, runs: Sequence[int]) -> list[tuple[int, str, int, bytes]]:
        """(run, sink, records, name) of every output of these runs."""
        return self._rows("outputs_of", numbers(runs))

    def children_of(self, files: Sequence[str]) -> dict[str, int]:
        """How many files were made from each of these that have any."""
        return dict(self._rows("children_of", texts(files)))

    def run_states(self, runs: Sequence[str]) -> dict[str, tuple[str, str]]:
        """State and fingerprint of each of these runs."""
        rows = self._rows("run_states", texts(runs))
        return {run: (state, fingerprint) for run, state, fingerprint in rows}

    def pauses(self) -> list[PauseRow]:
        """Which pipelines are paused."""
        return [PauseRow(*row) for row in self._rows("pauses")]

    def audit(self, objects: Sequence[str]) -> list[AuditRow]:
        """What people did to these objects."""
        return [
            AuditRow(at_ns, principal, action, named, _DETAIL.decode(detail))
            for at_ns, principal, action, named, detail in self._rows("audit", texts(objects))
        ]

    def tally(self, since_ns: int, outcomes: Sequence[str] = ()) -> list[TallyRow]:
        """Sums since a time; of these outcomes, if any are named."""
        sums: dict[tuple[str, str, str, str], list[Any]] = {}
        for *key, count, records, size, latency in self._rows(
            "tally", since_ns // _MINUTE_NS, texts(outcomes), not outcomes
        ):
            mine = sums.setdefault((key[0], key[1], key[2], key[3]), [0, 0, 0, {}])
            mine[0] += count
            mine[1] += records
            mine[2] += size
            for number, many in decode_latency(latency).items():
                mine[3][number] = mine[3].get(number, 0) + many
        return [TallyRow(*key, *values) for key, values in sums.items()]

    def revisions(self) -> list[RevisionRow]:
        """Every stored configuration, the latest first."""
        runs = dict(self._rows("revision_runs"))
        return [
            RevisionRow(number, digest, at_ns, text, runs.get(number, 0))
            for number, digest, at_ns, text in self._rows("revisions")
        ]

    def activations(self) -> list[tuple[int, int, str]]:
        """(revision, when, how) of each time a configuration came into force, the latest first."""
        return [(number, at_ns, how) for number, at_ns, how in self._rows("activations")]

    def refusal(self) -> tuple[int, str] | None:
        """When and why the last configuration was not taken; None when it was."""
        rows = self._rows("refusal")
        return (rows[0][0], rows[0][1]) if rows else None

    def has_revision(self, digest: str) -> bool:
        """Say whether the configuration of this digest is stored."""
        return bool(self._value("has_revision", digest))
