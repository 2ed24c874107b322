"""Trying a file: through the pipelines it matches, in worker children, into a folder that is removed afterwards.

What runs is what runs in earnest (inspection, routing, the executor, the sinks' own staging), but for three things: a
sink of any kind is a folder of the trial's own, nothing is published, and no ledger, lock or data directory is
opened. Each pipeline has a child to itself, so that a step which kills or hangs its process is one pipeline's result.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Sequence

import msgspec

from filemill.durable import Durable, Failpoints
from filemill.engine.policy import decide, with_fingerprint
from filemill.engine.trying import every_step
from filemill.engine.verdicts import all_steps
from filemill.model.errors import FailureKind, SystemFault, UsageError
from filemill.model.files import FileRef
from filemill.model.plan import PipelinePlan, Plan, RoutePlan, SinkPlan, StepPlan
from filemill.model.runs import Failure, RunOrder, RunResult, StagedOutput
from filemill.model.trials import ShownHead, StepTrial, Trial, TrialOrder
from filemill.ports.registry import Registry
from filemill.ports.sink import Sink
from filemill.routing.explaining import Explanation
from filemill.service.building import build_sinks
from filemill.service.encrypting import plain_file, scratch_of
from filemill.service.explaining import Arrival
from filemill.service.trial_child import ChildLost, TrialChild

CHILDREN = 20
"""Child files of which it is asked where they would go."""
_RUN = "trial00000000"
"""In place of a run's id: publications of a trial are nobody's."""


class WouldBe(msgspec.Struct, frozen=True):
    """One output that would be published."""

    sink: str
    name: bytes
    """Below the sink's root, as it would be there now."""
    path: bytes
    """Where it would appear; empty where the sink is no folder."""
    size: int
    records: int
    head: str = ""
    """Its first lines; empty when it is no text."""
    more: bool = False
    """There is more than `head`."""
    taken: str = ""
    """A file of that name is there: `replaced`, `numbered`, or `fails`, as the sink's `collision:` says."""


class WouldEmit(msgspec.Struct, frozen=True):
    """One child file that would be emitted, and where its own tags would take it."""

    name: bytes
    """Its parent's path, `/`, and its own name."""
    size: int
    tags: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    """Pipelines that would take it."""
    held: str = ""
    """Why none would; empty also for one that was not asked about."""
    asked: bool = True
    """False: of so many children only the first were asked about."""


class Attempted(msgspec.Struct, frozen=True):
    """What one pipeline would make of the file."""

    pipeline: str
    when: str
    state: str
    """`done`, `dead`, `held`, `retrying` (a failure that may mend itself), or `skipped`."""
    matches: bool = True
    why: str = ""
    """Why its `when:` does not match, or why it is skipped."""
    stopped: bool = False
    """Ended at `--until`: what came behind it is not known."""
    trial: Trial | None = None
    outputs: tuple[WouldBe, ...] = ()
    children: tuple[WouldEmit, ...] = ()
    printed: str = ""
    attempts: int = 1
    """How many tries a failure that may mend itself gets."""


class Attempts(msgspec.Struct, frozen=True):
    """The whole answer."""

    explanation: Explanation
    refused: str
    """Why its source would reject the file; the pipelines are tried all the same."""
    pipelines: tuple[Attempted, ...]

    @property
    def fine(self) -> bool:
        """Say whether every pipeline would be done, and there is one."""
        tried = [each for each in self.pipelines if each.state != "skipped"]
        stands = not self.refused and bool(tried)
        return stands and all(each.state == "done" for each in tried)


def try_file(
    arrival: Arrival,
    plan: Plan,
    registry: Registry,
    *,
    pipeline: str = "",
    until: str = "",
    records: int = 5,
    whole: bool = False,
) -> Attempts:
    """Take the file through every pipeline it matches, or through the named one whether it matches or not.

    `until` ends a pipeline after that step; pipelines without it are skipped. Of a file larger than a chunk only
    the first chunk is read, unless `whole`.

    Raises:
        UsageError: no such pipeline or step, with a did-you-mean.
        SystemFault: a worker child could not be started, or the machine is in trouble.
    """
    known = [each.name for each in plan.pipelines]
    if pipeline and pipeline not in known:
        raise UsageError(
            f"no pipeline `{pipeline}`",
            help=_meant(pipeline, known, "pipelines: " + ", ".join(known)),
        )
    among = [each for each in plan.pipelines if pipeline in ("", each.name)]
    if until:
        steps = [step.id for each in among for step in all_steps(each.steps)]
        if until not in steps:
            raise UsageError(
                f"no such step: `{until}`",
                help=_meant(until, steps, "steps: " + ", ".join(dict.fromkeys(steps))),
            )
    scratch = scratch_of(plan.data)
    # The file is plain already, and so is what becomes of it here: no child needs the identity.
    plan = msgspec.structs.replace(plan, encryption=None)
    with (
        plain_file(plan.data, arrival.file.path) as plain,
        tempfile.TemporaryDirectory(prefix="filemill-try-", dir=scratch) as folder,
    ):
        file = msgspec.structs.replace(arrival.file, path=plain)
        child = TrialChild(os.path.join(folder, "child"), plan)
        try:
            told = child.explain(file)
            made: list[Attempted] = []
            for each in among if not told.facts.error else ():
                if not pipeline and each.name not in told.runs():
                    continue
                if until and until not in [step.id for step in all_steps(each.steps)]:
                    made.append(_answer(Attempted(each.name, "", "skipped"), told, until))
                    continue
                below = os.path.join(folder, str(len(made)))
                if any(one.trial is not None for one in made):
                    child.end()
                    child = TrialChild(os.path.join(below, "child"), plan)
                one = _Trial(told, plan, registry, _until(each, until) if until else each)
                tried = one.run(child, os.path.join(below, "sinks"), records=records, whole=whole)
                made.append(_answer(tried, told, until))
        finally:
            child.end()
    return Attempts(told, arrival.refused or told.facts.refused, tuple(made))


def _answer(tried: Attempted, told: Explanation, until: str) -> Attempted:
    """The attempt with what routing said of its pipeline."""
    routed = next(each for each in told.pipelines if each.name == tried.pipeline)
    why = f"it has no step `{until}`" if tried.state == "skipped" else routed.why
    return msgspec.structs.replace(
        tried, when=routed.when, matches=routed.matches, why=why, stopped=bool(until)
    )


class _Trial:
    """One pipeline's trial."""

    def __init__(
        self, told: Explanation, plan: Plan, registry: Registry, pipeline: PipelinePlan
    ) -> None:
        self._plan = plan
        self._registry = registry
        self._pipeline = pipeline
        self._from_source = told.file.tags
        facts = told.facts
        file = msgspec.structs.replace(
            told.file,
            tags=tuple(sorted({hit.tag for hit in facts.tags})),
            attributes=facts.attributes,
            digest=facts.digest,
            media=facts.media,
        )
        self._order = RunOrder(_RUN, file, pipeline.name, plan.revision, attempt=1, fence=1)

    def run(self, child: TrialChild, folder: str, *, records: int, whole: bool) -> Attempted:
        """The result; outputs are made below `folder`."""
        child.serve(self._redirected(folder))
        try:
            trial = child.take(TrialOrder(self._order, records, whole))
            children = self._children(trial.result, child)
        except ChildLost as lost:
            trial, children = self._after_death(lost), ()
        child.end()
        failure = trial.result.failure
        if failure is not None and failure.kind is FailureKind.SYSTEM:
            raise SystemFault(failure.message, help=failure.help)
        state, attempts = self._state(trial.result)
        sinks = build_sinks(self._plan, self._registry, _NO_SYNC)
        outputs = tuple(self._would_be(output, trial, sinks) for output in trial.result.outputs)
        return Attempted(
            pipeline=self._pipeline.name,
            when="",
            state="dead" if any(output.taken == "fails" for output in outputs) else state,
            trial=trial,
            outputs=outputs,
            children=children,
            printed=child.printed(),
            attempts=attempts,
        )

    def _redirected(self, folder: str) -> Plan:
        """The plan of this pipeline alone, every sink a folder below the trial's own."""
        os.makedirs(folder)
        plan = msgspec.structs.replace(
            self._plan,
            data=os.path.join(folder, "data"),
            durability="process",
            pipelines=(self._pipeline,),
            sources=(),
            sinks=redirected(self._plan.sinks, folder),
        )
        for sink in build_sinks(plan, self._registry, _NO_SYNC).values():
            sink.prepare()
        return plan

    def _children(self, result: RunResult, child: TrialChild) -> tuple[WouldEmit, ...]:
        """What the run would emit: each child with the tags it would have, and the pipelines they lead to."""
        if not result.children:
            return ()
        child.serve(self._plan)
        found = []
        for number, emitted in enumerate(result.children):
            size = emitted.identity.size
            if number >= CHILDREN:
                found.append(WouldEmit(emitted.relative, size, emitted.tags, asked=False))
                continue
            file = FileRef(
                file=emitted.file,
                path=emitted.staged,
                relative=emitted.relative,
                size=size,
                source=self._order.file.source,
                arrived_ns=self._order.file.arrived_ns,
                tags=(*self._from_source, *emitted.tags),
                depth=self._order.file.depth + 1,
            )
            told = child.explain(file)
            tags = tuple(sorted({hit.tag for hit in told.tags()}))
            found.append(
                WouldEmit(emitted.relative, size, tags, told.runs(), told.held or told.facts.error)
            )
        return tuple(found)

    def _state(self, result: RunResult) -> tuple[str, int]:
        """What the run would be, and how many tries it would have before."""
        if result.failure is None:
            return ("held" if result.hold else "done"), 1
        step = next(
            (s for s in all_steps(self._pipeline.steps) if s.id == result.failure.step), None
        )
        retry = (step.retry if step else None) or self._pipeline.retry
        failure = with_fingerprint(result.failure, self._pipeline.name)
        decision = decide(failure, self._order, retry, random.Random(0))  # noqa: S311 -- a delay nobody waits for
        return decision.state, retry.attempts

    def _after_death(self, lost: ChildLost) -> Trial:
        """What is known of a pipeline that took its worker with it: the step in hand, and why."""
        every = list(every_step(self._pipeline.steps))
        at = lost.step
        step = every[at][0].id if at is not None and at < len(every) else ""
        failure = Failure(
            FailureKind.CRASH,
            step,
            "WorkerDied",
            f"the worker was lost while it ran this file: {lost}",
            "look at what the step printed; native code, memory, or an endless loop?",
        )
        steps = tuple(
            StepTrial(
                each.id,
                each.uses,
                inside,
                each.guard.text if each.guard else "",
                begun=each.id == step,
            )
            for each, inside in every
        )
        return Trial(RunResult(_RUN, 1, failure=failure), steps)

    def _would_be(self, output: StagedOutput, trial: Trial, sinks: dict[str, Sink]) -> WouldBe:
        """Where the output would appear, as things are there now."""
        options = self._plan.sink(output.sink).options
        name, path, taken = output.name, b"", ""
        if self._plan.sink(output.sink).kind == "folder":
            root = os.fsencode(options["folder"])
            path = os.path.join(root, name)
            if os.path.lexists(path):
                taken = {"replace": "replaced", "fail": "fails"}.get(output.mode, "numbered")
            if taken == "numbered":
                (name,) = sinks[output.sink].free_names([name])
                path = os.path.join(root, name)
        head = trial.heads.get(output.publication, ShownHead())
        return WouldBe(
            sink=output.sink,
            name=name,
            path=path,
            size=output.size,
            records=output.records,
            head=head.text,
            more=head.more,
            taken=taken,
        )


def redirected(sinks: Sequence[SinkPlan], root: str) -> tuple[SinkPlan, ...]:
    """The same sinks, each in a folder of its own below `root`, whatever their kind."""
    return tuple(
        SinkPlan(
            sink.name,
            "folder",
            (sink.options if sink.kind == "folder" else {})
            | {"folder": os.path.join(root, sink.name)},
        )
        for sink in sinks
    )


_NO_SYNC = Durable(Failpoints("trial"), sync=False)


def _until(pipeline: PipelinePlan, step: str) -> PipelinePlan:
    """The pipeline as far as that step; in a branch, only that branch goes anywhere."""
    kept = []
    for each in pipeline.steps:
        if each.id == step:
            kept.append(each)
            break
        if step in [inner.id for inner in all_steps([each])]:
            kept.append(msgspec.structs.replace(each, routes=_routes_until(each, step)))
            break
        kept.append(each)
    return msgspec.structs.replace(pipeline, steps=tuple(kept))


def _routes_until(route: StepPlan, step: str) -> tuple[RoutePlan, ...]:
    cut = []
    for each in route.routes:
        steps = [inner.id for inner in each.steps]
        kept = each.steps[: steps.index(step) + 1] if step in steps else ()
        cut.append(msgspec.structs.replace(each, sinks=(), steps=kept))
    return tuple(cut)


def _meant(word: str, known: Sequence[str], otherwise: str) -> str:
    from filemill.config.problems import did_you_mean  # noqa: PLC0415 -- only when it is wrong

    return did_you_mean(word, known, otherwise)
