"""Playing one seed: lives of a server that end as the seed says, one without any fault, and the judgement."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import fcntl
import functools
import gc
import os
import random
import sys
import traceback
import types
from collections.abc import Coroutine
from typing import Any

import msgspec

from filemill.config.loading import load
from filemill.engine.description import answer
from filemill.model import events as e
from filemill.model.deeds import Redrive, Release
from filemill.model.errors import FilemillError
from filemill.model.plan import Plan, WebPlan
from filemill.ports.registry import Registry
from filemill.service import acts
from filemill.service.server import Revision, Server
from filemill.steps import calls
from simulation import judge, played, world
from simulation.actions import Cut
from simulation.loop import Loop, Stalled
from simulation.machine import Control, SimulatedMachine, Strikes
from simulation.people import People, Senders, files_held, runs_of, taken

PLACE = "/dev/shm/filemill-simulation"
CONVERGES = 1_800.0
"""Simulated seconds that the last life may take: retries, and a breaker's pauses."""
REGISTRY = Registry()
NAMES = ("commit", "rename", "unlink", "sync_directory", "sync_file", "sync_group")


class Played(msgspec.Struct):
    """One seed's end."""

    seed: int
    wrong: list[str]
    trace: list[str]


@functools.cache
def compiled() -> tuple[bytes, str, str]:
    """(plan, digest, text) of the world's configuration, in the folder of seed 0."""
    root = root_of(0)
    world.build(os.fsencode(root))
    sys.path.insert(0, root)
    loaded = load(
        f"{root}/filemill.yaml", registry=REGISTRY, describe=answer, environ={"HOME": root}
    )
    calls.time = types.SimpleNamespace(
        sleep=lambda _: None
    )  # a step's own tries are not waited for
    plan = msgspec.structs.replace(
        loaded.plan,
        chunk_size=world.CHUNK,
        reserve=world.RESERVE,
        web=WebPlan(),  # ports are the machine's, not the world's
    )
    return msgspec.msgpack.encode(plan), loaded.digest, loaded.text


def root_of(seed: int) -> str:
    """All of one length, so that one plan serves all."""
    return f"{PLACE}/{seed:010}"


def plan_for(seed: int) -> tuple[Plan, Revision]:
    data, digest, text = compiled()
    data = data.replace(root_of(0).encode(), root_of(seed).encode())
    return msgspec.msgpack.decode(data, type=Plan), Revision(digest, text)


def play(seed: int, control: Control | None = None) -> Played:
    """Play a seed; nothing of it is left."""
    os.makedirs(PLACE, exist_ok=True)
    plan, revision = plan_for(seed)
    with open(f"{PLACE}/lock-{seed % 100:02}", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        played.MET.clear()
        one = _Play(seed, plan, revision, control or Control())
        try:
            wrong = one.run()
        except (Stalled, AssertionError) as error:
            wrong = [f"{type(error).__name__}: {error}", *traceback.format_exc().splitlines()[-6:]]
        finally:
            one.machine.disk.close()
    return Played(seed, wrong, one.machine.trace)


def plan_lives(chance: random.Random) -> list[Strikes]:
    """What strikes in each life of a seed but the last."""
    return [_strikes(chance) for _ in range(chance.choice((1, 1, 2, 2, 3, 4)))]


def _strikes(chance: random.Random) -> Strikes:
    strikes = Strikes(chance.choice(("kill", "kill", "power", "power", "power", "drain", "stop")))
    strikes.after = chance.choice((0.5, 3.0, 10.0, 60.0)) * chance.uniform(0.2, 1.5)
    if strikes.end in ("kill", "power") and chance.random() < 0.8:
        strikes.name = chance.choice(("*", "*", *NAMES))
        most = chance.choice((20, 80, 250)) if strikes.name == "*" else chance.choice((4, 12, 40))
        strikes.at_action = chance.randint(1, most)
        strikes.behind = chance.random() < 0.5
    if chance.random() < 0.3:
        strikes.errors = chance.choice((0.01, 0.05, 0.3))
        strikes.code = chance.choice((errno.EIO, errno.ENOSPC))
    if chance.random() < 0.3:
        strikes.deaths = chance.choice((0.05, 0.3))
    if chance.random() < 0.1:
        strikes.unknown = 0.05
    return strikes


def _aimed(at: Strikes, chance: random.Random) -> Strikes:
    """The same, with an action chosen up to the one that is named; the first six of a life only try sinks out."""
    strikes = dataclasses.replace(at)
    if at.at_action:
        strikes.at_action = chance.randint(7, at.at_action)
    return strikes


class _Play:
    """One seed under way."""

    def __init__(self, seed: int, plan: Plan, revision: Revision, control: Control) -> None:
        self.plan, self.revision = plan, revision
        chance = random.Random(f"{seed} script")
        self.inputs = world.arrivals(chance)
        self.lives = plan_lives(chance)
        if control.aim is not None:
            self.lives = [_aimed(control.aim, chance) for _ in range(2)]
        self.machine = SimulatedMachine(os.fsencode(plan.root), seed, control)
        world.build(os.fsencode(plan.root))
        self.machine.disk.all_sure()
        self.senders = Senders(self.machine, self.inputs, random.Random(f"{seed} senders"))
        self.people = People(self.machine, random.Random(f"{seed} people"))
        self.meddles = chance.random() < 0.5
        self.told = judge.Told()
        self.wrong: list[str] = []

    def run(self) -> list[str]:
        for strikes in self.lives:
            self._life(strikes, self._struck)
            if self.wrong:
                return self.wrong
        self._life(Strikes(), self._calm)
        if not self.wrong:
            self.wrong += judge.judge(self.plan, self.inputs, self.told, self.people, self.machine)
        return self.wrong

    def _life(self, strikes: Strikes, course: Any) -> None:
        machine = self.machine
        loop = Loop(machine.fake, machine.chance)
        machine.begin(loop, strikes)
        server = machine.server = Server(self.plan, self.revision, REGISTRY, self._emit, machine)
        asyncio.set_event_loop(loop)
        main = loop.create_task(course(server))
        main.add_done_callback(lambda _: machine.over or loop.stop())
        loop.run_forever()
        if machine.over:
            self._unwind(loop, server)
            machine.disk.switch(power=machine.over == "power")
            self.senders.after_death(power=machine.over == "power")
            self.wrong += judge.after_death(self.plan, self.inputs, self.told)
        else:
            left = [task for task in asyncio.all_tasks(loop) if not task.done()]
            self._cancel(loop, left)
            self.senders.after_death(power=False)
            if main.exception() is not None:
                error = main.exception()
                self.wrong += [
                    f"a life ended by {error!r}",
                    *traceback.format_exception(error)[-4:],
                ]
        self.wrong += loop.defects
        asyncio.set_event_loop(None)
        loop.close()

    def _unwind(self, loop: Loop, server: Server) -> None:
        """Take the dead process apart: whatever it still does, it does to what nobody will see."""
        self._cancel(loop, list(asyncio.all_tasks(loop)))
        for stack in (server._watching, server._closing):
            self._do(loop, stack.aclose())
        self._cancel(loop, list(asyncio.all_tasks(loop)))
        if self.machine.writer is not None:
            self.machine.writer.abandon()
        loop.defects.clear()

    def _cancel(self, loop: Loop, tasks: list[asyncio.Task[Any]]) -> None:
        for task in sorted(tasks, key=hash):
            task.cancel()
        if tasks:
            self._do(loop, _gather(tasks))

    @staticmethod
    def _do(loop: Loop, work: Coroutine[Any, Any, Any]) -> None:
        async def bounded() -> None:
            try:
                async with asyncio.timeout(60):
                    await work
            except BaseException:  # noqa: BLE001 -- the dead may die as they like
                pass

        loop.run_until_complete(loop.create_task(bounded()))

    # -- lives ------------------------------------------------------------------------------------

    async def _struck(self, server: Server) -> None:
        """A life in which the seed's faults strike."""
        strikes = self.machine.strikes
        loop = asyncio.get_running_loop()
        if strikes.end in ("kill", "power"):
            loop.call_later(strikes.after, self._cut)
        helpers = [loop.create_task(self.senders.bring())]
        try:
            await server.start()
            failed = loop.create_task(server.failed())
            helpers.append(failed)
            if self.meddles:
                helpers.append(loop.create_task(self.people.meddle(server)))
            ends = loop.create_task(asyncio.sleep(strikes.after))
            helpers.append(ends)
            await asyncio.wait({failed, ends}, return_when=asyncio.FIRST_COMPLETED)
            if not failed.done() and strikes.end == "drain":
                await server.drain(server.plan.grace)
        except FilemillError as error:
            self.machine.tell("life", f"ended: {type(error).__name__}")
        finally:
            if not self.machine.over:
                await _gather([_cancelled(task) for task in helpers])
                await server.stop()

    def _cut(self) -> None:
        if not self.machine.over:
            self.machine.cut()

    async def _calm(self, server: Server) -> None:
        """The last life: nothing fails, and all comes to its end."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + CONVERGES
        await server.start()
        await self.people.ask(
            server, acts.ResumePipelines(pipelines=tuple(p.name for p in self.plan.pipelines))
        )
        await self.senders.bring()
        try:
            async with asyncio.timeout(CONVERGES):
                wanted = {(each.source, each.name) for each in self.inputs}
                while not wanted <= taken(server):  # noqa: ASYNC110 -- no real time is waited for
                    await asyncio.sleep(1.0)
                # Also the sweep of content, which begins with the server.
                await asyncio.sleep(1.0)
                await server.rest()
                await self._redrive(server)
        except TimeoutError:
            self.wrong.append(f"not at rest after {CONVERGES:g}s, at {ends:g}")
        await server.drain(60.0)
        await server.stop()

    async def _redrive(self, server: Server) -> None:
        """People bring about what the faults prevented: what died or is held because of them goes on."""
        doomed = {each.name for each in self.inputs if each.ends == "dead"}
        unrouted = {each.name for each in self.inputs if each.state == "held"}
        for _ in range(8):
            asked: list[acts.Act] = []
            for run, fence, state in runs_of(server):
                name = judge.input_of(self.told.names.get(run, ""))
                if state == "dead" and name not in doomed:
                    asked.append(acts.RedriveRuns(runs=(Redrive(run, fence),)))
                if state == "held":
                    asked.append(acts.ReleaseRuns(runs=(Release(run, fence),)))
            # An inspection that took several workers with it holds its file.
            asked += [
                acts.ReadmitFiles(files=(file,))
                for file, name in files_held(server)
                if name not in unrouted
            ]
            if not asked:
                return
            for act in asked:
                await self.people.ask(server, act)
            await server.rest()

    def _emit(self, event: e.Event) -> None:
        if not self.machine.over:
            self.told.hear(event)
            self.machine.tell("event", judge.described(event))


async def _gather(tasks: list[Any]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


def _cancelled(task: asyncio.Task[Any]) -> asyncio.Task[Any]:
    task.cancel()
    return task


def tidy() -> None:
    """Between seeds: what is in circles goes."""
    gc.collect()


__all__ = ["Cut", "Played", "play", "tidy"]
