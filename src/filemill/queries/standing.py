"""The question how all stands: what is where, what waits longest, what is paused, and the last hour."""

from __future__ import annotations

from filemill.model.states import RunState
from filemill.ports.reading import PauseRow
from filemill.queries.questions import Questions
from filemill.queries.results import Retry, Status
from filemill.queries.shaping import pipeline_status, run_summary, text

STATES = ("live", "done", "dead", "held", "cancelled", "discarded", "rejected", "quarantined")
"""The words under which a file can count."""
RECENT_NS = 3600 * 10**9
RETRIES_SHOWN = 5


class StatusQueries(Questions):
    """Part of `Queries`."""

    def paused(self) -> dict[str, PauseRow]:
        """The pipelines that are paused, with who did it, when and why."""
        return {row.pipeline: row for row in self._reading.pauses()}

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
