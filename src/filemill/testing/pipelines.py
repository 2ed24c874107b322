"""Run a pipeline on bytes in a test: real steps, real sinks, in this process, in a folder that is gone afterwards.

In this process, so that a debugger stops in a step, a patch of the test holds, and coverage counts. Nothing is
published and there is no ledger: outputs are what would be published, a failure is raised instead of recorded.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from filemill.config import ConfigProblems, load
from filemill.config.alone import plan_of
from filemill.durable import Durable, Failpoints
from filemill.engine.description import answer
from filemill.engine.execution import Executor
from filemill.engine.trying import tags_given
from filemill.model.errors import FilemillError
from filemill.model.files import FileRef
from filemill.model.plan import Plan
from filemill.model.runs import BadRecord, Failure, RunOrder, RunResult, StepCount
from filemill.pipeline_api import Pipeline
from filemill.ports.registry import Registry
from filemill.routing.inspection import Inspector
from filemill.routing.matching import pipelines_for
from filemill.service.building import build_sinks
from filemill.service.trying import redirected
from filemill.sinks.naming import other_name

if TYPE_CHECKING:
    from filemill.engine.attempt import Attempt
    from filemill.engine.chain import Node
    from filemill.records.batch import Batch

ARRIVED = 1_767_225_600_000_000_000
"""When every file of a test arrives: 2026-01-01, 00:00 UTC."""


class PipelineFailed(FilemillError):
    """A file would be dead, or tried again: `failure` says why, with the step's traceback."""

    def __init__(self, name: str, failure: Failure) -> None:
        said = f"{name} failed at {failure.step}: {failure.error}: {failure.message}"
        super().__init__("\n".join(filter(None, (said, failure.traceback))), help=failure.help)
        self.failure = failure


@dataclass
class Outcome:
    """What became of the files of one `run_pipeline`."""

    outputs: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """By sink and name below it: the bytes that would be published."""
    children: dict[str, bytes] = field(default_factory=dict)
    """Files that would come out of these (`unpack`, `emit`), by their path: the parent's, `/`, their own name. They are
    not routed on.
    """
    bad: dict[str, list[BadRecord]] = field(default_factory=dict)
    """By file: its bad records, within tolerance or of a failure that was asked to be kept."""
    tags: dict[str, frozenset[str]] = field(default_factory=dict)
    """By file: its tags."""
    record_tags: dict[str, int] = field(default_factory=dict)
    """Tags that steps gave to records, with how many."""
    held: dict[str, str] = field(default_factory=dict)
    """By file: why it would wait for a person."""
    failures: dict[str, Failure] = field(default_factory=dict)
    """By file, only with `keep_failures`."""
    results: list[RunResult] = field(default_factory=list)
    _steps: dict[tuple[str, str], list[StepCount]] = field(default_factory=dict)

    def count(self, step: str, pipeline: str = "") -> StepCount:
        """What one step did to all files together; of all pipelines that have such a step unless one is named.

        Raises:
            KeyError: no step of that id ran; says which did.
        """
        found = [
            each
            for (of, name), some in self._steps.items()
            if name == step and pipeline in ("", of)
            for each in some
        ]
        if not found:
            ran = ", ".join(dict.fromkeys(name for _, name in self._steps)) or "none"
            raise KeyError(f"no step `{step}` ran; those that did: {ran}")
        return StepCount(
            step,
            taken=sum(each.taken for each in found),
            given=sum(each.given for each in found),
            added=sum(each.added for each in found),
            filtered=sum(each.filtered for each in found),
            bad=sum(each.bad for each in found),
            took_ns=sum(each.took_ns for each in found),
        )


def run_pipeline(
    pipeline: Pipeline | str | os.PathLike[str],
    files: Mapping[str, bytes],
    *,
    tags: Iterable[str] = (),
    sinks: Mapping[str, Mapping[str, Any]] | None = None,
    root: str | os.PathLike[str] = ".",
    keep_failures: bool = False,
) -> Outcome:
    """Take these files (by name, which may have folders) through a pipeline, or a whole configuration.

    A `Pipeline` gets every file, whatever its `when:` says, with `tags` as the files' tags; every sink it names is a
    folder, with the options in `sinks` (`{"review": {"format": "jsonl"}}`). With the path of a configuration the files
    are tagged and routed by its rules first, `tags` standing for those of a source. `root` is where a configuration
    around the pipeline would be: paths among its options and dotted paths begin there.

    Raises:
        ConfigProblems: the pipeline or configuration has errors; the message shows them all.
        PipelineFailed: a file would not be done, unless `keep_failures`.
    """
    registry = Registry()
    with tempfile.TemporaryDirectory(prefix="filemill-test-") as folder, _paths_kept():
        try:
            plan = _plan(pipeline, os.path.abspath(root), sinks or {}, registry)
        except ConfigProblems as problems:
            raise ConfigProblemsShown(problems.problems) from problems
        plan = msgspec.structs.replace(
            plan,
            data=os.path.join(folder, "data"),
            durability="process",
            sinks=redirected(plan.sinks, os.path.join(folder, "sinks")),
        )
        for sink in build_sinks(plan, registry, _NO_SYNC).values():
            sink.prepare()
        if plan.root not in sys.path:
            sys.path.insert(0, plan.root)
        outcome = Outcome()
        arrived = [
            _arrived(folder, number, name, data, tags)
            for number, (name, data) in enumerate(files.items())
        ]
        runs = _routed(pipeline, plan, arrived, outcome)
        seen = _RecordTags()
        executor = Executor(plan, registry, _NO_SYNC, seen)
        for name, orders in runs.items():
            results = executor.execute(orders, lambda _orders: None)
            seen.add_to(outcome.record_tags)
            for order, result in zip(orders, results, strict=True):
                _note(outcome, name, order, result, keep_failures=keep_failures)
        return outcome


class ConfigProblemsShown(ConfigProblems):
    """The problems, all of them in the message: a test shows nothing else."""

    def __str__(self) -> str:
        return "\n" + self.render(ending="")


class _RecordTags:
    """An observer that only counts the tags which steps give to records."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, ...], dict[str, int]] = {}
        """By the runs of an attempt."""
        self._now: dict[str, int] = {}

    def add_to(self, total: dict[str, int]) -> None:
        """Add what was counted, and begin anew."""
        for counts in self._counts.values():
            for tag, number in counts.items():
                total[tag] = total.get(tag, 0) + number
        self._counts = {}

    def begin(self, attempt: Attempt) -> None:
        # What an earlier attempt counted of the same files, together or alone, counts no more.
        runs = tuple(order.run for order in attempt.orders)
        self._counts = {
            others: counts
            for others, counts in self._counts.items()
            if set(runs).isdisjoint(others)
        }
        self._now = self._counts[runs] = {}

    def changed(self, node: Node, before: Batch | None, after: Sequence[Batch]) -> None:
        del node
        for tag, number in tags_given(before, after).items():
            self._now[tag] = self._now.get(tag, 0) + number

    def read(self, node: Node, batch: Batch) -> bool:
        del node, batch
        return True

    def branched(self, node: Node, number: int, batch: Batch) -> None:
        """Branches give no tags."""

    def sent(self, node: Node, sinks: Sequence[str], batch: Batch) -> None:
        """Sinks give no tags."""

    def file(self, node: Node, before: RunOrder, after: RunOrder) -> None:
        """Files' tags are not records'."""


_NO_SYNC = Durable(Failpoints("test"), sync=False)


@contextmanager
def _paths_kept() -> Iterator[None]:
    """Users' modules are imported from beside their configuration; the import path of the test stays as it was."""
    before = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = before


def _plan(
    pipeline: Pipeline | str | os.PathLike[str],
    root: str,
    sinks: Mapping[str, Mapping[str, Any]],
    registry: Registry,
) -> Plan:
    if isinstance(pipeline, Pipeline):
        return plan_of(pipeline, root, sinks=sinks, registry=registry, describe=answer)
    return load(os.fspath(pipeline), registry=registry, describe=answer).plan


def _arrived(folder: str, number: int, name: str, data: bytes, tags: Iterable[str]) -> FileRef:
    path = os.path.join(folder, f"content-{number}")
    with open(path, "wb") as file:
        file.write(data)
    return FileRef(
        file=f"file{number:09d}",
        path=os.fsencode(path),
        relative=os.fsencode(name),
        size=len(data),
        source="test",
        arrived_ns=ARRIVED,
        tags=tuple(tags),
    )


def _routed(
    pipeline: Pipeline | str | os.PathLike[str],
    plan: Plan,
    arrived: Sequence[FileRef],
    outcome: Outcome,
) -> dict[str, list[RunOrder]]:
    """The orders of each pipeline; files that go nowhere are held."""
    runs: dict[str, list[RunOrder]] = {}
    for number, (file, facts) in enumerate(
        zip(arrived, Inspector(plan).inspect(arrived), strict=True)
    ):
        name = os.fsdecode(file.relative)
        found = frozenset(hit.tag for hit in facts.tags)
        outcome.tags[name] = found
        if isinstance(pipeline, Pipeline):
            wanted, held = plan.pipelines, facts.error
        else:
            routing = pipelines_for(found, plan)
            wanted, held = tuple(routing.pipelines), facts.error or routing.held
        if held:
            outcome.held[name] = held
            continue
        known = msgspec.structs.replace(
            file,
            tags=tuple(sorted(found)),
            attributes=facts.attributes,
            digest=facts.digest,
            media=facts.media,
        )
        for each in wanted:
            orders = runs.setdefault(each.name, [])
            orders.append(
                RunOrder(f"run{number:010d}", known, each.name, plan.revision, attempt=1, fence=1)
            )
    return runs


def _note(
    outcome: Outcome, pipeline: str, order: RunOrder, result: RunResult, *, keep_failures: bool
) -> None:
    name = os.fsdecode(order.file.relative)
    outcome.results.append(result)
    if result.bad:
        outcome.bad.setdefault(name, []).extend(result.bad)
    if result.failure is not None:
        if not keep_failures:
            raise PipelineFailed(name, result.failure)
        outcome.failures[name] = result.failure
    if result.hold:
        outcome.held[name] = result.hold
    for step in result.steps:
        outcome._steps.setdefault((pipeline, step.step), []).append(step)  # noqa: SLF001 -- its maker
    for child in result.children:
        with open(child.staged, "rb") as emitted:
            outcome.children[os.fsdecode(child.relative)] = emitted.read()
    for output in result.outputs:
        there = outcome.outputs.setdefault(output.sink, {})
        wanted, number = output.name, 2
        while os.fsdecode(wanted) in there:
            wanted, number = other_name(output.name, number), number + 1
        with open(output.staged, "rb") as staged:
            there[os.fsdecode(wanted)] = staged.read()
