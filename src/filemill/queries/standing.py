"""The question how all stands: what is where, what waits longest, what is paused, and the last hour."""

from __future__ import annotations

from filemill.model.states import RunState
from filemill.ports.reading import PauseRow
from filemill.queries.questions import Questions
from filemill.queries.results import FileCounts, Retry, Standing, Status
from filemill.queries.shaping import pipeline_status, run_summary, text

STATES = ("live", "done", "dead", "held", "cancelled", "discarded", "rejected", "quarantined")
"""The words under which a file can count."""
RECENT_NS = 3600 * 10**9
RETRIES_SHOWN = 5
_ARRIVED = "ingested"
_OUTCOMES = (_ARRIVED, RunState.DONE, RunState.DEAD)


class StatusQueries(Questions):
    """Part of `Queries`."""

    def paused(self) -> dict[str, PauseRow]:
        """The pipelines that are paused, with who did it, when and why."""
        return {row.pipeline: row for row in self._reading.pauses()}

    def status(self) -> Status:
        """How many files and runs are where, what waits longest, and the last hour."""
        with self._reading.snapshot():
            return self.quick_status() or self._status(self.file_counts())

    def quick_status(self, counted: FileCounts | None = None) -> Status | None:
        """The same at a cost that does not grow with the files; with files as they were `counted` before, if need be.

        None where these are needed and were not given: nobody keeps the counts for this scope.
        """
        with self._reading.snapshot():
            kept = self._reading.kept_file_counts()
            if kept is not None:
                counted = FileCounts(self._clock.wall_ns(), kept)
            return None if counted is None else self._status(counted)

    def file_counts(self) -> FileCounts:
        """How many files count under each word; counted, where nobody keeps that."""
        return FileCounts(self._clock.wall_ns(), self._reading.file_counts())

    def standing(self) -> Standing:
        """What is where by source and pipeline, and all that ever moved: what metrics are made of."""
        with self._reading.snapshot():
            return Standing(
                at_ns=self._clock.wall_ns(),
                moves=tuple(self._reading.moves()),
                runs=tuple(self._reading.run_counts()),
                oldest=tuple(self._reading.oldest_waiting()),
                paused=tuple(self.paused()),
            )

    def _status(self, counted: FileCounts) -> Status:
        now = self._clock.wall_ns()
        reading = self._reading
        runs: dict[str, dict[str, int]] = {}
        for _, pipeline, state, count in reading.run_counts():
            mine = runs.setdefault(pipeline, {})
            mine[state] = mine.get(state, 0) + count
        paused = self.paused()
        for pipeline in paused:
            runs.setdefault(pipeline, {})
        waiting: dict[str, int] = {}
        for _, pipeline, arrived_ns in reading.oldest_waiting():
            waiting[pipeline] = min(arrived_ns, waiting.get(pipeline, arrived_ns))
        arrived = size = 0
        recent: dict[str, dict[str, tuple[int, dict[int, int]]]] = {}
        for row in reading.tally(now - RECENT_NS, _OUTCOMES):
            if row.outcome == _ARRIVED:
                arrived, size = arrived + row.count, size + row.bytes
            elif not row.sink:
                ends = recent.setdefault(row.pipeline, {})
                before, latency = ends.get(row.outcome, (0, {}))
                ends[row.outcome] = (before + row.count, row.latency or latency)
        return Status(
            at_ns=now,
            files={state: counted.files[state] for state in STATES if counted.files.get(state)},
            files_at_ns=counted.at_ns,
            total=sum(counted.files.values()),
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
