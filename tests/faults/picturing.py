"""Pictures of disks under load: each one is mounted, started from, and judged to the end.

A life of the program is pictured again and again while it works: what the power would leave if it went just then,
without ever stopping the program. What it had told before a picture is taken must be true in it, and a start from it
must bring everything to its end.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from cutting import CONTROLS, PAUSE, Event, World, finish
from program import Program, wait_for
from recorded import Recorded

FILES = 120
EACH_LIFE = 8
"""Pictures of one life."""


class Picture(NamedTuple):
    """One picture, and what was told before it was taken."""

    number: int
    waiting: int
    """Blocks that the disks had not flushed."""
    told: list[Event]


class Judged(NamedTuple):
    """What was seen in some pictures."""

    seed: int
    pictures: int
    in_flight: int
    """In how many some work was acknowledged and not done."""
    unflushed: int
    """In how many the disks had something that they had not flushed."""
    wrong: list[str]


def judge_pictures(
    machine: Recorded, start: Callable[..., Program], pictures: int, control: str = ""
) -> Judged:
    """Take pictures of lives under load and judge them all, or until something is wrong.

    With a negative control its fault is in the lives that are pictured, and in none that starts from a picture.
    """
    seed = int(os.environ.get("FILEMILL_SEED", str(random.randrange(1 << 30))))
    print(f"seed {seed}")
    chance = random.Random(seed)
    rest: dict[str, object] = dict(CONTROLS.get(control, {}))
    world = World(machine, FILES, str(rest.pop("durability", "power")))
    if entry := rest.get("entry"):
        rest["entry"] = [sys.executable, "-c", entry]
    beginning, _ = machine.picture(0)
    count = in_flight = unflushed = 0
    while count < pictures:
        machine.show(beginning)
        world.rewind([])
        program = world.begin(start, **rest)
        taken = list(_pictures(machine, world, chance, min(EACH_LIFE, pictures - count)))
        machine.cut(program.process)
        for picture in taken:
            machine.show(picture.number)
            world.rewind(picture.told)
            wrong = world.broken_promises() or finish(world, start)
            count += 1
            unflushed += picture.waiting > 0
            events = [each.get("event") for each in picture.told]
            in_flight += events.count("FileIngested") > events.count("RunFinished")
            if wrong:
                return Judged(
                    seed, count, in_flight, unflushed, [f"picture {count}: {w}" for w in wrong]
                )
            machine.forget(picture.number)
    return Judged(seed, count, in_flight, unflushed, [])


def _pictures(
    machine: Recorded, world: World, chance: random.Random, number: int
) -> Iterator[Picture]:
    """Drop all files, and take pictures while they are worked on."""
    dropping = threading.Thread(
        target=world.drop, args=(range(world.files), time.monotonic() + 60), name="sender"
    )
    dropping.start()
    wait_for(lambda: bool(world.told("FileIngested")), 20)
    for _ in range(number):
        time.sleep(chance.uniform(0, 2 * world.files * PAUSE / number))
        told = world.all_told()
        yield Picture(*machine.picture(chance.randrange(1 << 30)), told)
    dropping.join()
