"""The queries of all faces, over a reading of the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

from filemill.model.errors import NotFound, UsageError
from filemill.model.states import RunState
from filemill.ports.clock import Clock
from filemill.ports.reading import FileRow, PauseRow, Reading, RunRow, Selection
from filemill.queries.following import Following
from filemill.queries.results import (
    DeadGroup,
    DeadItem,
    DeadPage,
    FileHistory,
    FilePage,
    HeldItem,
    HeldPage,
    Retry,
    Revision,
    RunHistory,
    Status,
)
from filemill.queries.shaping import (
    attempt,
    file_summary,
    output,
    pipeline_status,
    run_summary,
    text,
)

STATES = ("live", "done", "dead", "held", "cancelled", "discarded", "rejected", "quarantined")
"""The words under which a file can count."""
RECENT_NS = 3600 * 10**9
RETRIES_SHOWN = 5
_CANDIDATES = 10
_BAD_KEPT = 1_000


class Queries:
    """Answers about files and runs. Opens nothing itself: it is given a reading; `close` closes that."""

    def __init__(self, reading: Reading, clock: Clock) -> None:
        self._reading = reading
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the reading. Idempotent."""
        self._reading.close()

    def files(
        self,
        *,
        state: str = "",
        tag: str = "",
        pipeline: str = "",
        name: str | bytes = b"",
        since_ns: int = 0,
        limit: int = 50,
        cursor: str | None = None,
    ) -> FilePage:
        """One row per file, the latest arrival first, with its worst run's state.

        `state` is one of STATES; `tag` may end in `*`; `name` is part of the path below the source, or a pattern
        (`*.csv`) for its last part.

        Raises:
            UsageError: no such state, or a cursor that is none.
        """
        if state and state not in STATES:
            raise UsageError(f"no state `{state}`", help="states: " + ", ".join(STATES))
        rows = self._reading.select(
            Selection(
                state=state,
                tag=tag,
                pipeline=pipeline,
                name=name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape"),
                since_ns=since_ns,
                before=_place(cursor),
                limit=limit + 1,
            )
        )
        page = rows[:limit]
        runs = self._runs_of(page)
        return FilePage(
            tuple(file_summary(row, runs.get(row.no, [])) for row in page),
            str(page[-1].no) if len(rows) > limit and page else None,
        )

    def resolve(self, prefix: str) -> tuple[str, str, str]:
        """(`file` or `run`, its id, its file's id) of the one id that begins with `prefix`.

        Raises:
            NotFound: none does.
            UsageError: several do; the error lists them.
        """
        wanted = prefix.strip().lower()
        if not wanted:
            raise UsageError("an id is missing", help="`filemill files ls` shows ids")
        found = self._reading.ids(wanted, _CANDIDATES + 1)
        exact = [each for each in found if each[1] == wanted]
        if len(exact) == 1 or len(found) == 1:
            return (exact or found)[0]
        if not found:
            raise NotFound(
                f"no file or run has an id that begins with `{prefix}`",
                help="`filemill files ls` shows ids",
            )
        shown = ", ".join(f"{key} ({kind})" for kind, key, _ in found[:_CANDIDATES])
        more = " and more" if len(found) > _CANDIDATES else ""
        raise UsageError(
            f"`{prefix}` is the beginning of several ids: {shown}{more}",
            help="give more characters",
        )

    def file(self, prefix: str) -> FileHistory:
        """The whole history of one file, found by a unique prefix of its id or of one of its runs' ids.

        Raises:
            NotFound: nothing has such an id.
            UsageError: several have.
        """
        _, _, file = self.resolve(prefix)
        row = self._reading.files([file])[0]
        runs = self._reading.runs([row.no])
        children, twins = self._reading.relatives(file)
        named = [each for each in (row.parent, row.duplicate_of) if each]
        known = {each.file for each in self._reading.files(named)} if named else set[str]()
        return FileHistory(
            summary=file_summary(row, runs),
            path=row.path,
            content=row.content,
            digest=row.digest,
            media=row.media,
            header=row.header,
            attributes=row.attributes,
            tags=row.hits,
            ingested_ns=row.ingested_ns,
            disposed_ns=row.disposed_ns,
            how=row.how,
            after=row.after,
            parent=row.parent,
            children=tuple(children),
            duplicate_of=row.duplicate_of,
            duplicates=tuple(twins),
            runs=tuple(self._history(run) for run in runs),
            deeds=tuple(self._reading.audit([file, *(run.run for run in runs)])),
            freed_ns=row.freed_ns,
            forgotten=tuple(each for each in named if each not in known),
        )

    def dead(
        self,
        *,
        pipeline: str = "",
        fingerprint: str = "",
        since_ns: int = 0,
        limit: int = 50,
        cursor: str | None = None,
    ) -> DeadPage:
        """Dead runs: all groups with their counts, the latest first, and a page of runs.

        `fingerprint` narrows the page to one group; a part of it is enough.

        Raises:
            UsageError: a cursor that is none.
        """
        groups = self._reading.groups(pipeline, since_ns)
        if fingerprint:
            groups = [g for g in groups if fingerprint in (g.fingerprint, g.fingerprint[3:])] or [
                g for g in groups if g.fingerprint.removeprefix("v1:").startswith(fingerprint)
            ]
            if not groups:
                return DeadPage(0, (), ())
        group = groups[0].fingerprint if fingerprint else ""
        rows = self._reading.ended(RunState.DEAD, pipeline, group, _place(cursor), limit + 1)
        page, following = _whole_files(rows, limit)
        files = {f.no: f for f in self._reading.by_number([run.file_no for run in page])}
        return DeadPage(
            total=sum(g.count for g in groups),
            groups=tuple(
                DeadGroup(
                    g.fingerprint,
                    g.pipeline,
                    g.step,
                    g.error,
                    g.message,
                    g.count,
                    g.first_ns,
                    g.last_ns,
                )
                for g in groups
            ),
            items=tuple(
                DeadItem(
                    file=files[run.file_no].file,
                    name=text(files[run.file_no].relative),
                    relative=files[run.file_no].relative,
                    source=files[run.file_no].source,
                    arrived_ns=files[run.file_no].arrived_ns,
                    tags=files[run.file_no].tags,
                    run=run_summary(run),
                )
                for run in page
                if run.state_ns >= since_ns
            ),
            next=following,
        )

    def run_states(self, runs: Sequence[str]) -> dict[str, tuple[str, str]]:
        """(state, fingerprint) of each of these runs, by id; the unknown are absent."""
        return self._reading.run_states(runs)

    def paused(self) -> dict[str, PauseRow]:
        """The pipelines that are paused, with who did it, when and why."""
        return {row.pipeline: row for row in self._reading.pauses()}

    def held(self, *, reason: str = "", limit: int = 50, cursor: str | None = None) -> HeldPage:
        """Files and runs that wait for a person, the latest arrival first; `reason` as in `unrouted`.

        Raises:
            UsageError: a cursor that is none.
        """
        rows = self._reading.select(
            Selection(state=RunState.HELD, before=_place(cursor), limit=limit + 1)
        )
        page = rows[:limit]
        runs = self._runs_of(page)
        items: list[HeldItem] = []
        for row in page:
            held: list[RunRow | None] = [
                run for run in runs.get(row.no, []) if run.state == RunState.HELD
            ]
            for run in held or [None]:
                why = row.reason if run is None else run.message
                if reason in ("", why):
                    items.append(
                        HeldItem(
                            file=row.file,
                            name=text(row.relative),
                            relative=row.relative,
                            source=row.source,
                            arrived_ns=row.arrived_ns,
                            tags=row.tags,
                            reason=why,
                            run=None if run is None else run_summary(run),
                        )
                    )
        return HeldPage(tuple(items), str(page[-1].no) if len(rows) > limit and page else None)

    def status(self) -> Status:
        """How many files and runs are where, what waits longest, and the last hour."""
        now = self._clock.wall_ns()
        reading = self._reading
        files = reading.file_counts()
        runs: dict[str, dict[str, int]] = {}
        for pipeline, state, count in reading.run_counts():
            if count:
                runs.setdefault(pipeline, {})[state] = count
        paused = self.paused()
        for pipeline in paused:
            runs.setdefault(pipeline, {})
        waiting = dict(reading.oldest_waiting())
        arrived = size = 0
        recent: dict[str, dict[str, tuple[int, dict[int, int]]]] = {}
        for row in reading.tally(now - RECENT_NS):
            if row.outcome == "ingested":
                arrived, size = arrived + row.count, size + row.bytes
            elif row.outcome in (RunState.DONE, RunState.DEAD) and not row.sink:
                mine = recent.setdefault(row.pipeline, {})
                before, latency = mine.get(row.outcome, (0, {}))
                mine[row.outcome] = (before + row.count, row.latency or latency)
        return Status(
            at_ns=now,
            files={state: files[state] for state in STATES if files.get(state)},
            total=sum(files.values()),
            waiting_since_ns=min(waiting.values(), default=None),
            arrived_recently=arrived,
            bytes_recently=size,
            recent_ns=RECENT_NS,
            pipelines=tuple(
                pipeline_status(
                    name, runs[name], waiting.get(name), recent.get(name, {}), paused.get(name)
                )
                for name in sorted(runs)
            ),
            retries=self._retries(),
        )

    def _retries(self) -> tuple[Retry, ...]:
        runs = self._reading.runs_retrying(None, RETRIES_SHOWN)
        files = {file.no: file for file in self._reading.by_number([run.file_no for run in runs])}
        return tuple(
            Retry(files[run.file_no].file, text(files[run.file_no].relative), run_summary(run))
            for run in runs
        )

    def tags(self, prefix: str = "", limit: int = 500) -> list[str]:
        """Tags that files have and that begin so, in order."""
        return self._reading.tags(prefix, limit)

    def pipelines(self) -> list[str]:
        """Pipelines that have runs, in order."""
        return self._reading.pipelines()

    def fingerprints(self, limit: int = 500) -> list[str]:
        """Fingerprints of dead runs, in order."""
        return self._reading.fingerprints(limit)

    def known_ids(self, prefix: str, limit: int = 100) -> list[str]:
        """Ids of files and runs that begin so."""
        return [identity for _, identity, _ in self._reading.ids(prefix, limit)]

    def follow(self, *, tag: str = "", pipeline: str = "", state: str = "") -> Following:
        """What happens from now on, as events; see `queries.following`.

        Raises:
            UsageError: no such state.
        """
        return Following(self._reading, self._clock, tag=tag, pipeline=pipeline, state=state)

    def revisions(self) -> tuple[Revision, ...]:
        """Every stored configuration, the latest first."""
        return tuple(
            Revision(row.number, row.digest, row.at_ns, row.runs, row.text)
            for row in self._reading.revisions()
        )

    def has_revision(self, digest: str) -> bool:
        """Say whether a server ran the configuration of this digest before."""
        return self._reading.has_revision(digest)

    def _runs_of(self, files: Iterable[FileRow]) -> dict[int, list[RunRow]]:
        by_file: dict[int, list[RunRow]] = {}
        for run in self._reading.runs([row.no for row in files]):
            by_file.setdefault(run.file_no, []).append(run)
        return by_file

    def _history(self, run: RunRow) -> RunHistory:
        return RunHistory(
            summary=run_summary(run),
            queued_ns=run.queued_ns,
            interruptions=run.interruptions,
            input=run.input,
            attempts=tuple(attempt(row) for row in self._reading.attempts(run.no)),
            outputs=tuple(output(*row) for row in self._reading.publications(run.no)),
            bad=tuple(self._reading.rejects(run.no, _BAD_KEPT)),
        )


def _whole_files(rows: Sequence[RunRow], limit: int) -> tuple[list[RunRow], str | None]:
    """At most `limit` runs, cut between two files where possible, and the cursor of what follows."""
    if len(rows) <= limit:
        return list(rows), None
    page = list(rows[:limit])
    last = rows[limit].file_no
    whole = [run for run in page if run.file_no != last]
    page = whole or page
    return page, str(page[-1].file_no)


def _place(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not cursor.isdigit():
        raise UsageError(f"`{cursor}` is not a cursor", help="use `next` of the page before")
    return int(cursor)
