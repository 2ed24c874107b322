"""Reading along with what happens: the ledger's ends and arrivals, as the events that the server emitted for them.

Nothing is asked of a server; it need not even run. Each look asks by index for what is newer than the last one, so it
costs the same over a million files as over none. Two things are in the way of a plain cursor, and handled here:

- A row's time is taken before its commit, so a row may appear behind one that is later: each look begins `OVERLAP`
  before the end of the last one, and what was told is not told again.
- A wall clock may be set back: then the cursor goes back with it.

What is bounded: a look takes at most `AT_ONCE` rows of each kind and goes on from there at the next. Not told is a
retry that begins and ends between two looks (its end is), and what is above `AT_ONCE` in one and the same moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from filemill.model.errors import UsageError
from filemill.model.events import (
    Event,
    FileHeld,
    FileIngested,
    FileRejected,
    RunFailed,
    RunFinished,
    RunHeld,
)
from filemill.model.runs import Failure
from filemill.model.tags import has_tag
from filemill.ports.clock import Clock
from filemill.ports.reading import FileRow, Reading, RunRow

OVERLAP_NS = 3 * 10**9
AT_ONCE = 5_000
LOOK_BACK = 5_000
"""Ends that `last` looks at to find those that fit."""
STATES = ("arrived", "done", "retrying", "dead", "held", "rejected", "quarantined")
"""What can be followed."""

Told = FileHeld | FileIngested | FileRejected | RunFailed | RunFinished | RunHeld
"""What is told."""
_Key = tuple[str, str, int]


class Follows(Protocol):
    """Whoever follows: `last` once, if at all, then `news` again and again, in one thread."""

    def last(self, count: int) -> list[Event]:
        """The last `count` ends that fit, in the order of time."""

    def news(self) -> list[Event]:
        """What happened since the last look, in the order of time."""

    def notes(self) -> list[str]:
        """What a person should know who reads along, said once."""


class Following:
    """Follows one ledger. `last` once, if at all, then `news` again and again, in one thread."""

    def __init__(
        self, reading: Reading, clock: Clock, *, tag: str = "", pipeline: str = "", state: str = ""
    ) -> None:
        if state and state not in STATES:
            raise UsageError(f"no state `{state}`", help="states: " + ", ".join(STATES))
        self._reading = reading
        self._clock = clock
        self._tag, self._pipeline, self._state = tag, pipeline, state
        self._file = reading.newest_file()
        self._since = clock.wall_ns() - OVERLAP_NS
        """Where the next look begins."""
        self._told: dict[_Key, int] = {}
        """What was told of the time that is looked at again, with its time."""
        self._untold(reading.runs_ended(self._since, AT_ONCE))
        self._untold(reading.files_ended(self._since, AT_ONCE))
        self._untold(reading.runs_retrying(self._since, AT_ONCE))

    def last(self, count: int) -> list[Event]:
        """The last `count` ends that fit, in the order of time; of the last `LOOK_BACK` ends of each kind."""
        back = LOOK_BACK if self._tag or self._pipeline or self._state else count
        runs = self._reading.runs_ended(None, back)
        runs += self._reading.runs_retrying(None, back)
        files = self._reading.files_ended(None, back)
        self._untold(runs)
        self._untold(files)
        chosen = self._fitting(runs, files)[-count:] if count else []
        return self._tell(chosen)

    def news(self) -> list[Event]:
        """What happened since the last look, in the order of time."""
        now = self._clock.wall_ns()
        latest = now - OVERLAP_NS
        since = self._since if self._since <= now else latest  # else the clock was set back
        arrived = self._reading.files_after(self._file, AT_ONCE)
        if arrived:
            self._file = arrived[-1].no
        runs = self._reading.runs_ended(since, AT_ONCE)
        files = self._reading.files_ended(since, AT_ONCE)
        full = [rows[-1].state_ns for rows in (runs, files) if len(rows) == AT_ONCE]
        # Where there was more than one look takes, the next begins with the last of it, without an overlap; and time
        # passes in any case, should more rows than that have the very same one.
        self._since = max(min(full), since + 1) if full else latest
        runs += self._reading.runs_retrying(since, AT_ONCE)
        fresh = self._fitting(self._untold(runs), self._untold(files))
        kept = min(since, latest)
        self._told = {key: at for key, at in self._told.items() if at >= kept}
        told = [*self._arrivals(arrived), *self._tell(fresh)]
        return sorted(told, key=lambda event: event.at_ns)

    def notes(self) -> list[str]:
        """Nothing is in its way."""
        return []

    def _untold(self, rows: Sequence[RunRow] | Sequence[FileRow]) -> list[RunRow | FileRow]:
        fresh: list[RunRow | FileRow] = []
        for row in rows:
            key = (row.run if isinstance(row, RunRow) else row.file, row.state, row.state_ns)
            if key not in self._told:
                self._told[key] = row.state_ns
                fresh.append(row)
        return fresh

    def _fitting(
        self, runs: Sequence[RunRow | FileRow], files: Sequence[RunRow | FileRow]
    ) -> list[tuple[RunRow | None, FileRow]]:
        """The rows that the filters let through, each with its file, in the order of time."""
        mine = [
            run
            for run in runs
            if isinstance(run, RunRow)
            and run.state in STATES
            and self._pipeline in ("", run.pipeline)
            and self._state in ("", run.state)
        ]
        of = {row.no: row for row in self._reading.by_number([run.file_no for run in mine])}
        found: list[tuple[RunRow | None, FileRow]] = [(run, of[run.file_no]) for run in mine]
        found += [
            (None, row)
            for row in files
            if isinstance(row, FileRow)
            and row.state in STATES
            and not self._pipeline
            and self._state in ("", row.state)
        ]
        fit = [each for each in found if not self._tag or has_tag(self._tag, each[1].tags)]
        return sorted(fit, key=lambda each: (each[0] or each[1]).state_ns)

    def _arrivals(self, files: Sequence[FileRow]) -> Iterator[Event]:
        if self._state not in ("", "arrived") or self._pipeline:
            return
        for row in files:
            # Most of its tags come with its inspection: only those that its source gave are known here.
            if not self._tag or has_tag(self._tag, row.tags):
                yield FileIngested(
                    at_ns=row.ingested_ns or row.arrived_ns,
                    file=row.file,
                    source=row.source,
                    relative=row.relative,
                    size=row.size,
                    parent=row.parent or "",
                )

    def _tell(self, rows: Sequence[tuple[RunRow | None, FileRow]]) -> list[Event]:
        done = [run.no for run, _ in rows if run is not None and run.state == "done"]
        failed = [run.no for run, _ in rows if run is not None and run.state in _FAILED]
        outputs: dict[int, list[tuple[str, int, bytes]]] = {}
        for run_no, sink, records, name in self._reading.outputs_of(done) if done else ():
            outputs.setdefault(run_no, []).append((sink, records, name))
        parents = [file.file for run, file in rows if run is not None and run.no in set(done)]
        children = self._reading.children_of(parents) if parents else {}
        failures = self._reading.last_failures(failed) if failed else {}
        events: list[Event] = []
        for run, file in rows:
            if run is None:
                events.append(_of_file(file))
            elif run.state == "done":
                mine = tuple(outputs.get(run.no, ()))
                events.append(_finished(run, file, mine, children.get(file.file, 0)))
            elif run.state in _FAILED:
                events.append(_failed(run, file, failures.get(run.no)))
            else:
                events.append(_held(run, file))
        return events


_FAILED = frozenset({"dead", "retrying"})


def _of_file(file: FileRow) -> Event:
    if file.state == "held":
        return FileHeld(
            at_ns=file.state_ns,
            file=file.file,
            relative=file.relative,
            reason=file.reason,
            tags=file.tags,
        )
    return FileRejected(
        at_ns=file.state_ns,
        file=file.file,
        relative=file.relative,
        reason=file.reason,
        unsafe=file.state == "quarantined",
    )


def _finished(
    run: RunRow, file: FileRow, outputs: tuple[tuple[str, int, bytes], ...], children: int
) -> Event:
    return RunFinished(
        at_ns=run.state_ns,
        run=run.run,
        file=file.file,
        relative=file.relative,
        pipeline=run.pipeline,
        took_ns=run.state_ns - file.arrived_ns,
        outputs=outputs,
        bad=run.bad,
        children=children,
    )


def _failed(run: RunRow, file: FileRow, failure: Failure | None) -> Event:
    return RunFailed(
        at_ns=run.state_ns,
        run=run.run,
        file=file.file,
        relative=file.relative,
        pipeline=run.pipeline,
        state=run.state,
        kind=str(failure.kind) if failure else "permanent",
        step=run.step,
        error=run.error,
        message=run.message,
        help=failure.help if failure else "",
        attempt=run.attempt,
        retry_at_ns=run.due_ns or 0,
        fingerprint=run.fingerprint,
    )


def _held(run: RunRow, file: FileRow) -> Event:
    return RunHeld(
        at_ns=run.state_ns,
        run=run.run,
        file=file.file,
        relative=file.relative,
        pipeline=run.pipeline,
        step=run.step,
        message=run.message,
    )
