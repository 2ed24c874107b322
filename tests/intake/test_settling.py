"""The readiness machine, alone, under a clock that the test turns."""

from __future__ import annotations

import pytest

from filemill.intake.settle import MAX_RECHECK, Lease, Look, Settler, Verdict, Waiting
from filemill.model.files import Identity
from filemill.ports.source import Proof, Sighting, SourceSettings

SETTINGS = SourceSettings(name="in", root=b"/in", settle=0.5, settle_unproven=10.0)
A, B = Identity(1, 2, 3, 4), Identity(1, 2, 5, 6)


class TurnedClock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def wall_ns(self) -> int:
        return int(self.now * 1e9)


@pytest.fixture
def clock():
    return TurnedClock()


@pytest.fixture
def settler(clock):
    return Settler({"in": SETTINGS}, clock)


def sight(settler: Settler, proof: Proof, path: bytes = b"/in/a") -> None:
    settler.sight([Sighting("in", path, path[4:], proof)])


def only(settler: Settler) -> Waiting:
    (waiting,) = settler.take(10)
    return waiting


def test_renamed_in_is_ready_at_once(settler):
    sight(settler, Proof.RENAMED)
    assert settler.judge(only(settler), Look(A, Lease.FREE)) is Verdict.READY


def test_renamed_in_but_held_open_waits(settler):
    sight(settler, Proof.RENAMED)
    assert settler.judge(only(settler), Look(A, Lease.BUSY)) is Verdict.WAIT


def test_closed_is_looked_at_after_settle_and_then_ready(settler, clock):
    sight(settler, Proof.CLOSED)
    assert settler.take(10) == []
    assert settler.next_due() == clock.now + 0.5
    clock.now += 0.5
    assert settler.judge(only(settler), Look(A, Lease.FREE)) is Verdict.READY


def test_closed_again_starts_over(settler, clock):
    sight(settler, Proof.CLOSED)
    clock.now += 0.4
    sight(settler, Proof.CLOSED)
    clock.now += 0.4
    assert settler.take(10) == []
    clock.now += 0.1
    assert len(settler.take(10)) == 1


def test_closed_without_lease_needs_a_quiet_inode_or_two_looks(settler, clock):
    sight(settler, Proof.CLOSED)
    clock.now += 0.5
    waiting = only(settler)
    assert settler.judge(waiting, Look(A, Lease.UNKNOWN, untouched=0.1)) is Verdict.WAIT
    settler.give_back(waiting, keep=True)
    clock.now += 0.5
    assert settler.judge(only(settler), Look(A, Lease.UNKNOWN, untouched=0.1)) is Verdict.READY


def test_unproven_without_lease_waits_for_settle_unproven(settler, clock):
    sight(settler, Proof.NONE)
    waiting = only(settler)
    assert settler.judge(waiting, Look(A, Lease.UNKNOWN, untouched=9999)) is Verdict.WAIT
    assert waiting.due == clock.now + 10
    settler.give_back(waiting, keep=True)
    clock.now += 10
    assert settler.judge(only(settler), Look(A, Lease.UNKNOWN)) is Verdict.READY


def test_unproven_that_changed_between_looks_starts_over(settler, clock):
    sight(settler, Proof.NONE)
    waiting = only(settler)
    settler.judge(waiting, Look(A, Lease.UNKNOWN))
    clock.now += 10
    assert settler.judge(waiting, Look(B, Lease.UNKNOWN)) is Verdict.WAIT
    assert waiting.due == clock.now + 10


def test_unproven_and_nobody_writes_is_ready_when_the_inode_is_quiet(settler, clock):
    sight(settler, Proof.NONE)
    waiting = only(settler)
    assert settler.judge(waiting, Look(A, Lease.FREE, untouched=0.2)) is Verdict.WAIT
    assert waiting.due == pytest.approx(clock.now + 0.3)
    assert settler.judge(waiting, Look(A, Lease.FREE, untouched=0.5)) is Verdict.READY


def test_a_busy_file_is_looked_at_less_and_less_often_and_wakes_when_closed(settler, clock):
    sight(settler, Proof.CLOSED)
    clock.now += 1
    waits = []
    for _ in range(30):
        waiting = only(settler)
        assert settler.judge(waiting, Look(A, Lease.BUSY)) is Verdict.WAIT
        waits.append(waiting.due - clock.now)
        settler.give_back(waiting, keep=True)
        clock.now = waiting.due
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(MAX_RECHECK)
    waiting = only(settler)
    settler.judge(waiting, Look(A, Lease.BUSY))
    settler.give_back(waiting, keep=True)
    sight(settler, Proof.CLOSED)
    clock.now += 0.5
    assert settler.judge(only(settler), Look(A, Lease.FREE)) is Verdict.READY


def test_a_sighting_during_the_claim_counts_afterwards(settler):
    sight(settler, Proof.RENAMED)
    first = only(settler)
    sight(settler, Proof.RENAMED)
    assert settler.take(10) == []
    settler.give_back(first, keep=False)
    assert only(settler).sighting.path == b"/in/a"


def test_many_sightings_of_one_path_are_one_file(settler):
    for proof in (Proof.NONE, Proof.CLOSED, Proof.RENAMED, Proof.RENAMED, Proof.NONE):
        sight(settler, proof)
    assert len(settler) == 1
    assert len(settler.take(10)) == 1
    assert settler.take(10) == []


def test_gone_and_refused(settler):
    sight(settler, Proof.NONE)
    waiting = only(settler)
    assert settler.judge(waiting, Look()) is Verdict.GONE
    assert settler.judge(waiting, Look(refused="a FIFO")) is Verdict.REFUSED
    settler.give_back(waiting, keep=False)
    assert len(settler) == 0


def test_trouble_waits_longer_each_time(settler, clock):
    sight(settler, Proof.RENAMED)
    waits = []
    for _ in range(12):
        waiting = only(settler)
        assert settler.judge(waiting, Look(trouble=OSError(24, "x"))) is Verdict.WAIT
        waits.append(waiting.due - clock.now)
        settler.give_back(waiting, keep=True)
        clock.now = waiting.due
    assert waits[0] == 0.5
    assert waits[-1] == 60.0
