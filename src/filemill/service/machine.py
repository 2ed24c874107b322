"""What a server takes from the machine it runs on: time, ids, chance, the disk, the ledger's writer, processes.

One object, given to the server, so that a simulation can stand in for all of it at once (`docs/simulation.md`).
"""

from __future__ import annotations

import random

from filemill.durable import Durable, Failpoints
from filemill.durable.barrier import barrier_of
from filemill.engine.slots import Limits, Numbers
from filemill.engine.supervisor import WorkerPool
from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.ledgers.sqlite.reserve import Reserve
from filemill.model.events import Emit
from filemill.model.plan import Plan
from filemill.ports.clock import Clock, Ids, RandomIds, SystemClock


class Machine:
    """The real one: the system's clocks, random ids, real syncs, worker processes."""

    def __init__(self) -> None:
        self.clock: Clock = SystemClock()
        self.ids: Ids = RandomIds()
        self.chance = random.Random()  # noqa: S311 -- jitter, not secrets

    def durable(self, data: str, *, sync: bool) -> Durable:
        """The server's durable actions, as what is remembered in the data directory says it is done best."""
        failpoints = Failpoints.from_environment("server")
        return Durable(failpoints, sync=sync, barrier=barrier_of(data, failpoints))

    async def ledger(self, path: str, durable: Durable, reserve: Reserve) -> SqliteLedger:
        """The ledger in the file at `path`; raises as `SqliteLedger.open`."""
        return await SqliteLedger.open(path, durable=durable, clock=self.clock, reserve=reserve)

    def pool(
        self, plan: Plan, folder: bytes, limits: Limits, emit: Emit, numbers: Numbers
    ) -> WorkerPool:
        """Workers for one plan, with their pages in `folder`; not yet started."""
        return WorkerPool(plan, folder, limits, self.clock, emit, numbers)
