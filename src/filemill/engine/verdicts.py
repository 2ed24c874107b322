"""Verdicts: what each failed or held attempt becomes, decided by the policy and recorded in one commit a group."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from filemill.engine.announcing import Announced
from filemill.engine.policy import Decision, decide, with_fingerprint
from filemill.engine.supervisor import WorkerDied
from filemill.engine.trouble import Trouble
from filemill.model.errors import FailureKind, SystemFault
from filemill.model.events import Emit, RunFailed, RunHeld
from filemill.model.plan import PipelinePlan, StepPlan
from filemill.model.runs import Failure, RunOrder, RunResult
from filemill.ports.clock import Clock, Steady
from filemill.ports.ledger import Fail, Ledger


class Verdict(msgspec.Struct, frozen=True):
    """One failed attempt and what becomes of its run."""

    order: RunOrder
    result: RunResult
    failure: Failure
    decision: Decision


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
    ) -> None:
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
        failure = with_fingerprint(failure, pipeline.name)
        return Verdict(order, result, failure, decide(failure, order, retry, self._chance))

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
            f"the configuration has no pipeline `{order.pipeline}` any more (queued at revision {order.revision})",
            "put the pipeline back, or drop the file in again for today's pipelines",
        )
        failure = with_fingerprint(failure, order.pipeline)
        return Verdict(order, _failed(order, failure), failure, Decision("dead"))

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

    async def hold(self, held: Sequence[tuple[RunOrder, RunResult]]) -> None:
        """Commit that these wait for a person, as their step asked."""
        if not held:
            return
        at = self._clock.wall_ns()
        fails = [Fail(order.run, order.fence, at, "held", result, None) for order, result in held]
        kept = await self._trouble.insist("ledger", lambda: self._ledger.fail(fails))
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
    )


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
    )
