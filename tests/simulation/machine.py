"""The machine that a simulated server stands on: it decides when something fails, and writes down all that happens."""

from __future__ import annotations

import errno
import os
import random
from dataclasses import dataclass
from typing import Any

from filemill.durable import Durable, InjectedFault
from filemill.engine import frames
from filemill.engine.dispatching import as_staged
from filemill.engine.revealing import Staged
from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.ledgers.sqlite.reserve import Reserve
from filemill.service.machine import Machine
from filemill.testing.clock import FakeClock
from simulation.actions import Cut, SimulatedDurable, WorkerEnd
from simulation.disk import Disk
from simulation.ledger import SimulatedWriter
from simulation.loop import Loop
from simulation.pool import SimulatedPool

EPOCH = 1_735_689_600 * 10**9
"""2025: before any file of a test was made, so that no real time stamp looks old."""
FATES = ("dies", "dies", "hangs", "late")
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


class SeededIds:
    """Ids of the real shape."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def new(self) -> str:
        return "".join(self._chance.choices(_LETTERS, k=13))


@dataclass
class Strikes:
    """What fails in one life, and how it ends."""

    end: str = "calm"
    """kill, power, drain, stop, or calm (it goes on until all is at rest)."""
    at_action: int = 0
    """The action at which it is killed or cut, counted among those of one `name`; 0: at a moment."""
    name: str = "*"
    behind: bool = False
    """Just behind the action, not before it; of a commit: within."""
    after: float = 60.0
    """Seconds from its start at which it ends, if it was not struck before."""
    errors: float = 0.0
    """Of each durable action, the chance that it fails."""
    code: int = errno.EIO
    deaths: float = 0.0
    """Of each job, the chance that its worker dies or hangs; of each of a worker's actions, a tenth of it."""
    unknown: float = 0.0
    """Of each commit, the chance that it is made and said to have failed."""


@dataclass
class Control:
    """A guarantee that is broken on purpose."""

    skips: frozenset[str] = frozenset()
    """Actions (`role.name`) that are pretended."""
    normal: bool = False
    """Commits are not synced."""
    aim: Strikes | None = None
    """What strikes in every life, so that few seeds are enough to see it; of `at_action`, up to as many are chosen."""
    late: bool = False
    """Workers that are given up always answer in the end."""


class SimulatedMachine(Machine):
    """One machine for all lives of a seed."""

    def __init__(self, root: bytes, seed: int, control: Control) -> None:
        self.fake = FakeClock(EPOCH)
        self.clock = self.fake
        self.chance = random.Random(f"{seed} happens")
        self.ids = SeededIds(random.Random(f"{seed} ids"))
        self.disk = Disk(root, random.Random(f"{seed} disk"))
        self.control = control
        self.strikes = Strikes()
        self.actions = 0
        self._is_named = False
        self.lives = 0
        self.late: dict[str, tuple[int, Staged]] = {}
        """By run: in which life a worker was given up, and what it has made of it all the same."""
        self.over = ""
        """How the life ended that is over."""
        self.trace: list[str] = []
        self.writer: SimulatedWriter | None = None
        self.loop: Loop | None = None
        self.server: Any = None
        self.charged = 0
        """Jobs that ended with their worker."""

    # -- what the server takes --------------------------------------------------------------------

    def durable(self, data: str, *, sync: bool) -> Durable:
        return SimulatedDurable("server", self.disk, self, sync=sync)

    async def ledger(self, path: str, durable: Durable, reserve: Reserve) -> SqliteLedger:
        return await SqliteLedger.open(
            path, durable=durable, clock=self.clock, reserve=reserve, writer=self._write_with
        )

    def _write_with(self, db: Any, durable: Durable, reserve: Reserve | None) -> SimulatedWriter:
        if self.control.normal:
            db.pragma("synchronous", "normal")
        self.writer = SimulatedWriter(
            db,
            durable,
            reserve,
            chance=self.chance,
            strikes=self._strikes_commit,
            cut=self.cut,
            after=lambda: self.after("server", "commit"),
        )
        return self.writer

    def pool(self, *given: Any) -> SimulatedPool:
        plan, folder, limits, emit, numbers = given
        return SimulatedPool(plan, folder, limits, self.clock, emit, numbers, machine=self)

    # -- what strikes -----------------------------------------------------------------------------

    def begin(self, loop: Loop, strikes: Strikes) -> None:
        """A life begins."""
        self.loop, self.strikes = loop, strikes
        self.actions, self.over = 0, ""
        self.lives += 1
        self.writer = None
        self.tell("life", f"{strikes}")

    def before(self, role: str, name: str, path: bytes) -> bool:
        if self.over:
            raise Cut
        strikes = self.strikes
        self._is_named = strikes.name in ("*", name)
        self.actions += self._is_named
        self.tell(role, f"{name} {self.short(path)}")
        if self._is_now() and not strikes.behind:
            self.cut()
        if strikes.errors and self.chance.random() < strikes.errors:
            self.tell(role, f"{name} fails")
            raise InjectedFault(strikes.code, f"played at {role}.{name}")
        if role == "worker" and strikes.deaths and self.chance.random() < strikes.deaths / 10:
            self.charged += 1
            raise WorkerEnd
        return f"{role}.{name}" not in self.control.skips

    def after(self, role: str, name: str) -> None:
        if self.over:
            raise Cut
        if self._is_now() and self.strikes.behind:
            self.cut()

    def _is_now(self) -> bool:
        return self._is_named and self.actions == self.strikes.at_action

    def _strikes_commit(self) -> str:
        """What strikes within a commit."""
        if self.over:
            raise Cut
        strikes = self.strikes
        if self._is_now() and strikes.behind and strikes.end == "power":
            return "cut"
        if strikes.unknown and self.chance.random() < strikes.unknown:
            self.tell("server", "commit unknown")
            return "unknown"
        return ""

    def strikes_job(self, message: Any) -> str:
        """What becomes of a worker's job."""
        if self.over:
            raise Cut
        if self.strikes.deaths and self.chance.random() < self.strikes.deaths:
            self.charged += 1
            fate = "late" if self.control.late else self.chance.choice(FATES)
            return "dies" if fate == "late" and not isinstance(message, frames.Execute) else fate
        return ""

    def answers_late(self, message: Any, reply: Any) -> None:
        """A worker that was given up has done its work all the same, and its answer comes when nobody wants it.

        The server's own workers cannot: they are dead. One on another machine may.
        """
        pairs = zip(message.orders, reply.results, strict=True)
        for order, result in pairs:
            if result.failure is None and not result.hold:
                self.late[order.run] = (self.lives, as_staged(order, result))

    def runs_again(self, message: Any) -> None:
        """Runs are with a worker: now answers that come late would do harm."""
        for order in getattr(message, "orders", ()):
            life, staged = self.late.get(order.run, (0, None))
            # Of a former life's answer the outputs are swept: taken for this attempt's, it would be an empty one.
            if staged and (
                life < self.lives or (not self.control.late and self.chance.random() < 0.4)
            ):
                del self.late[order.run]
                self.tell("worker", f"answers late {order.run}")
                self.server.parts.publisher.put([staged])

    def strikes_start(self) -> bool:
        """Whether a worker cannot be started now."""
        return bool(self.strikes.deaths) and self.chance.random() < 0.05

    def cut(self) -> None:
        """This life is over, now. Raises Cut."""
        power = self.strikes.end == "power"
        self.over = self.strikes.end
        self.tell("machine", f"{self.over} at action {self.actions}")
        self.disk.image(power=power, ledger=self._ledger_left(power=power))
        for loss in self.disk.losses:
            self.tell("disk", f"lost: {loss}")
        assert self.loop is not None
        self.loop.dead = True
        self.loop.stop()
        raise Cut

    def _ledger_left(self, *, power: bool) -> dict[bytes, bytes]:
        if self.writer is None:
            return {}
        left = self.writer.left(power=power)
        return {os.fsencode(path)[len(self.disk.root) :]: data for path, data in left.items()}

    # -- the trace --------------------------------------------------------------------------------

    def tell(self, who: str, what: str) -> None:
        self.trace.append(f"{self.fake.monotonic():.6f} {who} {what}")

    def short(self, path: bytes) -> str:
        """A path without what differs from run to run."""
        if path.startswith(b"/proc/self/fd/"):
            path = os.path.realpath(path)
        return os.fsdecode(path.removeprefix(self.disk.root + b"/"))
