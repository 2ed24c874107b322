"""Revisions put to work: a plan becomes workers and sinks, the current one as well as an older one from the ledger."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping

import msgspec

from filemill.config.recalling import recall
from filemill.config.stored import modules_of, read_stored
from filemill.durable import Durable
from filemill.engine.chunking import ChunkedRuns
from filemill.engine.serving import Revisions, Served
from filemill.engine.slots import Limits, Numbers
from filemill.engine.supervisor import WorkerPool
from filemill.engine.trouble import Trouble
from filemill.model.errors import FilemillError, PermanentError
from filemill.model.events import Emit
from filemill.model.plan import Plan
from filemill.ports.ledger import Ledger
from filemill.ports.registry import Registry
from filemill.ports.sink import Sink
from filemill.service.building import build_sink
from filemill.service.children import describe
from filemill.service.encrypting import identity_of
from filemill.service.machine import Machine


class Workshop:
    """Builds what a revision works with. `home` is the current plan: data, folder and workers come from it."""

    def __init__(
        self,
        *,
        plan: Plan,
        ledger: Ledger,
        registry: Registry,
        durable: Durable,
        trouble: Trouble,
        machine: Machine,
        emit: Emit,
        stopping: Callable[[], bool],
    ) -> None:
        self.pages = os.path.join(os.fsencode(plan.scratch), b"workers")
        self.home = plan
        self._ledger = ledger
        self._registry = registry
        self._durable = durable
        self._trouble = trouble
        self._machine = machine
        self._emit = emit
        self._stopping = stopping
        self._numbers = Numbers()
        self._sinks: list[tuple[str, msgspec.Struct, Sink]] = []
        """(time zone, plan, sink) of every sink built: the same one is built once, whatever revisions have it."""
        self.revisions = Revisions(self.reopen, self.sinks_again)

    def sinks(self, plan: Plan) -> dict[str, Sink]:
        """The server's half of every sink of a plan, by name, ready for use.

        Raises:
            UsageError: a sink's place cannot be used.
        """
        found: dict[str, Sink] = {}
        for each in plan.sinks:
            known = [s for zone, p, s in self._sinks if zone == plan.timezone and p == each]
            if known:
                found[each.name] = known[0]
                continue
            sink = build_sink(each, plan, self._registry, self._durable)
            sink.prepare()
            self._sinks.append((plan.timezone, each, sink))
            found[each.name] = sink
        return found

    def serve(self, plan: Plan, sinks: Mapping[str, Sink], workers: int = 0) -> Served:
        """A revision with its pool of workers, not yet started; so many at most, if not as many as the plan says."""
        pool = self._pool(plan, Limits(workers or plan.workers))
        chunked = ChunkedRuns(
            plan=plan,
            ledger=self._ledger,
            pool=pool,
            sinks=sinks,
            trouble=self._trouble,
            clock=self._machine.clock,
            emit=self._emit,
            stopping=self._stopping,
        )
        return Served(plan, pool, sinks, chunked)

    def scan_pool(self, plan: Plan) -> WorkerPool:
        """The one worker that scans for a plan, not yet started."""
        return self._pool(plan, Limits(1))

    def _pool(self, plan: Plan, limits: Limits) -> WorkerPool:
        """Workers for one plan, who can read its content."""
        pool = self._machine.pool(plan, self.pages, limits, self._emit, self._numbers)
        if plan.encryption is not None:
            pool.identity = identity_of(plan.encryption)
        return pool

    async def reopen(self, number: int) -> Served:
        """An older revision at work again, with half the workers: it stands beside the current one.

        Raises:
            PermanentError: it cannot be made any more, with help.
            SystemFault: no worker can be started.
        """
        plan = await self._recalled(number)
        sinks = await asyncio.to_thread(self.sinks, plan)
        served = self.serve(plan, sinks, max(1, self.home.workers // 2))
        try:
            await served.pool.start()
        except BaseException:
            await served.pool.stop()
            raise
        return served

    async def sinks_again(self, number: int) -> Mapping[str, Sink]:
        """The sinks of an older revision.

        Raises:
            FilemillError: they cannot be made any more.
        """
        return await asyncio.to_thread(self.sinks, await self._recalled(number))

    async def _recalled(self, number: int) -> Plan:
        kept = await self._ledger.revision_text(number)
        if kept is None:
            raise PermanentError(f"the ledger has no revision {number}")
        stored = read_stored(kept[1])
        home = self.home
        plan = await asyncio.to_thread(
            recall,
            stored,
            home=home.root,
            data=home.data,
            environ=os.environ,
            registry=self._registry,
            describe=describe,
            revision=number,
        )
        return msgspec.structs.replace(
            plan,
            durability=home.durability,
            encryption=home.encryption,
            modules=modules_of(stored),
        )


def with_modules(plan: Plan, number: int, text: str) -> Plan:
    """The plan of a revision under its number, its users' modules fixed as its text has them."""
    try:
        modules = modules_of(read_stored(text))
    except (
        FilemillError
    ):  # written by hand, as in tests: workers import what lies beside the configuration
        modules = {}
    return msgspec.structs.replace(plan, revision=number, modules=modules)
