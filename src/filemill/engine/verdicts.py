"""Verdicts: what each failed or held attempt becomes, decided by the policy and recorded in one commit a group."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from filemill.engine.announcing import Announced
from filemill.engine.keeping_inputs import Inputs
from filemill.engine.policy import Decision, decide, with_fingerprint
from filemill.engine.supervisor import WorkerDied
from filemill.engine.trouble import Trouble
from filemill.model.errors import FailureKind, FilemillError, SystemFault
from filemill.model.events import Emit, RunFailed, RunHeld
from filemill.model.plan import PipelinePlan, StepPlan
from filemill.model.runs import Failure, RunOrder, RunResult
from filemill.model.states import RunState
from filemill.ports.clock import Clock, Steady
from filemill.ports.ledger import Fail, Ledger


class Verdict(msgspec.Struct, frozen=True):
    """One failed attempt and what becomes of its run."""

    order: RunOrder
    result: RunResult
    failure: Failure
    decision: Decision
    input: str | None = None
    """Content reference of what is kept of the run."""


class Verdicts:
    """Judges failed attempts and records what was decided."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        clock: Clock,
        steady: Steady,
        emit: Emit,
        trouble: Trouble,
        chance: random.Random,
        inputs: Inputs,
    ) -> None:
        self._inputs = inputs
        self._ledger = ledger
        self._clock = clock
        self._emit = emit
        self._trouble = trouble
        self._chance = chance
        self._steady = steady

    def judge(
        self, order: RunOrder, result: RunResult, failure: Failure, pipeline: PipelinePlan
    ) -> Verdict:
        """As the policy says: the failed step's own `retry:`, else its pipeline's."""
        retry = next(
            (s.retry for s in all_steps(pipeline.steps) if s.id == failure.step and s.retry),
            pipeline.retry,
        )
        now = self._steady.ns()
        first = order.failing_ns or now
        decision = decide(failure, order, retry, self._chance, (now - first) / 1e9)
        failure = msgspec.structs.replace(
            with_fingerprint(failure, pipeline.name),
            first_ns=first if decision.state == RunState.RETRYING else 0,
            gave_up=decision.gave_up,
        )
        return Verdict(order, result, failure, decision)

    def after_death(
        self, batch: Sequence[RunOrder], died: WorkerDied, pipeline: PipelinePlan
    ) -> list[Verdict]:
        """Charge the run that was announced alone; queue the others again at no cost.

        Where a group was announced nobody is charged, and each of them runs alone from then on.
        """
        group = died.announced.kind is Announced.GROUP
        verdicts: list[Verdict] = []
        for order in batch:
            if died.announced.runs == (order.run,):
                failure = Failure(
                    FailureKind.CRASH,
                    "worker",
                    "WorkerDied",
                    f"the worker was lost while it ran this file: {died.reason}",
                    _advice(died.reason),
                    output=died.output,
                )
                verdicts.append(self.judge(order, _failed(order, failure), failure, pipeline))
            else:
                failure = Failure(
                    FailureKind.INTERRUPTED,
                    "worker",
                    "Interrupted",
                    f"its worker was lost over another file: {died.reason}",
                )
                verdicts.append(_given_back(order, failure, solo=order.solo or group))
        return verdicts

    def unfinished(self, order: RunOrder) -> Verdict:
        """The server drains in the middle of a big file: queued again at no cost, and what is done is kept."""
        failure = Failure(
            FailureKind.INTERRUPTED, "worker", "Interrupted", "the server was stopped meanwhile"
        )
        return _given_back(order, failure, solo=order.solo)

    def unstarted(self, order: RunOrder, fault: SystemFault) -> Verdict:
        """No worker could be started: queued again, at no cost."""
        name = type(fault).__name__
        failure = Failure(FailureKind.SYSTEM, "worker", name, fault.message, fault.help)
        return _given_back(order, failure, solo=order.solo)

    def homeless(self, order: RunOrder) -> Verdict:
        """Its pipeline is gone from the configuration: a dead letter, since nothing else may be guessed."""
        failure = Failure(
            FailureKind.PERMANENT,
            "pipeline",
            "PipelineMissing",
            f"the configuration (rev {order.revision}) has no pipeline `{order.pipeline}` any more",
            "put the pipeline back and redrive it, or drop the file in again for today's pipelines",
        )
        return _dead(order, failure)

    def unservable(self, order: RunOrder, error: FilemillError) -> Verdict:
        """The revision that it is pinned to cannot work any more: a person decides whether today's will do."""
        failure = Failure(
            FailureKind.PERMANENT,
            "revision",
            "RevisionLost",
            f"revision {order.revision} cannot run any more: {error.message}",
            f"{error.help}; or redrive it at the current revision".removeprefix("; or "),
        )
        return _dead(order, failure)

    async def record(self, verdicts: Sequence[Verdict]) -> None:
        """Commit these verdicts together and say those that a person should hear of."""
        if not verdicts:
            return
        at = self._clock.wall_ns()
        due = self._steady.ns()
        fails = [_as_fail(verdict, at, due) for verdict in verdicts]
        kept = await self._trouble.insist("ledger", lambda: self._ledger.fail(fails))
        for verdict, fail, ok in zip(verdicts, fails, kept, strict=True):
            if ok and fail.state != "queued":
                self._emit(_as_event(verdict, fail))
        await self._inputs.settle(
            [(each.order, fail) for each, fail in zip(verdicts, fails, strict=True)], kept
        )

    async def keep(self, verdicts: Sequence[Verdict], pipeline: PipelinePlan) -> list[Verdict]:
        """The same verdicts; of runs that die at a step, with what is kept for a person to begin with."""
        dead = [
            each
            for each in verdicts
            if each.decision.state == RunState.DEAD and each.failure.kind is not FailureKind.CRASH
        ]
        kept = await self._inputs.keep(
            [(each.order, each.result, each.failure.step) for each in dead],
            longest_step(pipeline),
        )
        changed = {
            each.order.run: msgspec.structs.replace(each, result=result, input=reference)
            for each, (result, reference) in zip(dead, kept, strict=True)
        }
        return [changed.get(each.order.run, each) for each in verdicts]

    async def hold(
        self, held: Sequence[tuple[RunOrder, RunResult]], pipeline: PipelinePlan
    ) -> None:
        """Commit that these wait for a person, as their step asked, with what is kept for them to go on."""
        if not held:
            return
        inputs = await self._inputs.keep(
            [(order, result, result.hold_step) for order, result in held],
            longest_step(pipeline),
        )
        at = self._clock.wall_ns()
        fails = [
            Fail(order.run, order.fence, at, "held", result, None, input=reference)
            for (order, _), (result, reference) in zip(held, inputs, strict=True)
        ]
        kept = await self._trouble.insist("ledger", lambda: self._ledger.fail(fails))
        await self._inputs.settle(
            [(order, fail) for (order, _), fail in zip(held, fails, strict=True)], kept
        )
        for (order, result), ok in zip(held, kept, strict=True):
            if ok:
                self._emit(
                    RunHeld(
                        at_ns=at,
                        run=order.run,
                        file=order.file.file,
                        relative=order.file.relative,
                        pipeline=order.pipeline,
                        step=result.hold_step,
                        message=result.hold,
                    )
                )


def all_steps(steps: Iterable[StepPlan]) -> Iterator[StepPlan]:
    """Every step of a pipeline, those of its branches included."""
    for step in steps:
        yield step
        for branch in step.routes:
            yield from all_steps(branch.steps)


def longest_step(pipeline: PipelinePlan) -> float:
    """Seconds a worker may go without a sign of progress: the pipeline's own timeout or its slowest step's."""
    return pipeline.timeout or max((s.timeout for s in all_steps(pipeline.steps)), default=600.0)


def _advice(reason: str) -> str:
    if "timed out" in reason:
        return "give the step a longer `timeout:`, or find what it waits for"
    if "out of memory" in reason:
        return "`worker_memory` says how much a worker may hold: raise it, or let the step hold less at once"
    if "work folder" in reason:
        return "let the step write less, or raise `max_work` where its disk has the room"
    return "look at what the step printed; native code, memory, or an endless loop?"


def _failed(order: RunOrder, failure: Failure) -> RunResult:
    return RunResult(order.run, order.fence, failure=failure)


def _given_back(order: RunOrder, failure: Failure, *, solo: bool) -> Verdict:
    return Verdict(order, _failed(order, failure), failure, Decision("queued", solo=solo))


def _as_fail(verdict: Verdict, at_ns: int, steady_ns: int) -> Fail:
    decision = verdict.decision
    waits = decision.state == "retrying"
    return Fail(
        verdict.order.run,
        verdict.order.fence,
        at_ns,
        decision.state,
        verdict.result,
        verdict.failure,
        retry_at_ns=steady_ns + int(decision.delay * 1e9) if waits else 0,
        tries=decision.tries,
        solo=decision.solo,
        input=verdict.input,
    )


def _dead(order: RunOrder, failure: Failure) -> Verdict:
    failure = with_fingerprint(failure, order.pipeline)
    return Verdict(order, _failed(order, failure), failure, Decision("dead"))


def _as_event(verdict: Verdict, fail: Fail) -> RunFailed:
    order, failure = verdict.order, verdict.failure
    return RunFailed(
        at_ns=fail.at_ns,
        run=order.run,
        file=order.file.file,
        relative=order.file.relative,
        pipeline=order.pipeline,
        state=fail.state,
        kind=str(failure.kind),
        step=failure.step,
        error=failure.error,
        message=failure.message,
        help=failure.help,
        attempt=order.attempt,
        tries=fail.tries,
        retry_at_ns=fail.retry_at_ns,
        fingerprint=failure.fingerprint,
        gave_up=failure.gave_up,
    )
