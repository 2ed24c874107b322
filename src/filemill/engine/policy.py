"""What becomes of a failed attempt: the one place that turns a failure into the run's next state.

Retry is the core of the engine, not a library's decorator: the decision and the attempt count are committed
together in the ledger.
"""

from __future__ import annotations

import random

import msgspec

from filemill.model.errors import FailureKind
from filemill.model.fingerprint import fingerprint
from filemill.model.plan import RetryPlan
from filemill.model.runs import Failure, RunOrder
from filemill.ports.units import format_duration

MAX_CRASHES = 3
"""Attempts in all that may end in a worker's death: the first and two more."""
MAX_INTERRUPTIONS = 10
"""Times the server may die with a run announced before the run itself is suspected."""
CRASH_DELAY = 1.0
MOST_DOUBLINGS = 64
"""A delay that has doubled so often is over any `max`; attempts without end must not overflow it."""


class Decision(msgspec.Struct, frozen=True):
    """The run's next state; `delay` (seconds) only with retrying."""

    state: str
    delay: float = 0.0
    solo: bool = False
    tries: int = 0
    """How many attempts are allowed in all; 0: this failure is not counted."""
    gave_up: str = ""
    """With dead: why there is no further try, where the count of attempts does not say it."""


def decide(
    failure: Failure,
    order: RunOrder,
    retry: RetryPlan,
    chance: random.Random,
    failing_for: float = 0.0,
) -> Decision:
    """Say what becomes of a run whose attempt failed, `failing_for` seconds after its first one did.

    Full-jitter exponential backoff: uniform between 0 and min(max, min * 2^(attempt-1)), never under
    what the failure itself asked for. (Exponential Backoff And Jitter, AWS Architecture Blog, 2015.)
    """
    match failure.kind:
        case FailureKind.PERMANENT:
            return Decision("dead")
        case FailureKind.SYSTEM | FailureKind.INTERRUPTED:
            return Decision("queued", solo=order.solo)
        case FailureKind.CRASH:
            if order.attempt >= MAX_CRASHES:
                return Decision("dead", tries=MAX_CRASHES)
            delay = CRASH_DELAY * order.attempt
            return Decision("retrying", delay, solo=True, tries=MAX_CRASHES)
        case FailureKind.TRANSIENT:
            return _again(failure, order, retry, chance, failing_for)


def _again(
    failure: Failure, order: RunOrder, retry: RetryPlan, chance: random.Random, failing_for: float
) -> Decision:
    if retry.spent(order.attempt):
        return Decision("dead", tries=retry.attempts)
    doublings = min(order.attempt - 1, MOST_DOUBLINGS)
    delay = chance.uniform(0, min(retry.max, retry.min * 2**doublings))
    delay = max(delay, failure.retry_after or 0.0)
    if retry.within is not None and failing_for + delay > retry.within:
        return Decision("dead", tries=retry.attempts, gave_up=_too_late(retry.within))
    return Decision("retrying", delay, solo=order.solo, tries=retry.attempts)


def _too_late(within: float) -> str:
    allowed = format_duration(within)
    return f"the next try would come more than {allowed} after the first failure (`retry: within`)"


def with_fingerprint(failure: Failure, pipeline: str) -> Failure:
    """The failure with its group, unless the step chose one itself."""
    if failure.fingerprint:
        return failure
    group = fingerprint(pipeline, failure.step, failure.error, failure.message, failure.traceback)
    return msgspec.structs.replace(failure, fingerprint=group)
