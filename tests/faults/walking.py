"""Walks over the durable actions of a run: each of them fails once, until there is none left that has not."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Collection, Sequence

TOGETHER = 6
"""Faults in one run."""
MOST = 2_000
LEGS = 4
"""Of a long walk: four that go side by side."""


def half(leg: int) -> tuple[int, int]:
    """One of eight legs and how many legs there are, so that all `LEGS` together take every other action or so.

    Which ones is a matter of chance, and differs from run to run. `FILEMILL_WHOLE=1` takes them all.
    """
    if os.environ.get("FILEMILL_WHOLE"):
        return leg, LEGS
    seed = int(os.environ.get("FILEMILL_SEED", str(random.randrange(1 << 30))))
    print(f"seed {seed}")
    return leg + LEGS * random.Random(seed).randrange(2), 2 * LEGS


def rules(pattern: str, numbers: Sequence[int], action: str) -> str:
    """What makes `FILEMILL_FAIL` fail these."""
    return ",".join(f"{pattern}:{number}:{action}" for number in numbers)


def walk(
    strike: Callable[[Sequence[int]], Collection[int]],
    *,
    apart: int = 0,
    leg: int = 0,
    legs: int = 1,
) -> int:
    """Have action 1, 2, ... fail until a run comes to its end without; how many there are.

    Of several legs, which together make the walk, each takes every so manieth action and can go beside the others;
    by then it has not seen the last ones, and counts up to `legs - 1` too many.

    `strike` lets faults strike at some actions of one run and answers with those at which they did. With `apart`
    several strike in one run, each at least so many actions behind the one before: what a run does about one it has
    done when the next comes. Where a fault ends the run, those behind it strike in a later one.

    Raises:
        AssertionError: the program never runs out of actions.
    """
    struck: set[int] = set()
    number, runs = 1 + leg, 0
    while number < MOST:
        chain = [number]
        while apart and len(chain) < TOGETHER:
            following = chain[-1] + -(-apart // legs) * legs
            while following in struck:
                following += legs
            chain.append(following)
        fired = set(strike(chain))
        runs += 1
        if number not in fired:
            print(f"{len(struck)} actions of {number - 1} in {runs} runs")
            return number - 1
        struck |= fired
        while number in struck:
            number += legs
    raise AssertionError("the program never runs out of actions")
