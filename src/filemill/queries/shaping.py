"""From rows of the ledger to what people and programs are told."""

from __future__ import annotations

import os
from collections.abc import Sequence

from filemill.model.histogram import quantile_ns
from filemill.model.runs import Publication
from filemill.model.states import FileState, RunState, file_state_of
from filemill.ports.reading import AttemptRow, FileRow, PauseRow, RunRow
from filemill.queries.results import Attempt, FileSummary, Output, Pause, PipelineStatus, RunSummary


def file_summary(row: FileRow, runs: Sequence[RunRow]) -> FileSummary:
    """One file as a list has it: its own facts, its runs, and the state that counts it once."""
    return FileSummary(
        file=row.file,
        name=text(row.relative),
        relative=row.relative,
        source=row.source,
        state=file_state_of(FileState(row.state), [RunState(run.state) for run in runs]),
        size=row.size,
        arrived_ns=row.arrived_ns,
        tags=row.tags,
        reason=row.reason,
        runs=tuple(run_summary(run) for run in runs),
        principal=row.principal,
    )


def run_summary(run: RunRow) -> RunSummary:
    """One run as a list has it."""
    return RunSummary(
        run=run.run,
        pipeline=run.pipeline,
        revision=run.revision,
        state=run.state,
        state_ns=run.state_ns,
        attempt=run.attempt,
        tries=run.tries,
        records=run.records,
        bad=run.bad,
        due_ns=run.due_ns,
        fingerprint=run.fingerprint,
        step=run.step,
        error=run.error,
        message=run.message,
        fence=run.fence,
        replays=run.replays,
        supersede=bool(run.supersede),
        mended=run.mended,
        from_step=run.from_step,
        pinned=bool(run.pinned),
    )


def attempt(row: AttemptRow) -> Attempt:
    """One try of a run, with what each step counted."""
    return Attempt(
        number=row.number,
        began_ns=row.began_ns,
        ended_ns=row.ended_ns,
        outcome=row.outcome,
        steps=row.steps,
        records=row.records,
        blank=row.blank,
        bad=row.bad,
        took_ns=row.took_ns,
        failure=row.failure,
        hold=row.hold,
        hold_step=row.hold_step,
        choices=row.choices,
        form=row.form,
        began_at=row.began_at,
        kept=row.kept,
        unkept=row.unkept,
        fell_back=row.fell_back,
        revision=row.revision,
    )


def output(publication: Publication, since_ns: int) -> Output:
    """One output, with the path it has once it is published; in its state since `since_ns`."""
    return Output(
        publication=publication.publication,
        sink=publication.sink,
        name=text(publication.name),
        relative=publication.name,
        # Staged as <root>/.filemill/<file>: the root as it was then, whatever the configuration says now.
        path=os.path.join(os.path.dirname(os.path.dirname(publication.staged)), publication.name),
        size=publication.size,
        records=publication.records,
        digest=publication.digest,
        state=publication.state,
        state_ns=since_ns,
    )


def pipeline_status(
    name: str,
    runs: dict[str, int],
    waiting_since_ns: int | None,
    recent: dict[str, tuple[int, dict[int, int]]],
    paused: PauseRow | None,
) -> PipelineStatus:
    """One pipeline at a glance: runs by state, and (count, latency histogram) of recent ends by state."""
    done, latency = recent.get(RunState.DONE, (0, {}))
    return PipelineStatus(
        pipeline=name,
        runs=runs,
        waiting_since_ns=waiting_since_ns,
        done_recently=done,
        dead_recently=recent.get(RunState.DEAD, (0, {}))[0],
        p50_ns=quantile_ns(latency, 0.5),
        p95_ns=quantile_ns(latency, 0.95),
        paused=Pause(paused.principal, paused.at_ns, paused.reason) if paused else None,
    )


def text(name: bytes) -> str:
    r"""A name as text; bytes that are no UTF-8 become `\xff`."""
    return name.decode("utf-8", "backslashreplace")
