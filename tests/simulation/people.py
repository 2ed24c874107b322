"""Those around the server: senders who bring files, and people who ask for things."""

from __future__ import annotations

import asyncio
import os
import random
from typing import Any

import apsw

from filemill.model.deeds import Chosen, Redrive, Release, Replay
from filemill.model.errors import FilemillError
from filemill.service import acts
from filemill.service.answering import Answering
from filemill.service.server import Server
from simulation.machine import SimulatedMachine
from simulation.world import Input


class Senders:
    """Bring the files, one by one, whatever becomes of the server; each makes its file durable."""

    def __init__(
        self, machine: SimulatedMachine, inputs: list[Input], chance: random.Random
    ) -> None:
        self._machine = machine
        self._chance = chance
        self.left = list(inputs)
        self._root = os.fsdecode(machine.disk.root)
        self._open: tuple[Input, int, bytes] | None = None

    async def bring(self) -> None:
        while self.left:
            each = self.left[0]
            await asyncio.sleep(max(0.0, each.at - self._machine.clock.monotonic()))
            path = f"{self._root}/{each.source}/{each.name}"
            os.makedirs(os.path.dirname(path), exist_ok=True)
            self._machine.tell("sender", f"{each.how} {each.source}/{each.name}")
            if each.how == "slow":
                await self._slowly(each, path)
            else:
                self._at_once(each, path)
            self.left.pop(0)

    def _at_once(self, each: Input, path: str) -> None:
        first = path
        if each.how in ("rename", "link"):
            first = f"{self._root}/{'sender' if each.how == 'rename' else 'elsewhere'}/{os.path.basename(path)}"
        with open(first, "w", encoding="utf-8") as file:
            file.write(each.text)
        if each.how == "rename":
            os.rename(first, path)
        if each.how == "link":
            os.link(first, path)
            self._machine.disk.settle(os.fsencode(first))
        self._machine.disk.settle(os.fsencode(path))

    async def _slowly(self, each: Input, path: str) -> None:
        data = each.text.encode()
        half = len(data) // 2
        out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(out, data[:half])
        self._open = (each, out, data[half:])
        await asyncio.sleep(self._chance.choice((0.1, 1.0, 5.0)))
        self._finish(path)

    def _finish(self, path: str) -> None:
        assert self._open is not None
        _, out, rest = self._open
        os.write(out, rest)
        os.close(out)
        self._open = None
        self._machine.disk.settle(os.fsencode(path))

    def after_death(self, *, power: bool) -> None:
        """A killed server does not hinder a sender; without power it has to begin this file anew."""
        if self._open is None:
            return
        each, out, _ = self._open
        path = f"{self._root}/{each.source}/{each.name}"
        if power:
            os.close(out)
            self._open = None
            if os.path.exists(path):
                os.unlink(path)
        else:
            self._finish(path)
            self.left.pop(0)


class People:
    """Ask a running server for what its state allows, now and then."""

    def __init__(self, machine: SimulatedMachine, chance: random.Random) -> None:
        self._machine = machine
        self._chance = chance
        self.touched: set[str] = set()
        """Runs whose end is not only their own any more."""
        self.replays = 0
        """Asked for, whether they were done or not."""

    async def meddle(self, server: Server) -> None:
        """Forever."""
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / 5.0))
            act = self._choice(server)
            if act is not None:
                await self.ask(server, act)

    async def ask(self, server: Server, act: acts.Request) -> Any:
        answering = Answering(
            server.parts,
            server.plan,
            clock=server.clock,
            durable=server._durable,
            calm=server._calm,
            meter=server._meter,
            reload=None,
            drain=None,
        )
        try:
            done = await answering.perform(act, "somebody")
        except FilemillError as error:
            done = type(error).__name__
        self._machine.tell("people", f"{type(act).__name__} {done}")
        return done

    def _choice(self, server: Server) -> acts.Act | None:
        word = self._chance.choice(("redrive", "release", "replay", "cancel", "discard", "pause"))
        if word == "pause":
            names = tuple(p.name for p in server.plan.pipelines)
            one = (self._chance.choice(names),)
            return self._chance.choice(
                (acts.PausePipelines(pipelines=one), acts.ResumePipelines(pipelines=names))
            )
        states = {
            "redrive": ("dead",),
            "release": ("held",),
            "replay": ("done",),
            "cancel": ("queued", "running", "retrying"),
            "discard": ("dead", "held"),
        }[word]
        found = [run for run in runs_of(server) if run[2] in states]
        if not found or self._chance.random() < 0.3:
            return None
        run, fence, _ = self._chance.choice(found)
        if word == "redrive":
            return acts.RedriveRuns(runs=(Redrive(run, fence, self._chance.random() < 0.5),))
        if word == "release":
            return acts.ReleaseRuns(runs=(Release(run, fence),))
        if word == "replay":
            self.replays += 1
            new = self._machine.ids.new()
            return acts.ReplayRuns(runs=(Replay(run, new, server.plan.revision),))
        self.touched.add(run)
        chosen = (Chosen(run, fence),)
        return acts.CancelRuns(runs=chosen) if word == "cancel" else acts.DiscardRuns(runs=chosen)


def runs_of(server: Server) -> list[tuple[str, int, str]]:
    """(id, fence, state) of all runs, as a command reads them."""
    return _read(server, "SELECT id, fence, state FROM run ORDER BY no")


def files_held(server: Server) -> list[tuple[str, str]]:
    """(id, name) of the files that wait for a person."""
    query = "SELECT id, CAST(relative AS TEXT) FROM file WHERE state = 'held' ORDER BY no"
    return _read(server, query)


def taken(server: Server) -> set[tuple[str, str]]:
    """(source, name) of every file that is acknowledged."""
    query = "SELECT source, CAST(relative AS TEXT) FROM file WHERE ingested_ns IS NOT NULL"
    return set(_read(server, query))


def _read(server: Server, query: str) -> list[Any]:
    db = apsw.Connection(f"{server.plan.data}/ledger.db", flags=apsw.SQLITE_OPEN_READONLY)
    try:
        db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        return db.execute(query).fetchall()
    finally:
        db.close()
