"""What becomes of a failed attempt, for every kind of failure."""

from __future__ import annotations

import random

import pytest

from filemill.engine.policy import MAX_CRASHES, decide, with_fingerprint
from filemill.model.errors import FailureKind
from filemill.model.files import FileRef
from filemill.model.plan import RetryPlan
from filemill.model.runs import Failure, RunOrder

RETRY = RetryPlan(attempts=5, min=2.0, max=60.0)


def order(attempt: int = 1, *, solo: bool = False) -> RunOrder:
    file = FileRef("f", b"/content/f", b"a.csv", 1, "inbox", 0)
    return RunOrder("r", file, "orders", 1, attempt, attempt, solo=solo)


def failure(kind: FailureKind, **more: float) -> Failure:
    return Failure(kind, "check", "ValueError", "column 'amount' missing", **more)  # type: ignore[arg-type]


def test_a_permanent_failure_is_dead_at_once() -> None:
    assert decide(failure(FailureKind.PERMANENT), order(), RETRY, random.Random(1)).state == "dead"


@pytest.mark.parametrize("kind", [FailureKind.SYSTEM, FailureKind.INTERRUPTED])
def test_the_machines_failures_are_queued_again_whatever_the_attempt(kind: FailureKind) -> None:
    assert decide(failure(kind), order(99), RETRY, random.Random(1)).state == "queued"


def test_a_transient_failure_is_retried_until_its_attempts_are_spent() -> None:
    chance = random.Random(1)
    states = [
        decide(failure(FailureKind.TRANSIENT), order(n), RETRY, chance).state for n in range(1, 6)
    ]
    assert states == ["retrying"] * 4 + ["dead"]


def test_backoff_is_full_jitter_under_a_doubling_ceiling() -> None:
    chance = random.Random(7)
    for attempt, ceiling in ((1, 2), (2, 4), (3, 8)):
        delays = [
            decide(
                failure(FailureKind.TRANSIENT), order(attempt), RetryPlan(9, 2.0, 60.0), chance
            ).delay
            for _ in range(400)
        ]
        assert 0 <= min(delays) < 0.2 * ceiling
        assert 0.8 * ceiling < max(delays) <= ceiling


def test_backoff_never_exceeds_its_maximum_but_honours_retry_after() -> None:
    chance = random.Random(7)
    plan = RetryPlan(50, 2.0, 10.0)
    assert decide(failure(FailureKind.TRANSIENT), order(40), plan, chance).delay <= 10
    asked = decide(failure(FailureKind.TRANSIENT, retry_after=30.0), order(1), plan, chance)
    assert asked.delay == 30


def test_a_crash_is_tried_alone_at_most_twice_more() -> None:
    chance = random.Random(1)
    for attempt in range(1, MAX_CRASHES):
        decision = decide(failure(FailureKind.CRASH), order(attempt), RETRY, chance)
        assert (decision.state, decision.solo) == ("retrying", True)
    assert decide(failure(FailureKind.CRASH), order(MAX_CRASHES), RETRY, chance).state == "dead"


def test_a_step_may_choose_its_own_group() -> None:
    chosen = Failure(FailureKind.PERMANENT, "check", "Reject", "bad", fingerprint="mine")
    assert with_fingerprint(chosen, "orders").fingerprint == "mine"
    assert with_fingerprint(failure(FailureKind.PERMANENT), "orders").fingerprint.startswith("v1:")


def test_no_retry_begins_later_than_within_after_the_first_failure() -> None:
    plan, chance = RetryPlan(0, 10.0, 10.0, within=60.0), random.Random(3)
    early = [
        decide(failure(FailureKind.TRANSIENT), order(n), plan, chance, 49.9) for n in (1, 7, 5_000)
    ]
    assert [each.state for each in early] == ["retrying"] * 3, "tries are not counted"
    assert [each.tries for each in early] == [0] * 3
    late = decide(failure(FailureKind.TRANSIENT), order(2), plan, chance, 60.1)
    assert (late.state, late.delay) == ("dead", 0.0)
    assert late.gave_up == (
        "the next try would come more than 1m after the first failure (`retry: within`)"
    )
    asked = failure(FailureKind.TRANSIENT, retry_after=61.0)
    assert decide(asked, order(1), plan, chance).state == "dead", "a wait that is longer is none"
    counted = decide(failure(FailureKind.TRANSIENT), order(2), RetryPlan(2, within=60.0), chance)
    assert (counted.state, counted.gave_up) == ("dead", ""), "whichever ends first"


def test_within_is_no_limit_of_crashes_or_of_the_machines_failures() -> None:
    plan, chance = RetryPlan(within=1.0), random.Random(3)
    crash = decide(failure(FailureKind.CRASH), order(1), plan, chance, 3_600)
    system = decide(failure(FailureKind.SYSTEM), order(1), plan, chance, 3_600)
    assert (crash.state, system.state) == ("retrying", "queued")
