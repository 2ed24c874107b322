"""The questions about dead runs: their groups, one group's cause, and the runs themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from filemill.model.errors import NotFound, UsageError
from filemill.model.fingerprint import Parts
from filemill.model.states import RunState
from filemill.ports.reading import RunRow
from filemill.queries.grouping import RESOLVED, common, dead_group, named, why_grouped
from filemill.queries.paging import place_of, whole_files
from filemill.queries.questions import Questions
from filemill.queries.results import DeadCause, DeadItem, DeadPage
from filemill.queries.shaping import run_summary, text

CANDIDATES = 10
"""How many of several ids that begin so an error names."""
BAD_KEPT = 1_000
_LOOKED_AT = 10_000
"""Members of a group whose tags are counted, the latest: bounds what one question costs."""


class DeadQueries(Questions):
    """Part of `Queries`."""

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
            place_of(cursor),
            limit + 1,
            without=[g.fingerprint for g in groups if g not in shown],
        )
        page, following = whole_files(runs, limit)
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
                + ", ".join(row.fingerprint for row in rows[:CANDIDATES]),
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
        return why_grouped(run, failure, self._reading.rejects(run.no, BAD_KEPT))

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
