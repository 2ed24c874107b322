"""The ledger against a small model: random requests, each compared with what a few dictionaries say.

Derive from `LedgerMachine`, answer `open_ledger`, and run `YourMachine.TestCase`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from filemill.model.deeds import Chosen, Deed, Redrive, Release, Replay
from filemill.model.runs import RunOrder
from filemill.model.states import LIVE_RUN_STATES, RunState
from filemill.ports.ledger import Ledger
from filemill.testing.clock import FakeClock
from filemill.testing.ids import SequentialIds
from filemill.testing.journey import Journey

_T = TypeVar("_T")
_MAX_INTERRUPTIONS = 2
_REMEMBERED = 6
"""Orders from which one is drawn: most moves are of runs that may move."""
_PIPELINES = ("orders", "audit")
_WAITS = {RunState.QUEUED, RunState.RETRYING}
_ENDED = {RunState.DONE, RunState.CANCELLED, RunState.DISCARDED}


class _Run:
    """What the model knows of a run."""

    def __init__(self, file: str, pipeline: str) -> None:
        self.file = file
        self.pipeline = pipeline
        self.state = RunState.QUEUED
        self.attempt = 0
        self.fence = 0
        self.interruptions = 0
        self.due_ns = 0


class LedgerMachine(RuleBasedStateMachine):
    """Random lives of files and runs, with stale owners, people who act on what they saw, restarts and time."""

    async def open_ledger(self) -> Ledger:
        """An empty ledger."""
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.clock = FakeClock()
        self.ledger = self.loop.run(self.open_ledger())
        self.journey = Journey(self.ledger, SequentialIds(), self.clock)
        self.files: dict[str, str] = {}
        self.runs: dict[str, _Run] = {}
        self.orders: list[RunOrder] = []
        """All that were ever given. Their owners may come back with any of them, however late."""
        self.paused: set[str] = set()
        self.disposed: set[str] = set()
        self.parents: dict[str, str] = {}

    def teardown(self) -> None:
        self.loop.run(self.ledger.close())
        self.loop.close()

    @rule(count=st.integers(1, 3))
    def claim(self, count: int) -> None:
        claims = [self.journey.claim() for _ in range(count)]
        assert self.loop.run(self.ledger.begin_claims(claims)) == [True] * count
        self.files.update((claim.file, "claiming") for claim in claims)

    @rule(pipelines=st.integers(1, 2))
    def arrive(self, pipelines: int) -> None:
        """The way of most files in one step, so that more of the steps are about what comes after."""
        claim, names = self.journey.claim(), _PIPELINES[:pipelines]
        assert self.loop.run(self.ledger.begin_claims([claim])) == [True]
        assert self.loop.run(self.ledger.ingest([claim.file], self.clock.wall_ns())) == [True]
        routing = self.journey.routing(claim.file, *names)
        assert self.loop.run(self.ledger.route([routing])) == [True]
        self.files[claim.file] = "inspected"
        self.runs.update((run.run, _Run(claim.file, run.pipeline)) for run in routing.runs)

    @rule(data=st.data())
    def ingest(self, data: st.DataObject) -> None:
        files = self._some(data, list(self.files))
        expected = []
        for file in files:
            expected.append(self.files[file] == "claiming")
            if expected[-1]:
                self.files[file] = "ingested"
        assert self.loop.run(self.ledger.ingest(files, self.clock.wall_ns())) == expected

    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        files = self._some(data, list(self.files))
        expected = []
        for file in files:
            expected.append(self.files.get(file) == "claiming")
            if expected[-1]:
                del self.files[file]
        assert self.loop.run(self.ledger.abandon(files)) == expected

    @rule(data=st.data(), pipelines=st.integers(0, 2))
    def route(self, data: st.DataObject, pipelines: int) -> None:
        files = self._some(data, list(self.files))
        names = _PIPELINES[:pipelines]
        routings = [
            self.journey.routing(file, *names, held="" if names else "unrouted") for file in files
        ]
        expected = []
        for routing in routings:
            file = routing.facts.file
            expected.append(self.files[file] == "ingested")
            if expected[-1]:
                self.files[file] = "inspected" if names else "held"
                for run in routing.runs:
                    self.runs[run.run] = _Run(file, run.pipeline)
        assert self.loop.run(self.ledger.route(routings)) == expected

    @rule(limit=st.integers(1, 4))
    def lease(self, limit: int) -> None:
        waiting = {
            key
            for key, run in self.runs.items()
            if run.pipeline not in self.paused
            and (
                run.state is RunState.QUEUED
                or (run.state is RunState.RETRYING and run.due_ns <= self.clock.wall_ns())
            )
        }
        orders = self.loop.run(self.journey.lease(limit))
        assert len(orders) == min(limit, len(waiting))
        for order in orders:
            run = self.runs[order.run]
            assert order.run in waiting
            assert order.file.file == run.file
            assert order.file.depth == self._depth(run.file)
            run.state = RunState.RUNNING
            run.attempt, run.fence = run.attempt + 1, run.fence + 1
            assert (order.attempt, order.fence) == (run.attempt, run.fence)
            self.orders.append(order)

    @rule(data=st.data(), children=st.integers(0, 2))
    def stage(self, data: st.DataObject, children: int) -> None:
        orders = self._orders(data)
        expected = [self._move(o, RunState.RUNNING, RunState.PUBLISHING) for o in orders]
        names = [f"child-{number}" for number in range(children)]
        stages = [
            self.journey.emitting(order, *[self.journey.child(order, name) for name in names])
            for order in orders
        ]
        assert self.loop.run(self.ledger.stage(stages)) == expected
        for order, staged, moved in zip(orders, stages, expected, strict=True):
            for child in staged.result.children if moved else ():
                # An id that is known stays what it is: another attempt emits no second file.
                if child.file not in self.files:
                    self.files[child.file] = "claiming"
                    self.parents[child.file] = order.file.file

    @rule(data=st.data())
    def ask_for_claims(self, data: st.DataObject) -> None:
        files = self._some(data, list(self.files))
        wanted = [f for f in dict.fromkeys(files) if self.files[f] == "claiming"]
        got = self.loop.run(self.ledger.claims(files))
        assert [(claim.file, claim.parent) for claim in got] == [
            (file, self.parents.get(file)) for file in wanted
        ]

    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        orders = self._orders(data)
        expected = [self._move(o, RunState.PUBLISHING, RunState.DONE) for o in orders]
        finishes = [self.journey.finish(order) for order in orders]
        assert self.loop.run(self.ledger.finish(finishes)) == expected

    @rule(
        data=st.data(),
        to=st.sampled_from([RunState.RETRYING, RunState.DEAD, RunState.QUEUED, RunState.HELD]),
        after_s=st.integers(0, 3),
    )
    def fail(self, data: st.DataObject, to: RunState, after_s: int) -> None:
        orders = self._orders(data)
        expected = []
        for order in orders:
            run = self.runs[order.run]
            moved = self._move(order, RunState.RUNNING, to) or (
                to is RunState.DEAD and self._move(order, RunState.PUBLISHING, to)
            )
            expected.append(moved)
            if moved and to is RunState.QUEUED:
                run.attempt -= 1
            if moved and to is RunState.RETRYING:
                run.due_ns = self.clock.wall_ns() + after_s * 10**9 if after_s else 0
        fails = [self.journey.fail(order, to, after_s=after_s) for order in orders]
        assert self.loop.run(self.ledger.fail(fails)) == expected

    @rule()
    def restart(self) -> None:
        left = self.loop.run(self.ledger.recover(self.clock.wall_ns(), _MAX_INTERRUPTIONS))
        again = 0
        for run in self.runs.values():
            if run.state is RunState.RUNNING:
                run.attempt -= 1
                run.interruptions += 1
                run.fence += 1
                dead = run.interruptions > _MAX_INTERRUPTIONS
                run.state = RunState.DEAD if dead else RunState.QUEUED
                again += not dead
        assert left.interrupted == again
        assert {c.file for c in left.claiming} == self._files("claiming")
        assert {f.file for f in left.uninspected} == self._files("ingested")
        assert {p.run for p in left.publishing} == {
            key for key, run in self.runs.items() if run.state is RunState.PUBLISHING
        }
        assert self._undisposed() == self._finished() - self.disposed

    def _undisposed(self) -> set[str]:
        """By pages of two: a pass gives every one."""
        found: list[str] = []
        place = -1
        while place:
            place, some = self.loop.run(self.ledger.undisposed(max(place, 0), 2))
            found += some
        assert len(found) == len(set(found))
        return set(found)

    @rule(data=st.data())
    def dispose(self, data: st.DataObject) -> None:
        files = self._some(data, list(self.files))
        due = self._finished() - self.disposed
        got = self.loop.run(self.ledger.disposable(files))
        assert {each.file for each in got} == due & set(files)
        expected = []
        for file in files:
            expected.append(file in due and file not in self.disposed)
            if expected[-1]:
                self.disposed.add(file)
        assert self.loop.run(self.ledger.disposed(files, self.clock.wall_ns())) == expected

    @rule(data=st.data())
    def redrive(self, data: st.DataObject) -> None:
        seen = self._seen(data)
        expected = [self._act(run, fence, {RunState.DEAD}, RunState.QUEUED) for run, fence in seen]
        redrives = [Redrive(run, fence) for run, fence in seen]
        assert self.loop.run(self.ledger.redrive(redrives, self._deed())) == expected

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        seen = self._seen(data)
        expected = [self._act(run, fence, {RunState.HELD}, RunState.QUEUED) for run, fence in seen]
        releases = [Release(run, fence) for run, fence in seen]
        assert self.loop.run(self.ledger.release(releases, self._deed())) == expected

    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        seen = self._seen(data)
        ends = {RunState.DEAD, RunState.HELD}
        expected = [self._act(run, fence, ends, RunState.DISCARDED) for run, fence in seen]
        chosen = [Chosen(run, fence) for run, fence in seen]
        assert self.loop.run(self.ledger.discard(chosen, self._deed())) == expected

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        seen = self._seen(data)
        live = {RunState.QUEUED, RunState.RETRYING, RunState.RUNNING}
        expected = [self._act(run, fence, live, RunState.CANCELLED) for run, fence in seen]
        chosen = [Chosen(run, fence) for run, fence in seen]
        assert self.loop.run(self.ledger.cancel(chosen, self._deed())) == expected

    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        replays = [Replay(of, self.journey.ids.new(), 1) for of, _ in self._seen(data)]
        expected = []
        for each in replays:
            former = self.runs[each.of]
            expected.append(former.state in _ENDED)
            if expected[-1]:
                self.runs[each.run] = _Run(former.file, former.pipeline)
        assert self.loop.run(self.ledger.replay(replays, self._deed())) == expected

    @rule(pipeline=st.sampled_from(_PIPELINES))
    def pause(self, pipeline: str) -> None:
        expected = [pipeline not in self.paused]
        self.paused.add(pipeline)
        assert self.loop.run(self.ledger.pause([pipeline], self._deed())) == expected

    @rule(pipeline=st.sampled_from(_PIPELINES))
    def resume(self, pipeline: str) -> None:
        expected = [pipeline in self.paused]
        self.paused.discard(pipeline)
        assert self.loop.run(self.ledger.resume([pipeline], self._deed())) == expected

    @rule(seconds=st.integers(1, 4))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @invariant()
    def counts_agree(self) -> None:
        live = sum(
            run.state in LIVE_RUN_STATES
            and not (run.pipeline in self.paused and run.state in _WAITS)
            for run in self.runs.values()
        )
        waiting = len(self._files("claiming") | self._files("ingested"))
        assert self.loop.run(self.ledger.live()) == live + waiting
        due = [
            run.due_ns
            for run in self.runs.values()
            if run.state is RunState.RETRYING and run.pipeline not in self.paused
        ]
        assert self.loop.run(self.ledger.next_due()) == min(due, default=None)

    def _some(self, data: st.DataObject, keys: Sequence[_T]) -> list[_T]:
        return data.draw(st.lists(st.sampled_from(keys), min_size=1, max_size=4)) if keys else []

    def _orders(self, data: st.DataObject) -> list[RunOrder]:
        return self._some(data, self.orders[-_REMEMBERED:])

    def _seen(self, data: st.DataObject) -> list[tuple[str, int]]:
        """Runs with the fences that people saw, now or a while ago."""
        drawn = st.tuples(st.sampled_from(list(self.runs) or [""]), st.sampled_from((0, 0, 0, 1)))
        some = data.draw(st.lists(drawn, min_size=1, max_size=3)) if self.runs else []
        return [(run, self.runs[run].fence - late) for run, late in some]

    def _act(self, key: str, fence: int, before: set[RunState], after: RunState) -> bool:
        """What becomes of a person's move."""
        run = self.runs[key]
        if run.state not in before or run.fence != fence:
            return False
        run.state = after
        if after is not RunState.DISCARDED:
            run.fence += 1
        if after is RunState.QUEUED:
            run.attempt = run.interruptions = 0
        return True

    def _deed(self) -> Deed:
        return Deed("somebody", self.clock.wall_ns())

    def _move(self, order: RunOrder, before: RunState, after: RunState) -> bool:
        run = self.runs[order.run]
        if run.state is not before or run.fence != order.fence:
            return False
        run.state = after
        return True

    def _depth(self, file: str) -> int:
        depth = 0
        while file in self.parents:
            file, depth = self.parents[file], depth + 1
        return depth

    def _files(self, state: str) -> set[str]:
        return {file for file, its in self.files.items() if its == state}

    def _finished(self) -> set[str]:
        ends: dict[str, bool] = {}
        for run in self.runs.values():
            ends[run.file] = ends.get(run.file, True) and run.state is RunState.DONE
        return {file for file, done in ends.items() if done}
