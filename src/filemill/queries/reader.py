"""The queries of all faces, over a reading of the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

from filemill.model.errors import NotFound, UsageError
from filemill.model.states import RunState
from filemill.model.uploads import PartialUpload
from filemill.ports.reading import FileRow, RunRow, Selection
from filemill.queries.access import AccessQueries
from filemill.queries.dead import BAD_KEPT, CANDIDATES, DeadQueries
from filemill.queries.following import Following, Follows
from filemill.queries.paging import place_of
from filemill.queries.results import (
    FileHistory,
    FilePage,
    HeldItem,
    HeldPage,
    Refusal,
    Revision,
    RunHistory,
)
from filemill.queries.shaping import (
    attempt,
    file_summary,
    output,
    run_summary,
    text,
)
from filemill.queries.standing import STATES, StatusQueries

WAITING = ("queued", "running", "publishing", "retrying")
"""The finer words of `live`: of a file that has a run in this state."""
_PAGE = 500
_UNROUTED = "unrouted"


class Queries(DeadQueries, StatusQueries, AccessQueries):
    """Answers about files and runs. Opens nothing itself: it is given a reading; `close` closes that."""

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
        principal: str = "",
        name: str | bytes = b"",
        since_ns: int = 0,
        limit: int = 50,
        cursor: str | None = None,
    ) -> FilePage:
        """One row per file, the latest arrival first, with its worst run's state.

        `state` is one of STATES or WAITING; `tag` may end in `*`; `principal` is who sent it; `name` is part of the
        path below the source, or a pattern (`*.csv`) for its last part.

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
                principal=principal,
                name=name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape"),
                since_ns=since_ns,
                before=place_of(cursor),
                limit=limit + 1,
            )
        )
        page = rows[:limit]
        runs = self._runs_of(page)
        return FilePage(
            tuple(file_summary(row, runs.get(row.no, [])) for row in page),
            str(page[-1].no) if len(rows) > limit and page else None,
        )

    def upload(self, file: str) -> PartialUpload | None:
        """The upload of this id that comes in parts, or was taken lately; None when there is none."""
        return self._reading.upload(file)

    def upload_of_key(self, principal: str, key: str) -> PartialUpload | None:
        """The upload that a principal began under this key; None when there is none."""
        return self._reading.upload_of_key(principal, key)

    def resolve(self, prefix: str) -> tuple[str, str, str]:
        """(`file` or `run`, its id, its file's id) of the one id that begins with `prefix`.

        Raises:
            NotFound: none does.
            UsageError: several do; the error lists them.
        """
        wanted = prefix.strip().lower()
        if not wanted:
            raise UsageError("an id is missing", help="`filemill files ls` shows ids")
        found = self._reading.ids(wanted, CANDIDATES + 1)
        exact = [each for each in found if each[1] == wanted]
        if len(exact) == 1 or len(found) == 1:
            return (exact or found)[0]
        if not found:
            raise NotFound(
                f"no file or run has an id that begins with `{prefix}`",
                help="`filemill files ls` shows ids",
            )
        shown = ", ".join(f"{key} ({kind})" for kind, key, _ in found[:CANDIDATES])
        more = " and more" if len(found) > CANDIDATES else ""
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

    def run_states(self, runs: Sequence[str]) -> dict[str, tuple[str, str]]:
        """(state, fingerprint) of each of these runs, by id; the unknown are absent."""
        return self._reading.run_states(runs)

    def held(self, *, reason: str = "", limit: int = 50, cursor: str | None = None) -> HeldPage:
        """Files and runs that wait for a person, the latest arrival first; `reason` as in `unrouted`.

        Raises:
            UsageError: a cursor that is none.
        """
        rows = self._reading.select(
            Selection(state=RunState.HELD, before=place_of(cursor), limit=limit + 1)
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

    def follow(self, *, tag: str = "", pipeline: str = "", state: str = "") -> Follows:
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
            bad=tuple(self._reading.rejects(run.no, BAD_KEPT)),
        )
