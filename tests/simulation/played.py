"""What a user's step does in the simulated world: it may ask for another try, or take its worker with it."""

from __future__ import annotations

from collections import Counter

from filemill.model.errors import Retry
from simulation.actions import WorkerEnd

MET: Counter[str] = Counter()
"""How often each line that makes trouble was met; emptied for each seed."""


def meet(line: str) -> None:
    """`flaky 2 ...` fails twice, `crash 1 ...` ends its worker once."""
    word, _, rest = line.partition(" ")
    if word not in ("flaky", "crash"):
        return
    MET[line] += 1
    if MET[line] > int(rest.partition(" ")[0]):
        return
    if word == "crash":
        raise WorkerEnd
    raise Retry("not yet")
