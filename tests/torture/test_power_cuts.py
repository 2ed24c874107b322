"""Power cuts under load and pictures of disks under load, by the hundred, and a cut at every durable action."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import boxes
import covered
import pytest
import scenario
from cutting import World, cut_under_load, finish
from machine import Machine
from picturing import judge_pictures
from program import Program
from recorded import Recorded
from walking import LEGS, half, walk

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(3_000)]
PICTURES = 40
"""In each of three worlds."""


def _cuts(machine: Machine, start: Callable[..., Program]) -> None:
    # Not in chunks: who takes longer than the time between two cuts is given up after so many interruptions.
    world = World(machine, files=1_500, chunked=False)
    assert cut_under_load(world, start, cuts=50) == []
    assert finish(world, start) == []


def test_fifty_power_cuts_under_load(machine: Machine, start: Callable[..., Program]) -> None:
    _cuts(machine, start)


def test_fifty_power_cuts_of_which_any_part_is_kept(
    recorded: Recorded, start: Callable[..., Program]
) -> None:
    """Each life begins with what the cut before left of the disks' caches."""
    _cuts(recorded, start)


@pytest.mark.parametrize("world", range(3))
def test_forty_pictures_taken_under_load(
    recorded: Recorded,
    start: Callable[..., Program],
    record_property: Callable[[str, object], None],
    world: int,
) -> None:
    judged = judge_pictures(recorded, start, PICTURES)
    record_property("seed", judged.seed)
    record_property("pictures", judged.pictures)
    record_property("with work in flight", judged.in_flight)
    record_property("with blocks that were not flushed", judged.unflushed)
    assert judged.wrong == [], f"world {world}, seed {judged.seed}"
    assert judged.pictures == PICTURES
    assert judged.in_flight > PICTURES // 4, "pictures must be taken while work is in flight"
    assert judged.unflushed > PICTURES // 10, "pictures must be taken while disks are written to"


def _walk(
    strike_power: Callable[[Machine, str], bool],
    machine: Machine,
    role: str,
    leg: tuple[int, int],
    record_property: Callable[[str, object], None],
) -> int:
    def strike(numbers: Sequence[int]) -> Sequence[int]:
        return numbers if strike_power(machine, f"{role}:{numbers[0]}") else ()

    walked = walk(strike, leg=leg[0], legs=leg[1])
    record_property("actions walked", walked)
    return walked


@pytest.mark.parametrize("leg", range(LEGS))
@pytest.mark.parametrize("role", ["server.*", "worker.*"])
def test_the_power_goes_just_before_every_action(
    machine: Machine, role: str, leg: int, record_property: Callable[[str, object], None]
) -> None:
    walked = _walk(scenario.strike_power, machine, role, (leg, LEGS), record_property)
    assert walked >= covered.least(role)


@pytest.mark.parametrize("leg", range(LEGS))
@pytest.mark.parametrize("role", ["server.*", "worker.*"])
def test_children_of_files_survive_a_power_cut_at_every_action(
    machine: Machine, role: str, leg: int, record_property: Callable[[str, object], None]
) -> None:
    assert _walk(boxes.strike_power, machine, role, half(leg), record_property) > 20
