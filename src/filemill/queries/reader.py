"""The queries of all faces, over a reading of the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Self

from filemill.model.errors import NotFound, UsageError
from filemill.model.fingerprint import Parts
from filemill.model.states import RunState
from filemill.ports.clock import Clock
from filemill.ports.reading import FileRow, PauseRow, Reading, RunRow, Selection
from filemill.queries.following import Following
from filemill.queries.grouping import RESOLVED, common, dead_group, named, why_grouped
from filemill.queries.results import (
    DeadCause,
    DeadItem,
    DeadPage,
    FileHistory,
    FilePage,
    HeldItem,
    HeldPage,
    Refusal,
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
WAITING = ("queued", "running", "publishing", "retrying")
"""The finer words of `live`: of a file that has a run in this state."""
RECENT_NS = 3600 * 10**9
RETRIES_SHOWN = 5
_CANDIDATES = 10
_PAGE = 500
_BAD_KEPT = 1_000
_LOOKED_AT = 10_000
"""Members of a group whose tags are counted, the latest: bounds what one question costs."""
_UNROUTED = "unrouted"


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

        `state` is one of STATES or WAITING; `tag` may end in `*`; `name` is part of the path below the source, or a
        pattern (`*.csv`) for its last part.

        Raises:
            UsageError: no such state, or a cursor that is none.
        """
        if state and state not in (*STATES, *WAITING):
            states = ", ".join((*STATES, *WAITING))
            raise UsageError(f"no state `{state}`", help=f"states: {states}")
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
        resolved: bool = True,
    ) -> DeadPage:
        """Dead runs: all groups with their counts, the latest first, and a page of runs.

        `fingerprint` narrows the page to one group; a part of it is enough. Without `resolved` the groups are left
        out that a person called mended, unless one died since.

        Raises:
            UsageError: a cursor that is none.
        """
        now, causes = (
            self._clock.wall_ns(),
            {row.fingerprint: row for row in self._reading.causes()},
        )
        rows = named(self._reading.groups(pipeline, since_ns), fingerprint)
        groups = [dead_group(row, causes.get(row.fingerprint), now) for row in rows]
        if fingerprint and not groups:
            return DeadPage(0, (), ())
        shown = [g for g in groups if resolved or fingerprint or g.status != RESOLVED]
        runs = self._reading.ended(
            RunState.DEAD,
            pipeline,
            groups[0].fingerprint if fingerprint else "",
            _place(cursor),
            limit + 1,
            without=[g.fingerprint for g in groups if g not in shown],
        )
        page, following = _whole_files(runs, limit)
        return DeadPage(
            total=sum(g.count for g in shown),
            groups=tuple(shown),
            items=tuple(self._dead_items([run for run in page if run.state_ns >= since_ns])),
            next=following,
            hidden=len(groups) - len(shown),
        )

    def cause(self, fingerprint: str) -> DeadCause:
        """One group of dead runs in full; a part of its fingerprint is enough.

        Raises:
            NotFound: nothing dead is of such a group.
            UsageError: several groups begin so.
        """
        rows = named(self._reading.groups("", 0), fingerprint)
        if not rows:
            raise NotFound(
                f"nothing dead is of a group `{fingerprint}`",
                help="`filemill dead ls --all` shows the groups there are",
            )
        if len(rows) > 1:
            raise UsageError(
                f"`{fingerprint}` is the beginning of several groups: "
                + ", ".join(row.fingerprint for row in rows[:_CANDIDATES]),
                help="give more characters",
            )
        cause = next(
            (c for c in self._reading.causes() if c.fingerprint == rows[0].fingerprint), None
        )
        group = dead_group(rows[0], cause, self._clock.wall_ns())
        runs = self._reading.ended(RunState.DEAD, "", group.fingerprint, None, _LOOKED_AT)
        items = tuple(self._dead_items(runs))
        return DeadCause(
            group=group,
            why=self._why(runs[0]) if runs else None,
            tags=common(tag for item in items for tag in item.tags),
            revisions=common(item.run.revision for item in items),
            looked_at=len(items),
            items=items,
        )

    def _why(self, run: RunRow) -> Parts | None:
        """What the fingerprint of this run's failure is made of."""
        attempts = self._reading.attempts(run.no)
        failure = next((each.failure for each in reversed(attempts) if each.failure), None)
        return why_grouped(run, failure, self._reading.rejects(run.no, _BAD_KEPT))

    def _dead_items(self, runs: Sequence[RunRow]) -> Iterator[DeadItem]:
        files = {f.no: f for f in self._reading.by_number([run.file_no for run in runs])}
        for run in runs:
            file = files[run.file_no]
            yield DeadItem(
                file=file.file,
                name=text(file.relative),
                relative=file.relative,
                source=file.source,
                arrived_ns=file.arrived_ns,
                tags=file.tags,
                run=run_summary(run),
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
        activations = self._reading.activations()
        current = activations[0][0] if activations else 0
        began: dict[int, list[tuple[int, str]]] = {}
        for number, at_ns, how in activations:
            began.setdefault(number, []).append((at_ns, how))
        return tuple(
            Revision(
                number=row.number,
                digest=row.digest,
                at_ns=row.at_ns,
                runs=row.runs,
                text=row.text,
                began=tuple(began.get(row.number, ())),
                current=row.number == current,
            )
            for row in self._reading.revisions()
        )

    def refusal(self) -> Refusal | None:
        """The configuration that was refused since one was last taken, if one was."""
        found = self._reading.refusal()
        return None if found is None else Refusal(*found)

    def unrouted(self, limit: int) -> list[FileRow]:
        """Files that are held because no pipeline wanted them, the latest first, with all that was noted of them."""
        found: list[FileRow] = []
        before = None
        while len(found) < limit:
            page = self._reading.select(Selection(state="held", before=before, limit=_PAGE))
            found += [row for row in page if row.reason == _UNROUTED]
            if len(page) < _PAGE:
                break
            before = page[-1].no
        return found[:limit]

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
