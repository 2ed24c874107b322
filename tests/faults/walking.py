"""Walks over the durable actions of a run: each of them fails once, until there is none left that has not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

TOGETHER = 6
"""Faults in one run."""
MOST = 2_000


def rules(pattern: str, numbers: Sequence[int], action: str) -> str:
    """What makes `FILEMILL_FAIL` fail these."""
    return ",".join(f"{pattern}:{number}:{action}" for number in numbers)


def walk(strike: Callable[[Sequence[int]], Collection[int]], *, apart: int = 0) -> int:
    """Have action 1, 2, ... fail until a run comes to its end without; how many did.

    `strike` lets faults strike at some actions of one run and answers with those at which they did. With `apart`
    several strike in one run, each at least so many actions behind the one before: what a run does about one it has
    done when the next comes. Where a fault ends the run, those behind it strike in a later one.

    Raises:
        AssertionError: the program never runs out of actions.
    """
    struck: set[int] = set()
    number, runs = 1, 0
    while number < MOST:
        chain = [number]
        while apart and len(chain) < TOGETHER:
            following = chain[-1] + apart
            while following in struck:
                following += 1
            chain.append(following)
        fired = set(strike(chain))
        runs += 1
        if number not in fired:
            print(f"{number - 1} actions in {runs} runs")
            return number - 1
        struck |= fired
        while number in struck:
            number += 1
    raise AssertionError("the program never runs out of actions")
