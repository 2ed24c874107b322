"""The contract of `ports.retention.Retaining`: derive a class from `RetentionContract`, give it a `ledger` fixture.

The ledger is opened inside `runner`, as for `contracts.ledger`; it is empty, and a `Ledger` besides.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from filemill.model.files import Identity
from filemill.ports.ledger import Disposal
from filemill.ports.retention import Cutoffs, Freed
from filemill.testing.clock import FakeClock
from filemill.testing.ids import SequentialIds
from filemill.testing.journey import Journey

_DAY = 86_400 * 10**9
_EVERYTHING = 10**6


def _in_loop(test: Callable[..., Any]) -> Callable[..., None]:
    """Run an async test in the fixture `runner`."""

    def run(self: Any, runner: asyncio.Runner, ledger: Any) -> None:
        runner.run(test(self, Journey(ledger, SequentialIds(), FakeClock()), ledger))

    functools.update_wrapper(run, test)
    del run.__dict__["__wrapped__"]  # pytest would read the fixtures' names from it
    return run


class RetentionContract:
    """What every ledger must do when it forgets."""

    __test__ = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.__test__ = True

    @pytest.fixture
    def runner(self) -> Iterator[asyncio.Runner]:
        with asyncio.Runner() as runner:
            yield runner

    @pytest.fixture
    def ledger(self, runner: asyncio.Runner) -> Any:
        raise NotImplementedError("the subclass opens its ledger here")

    @_in_loop
    async def test_the_bytes_go_first_and_the_rows_later(self, j: Journey, ledger: Any) -> None:
        (done,) = await _done(j, ledger, 1)
        assert await ledger.known_content([done.content]) == [True]
        _pass(j, 2 * 86_400)
        freed = await _free(j, ledger, content=_DAY)
        assert (freed.files, freed.stored, freed.size) == (1, 1, 100)
        assert await ledger.known_content([done.content]) == [False]
        assert [each.name for each in await ledger.garbage(10)] == [done.content.encode()]
        assert (await _free(j, ledger, content=_DAY)).files == 0
        await ledger.cleared(await ledger.garbage(10))
        assert await ledger.garbage(10) == []
        gone = await _forget(j, ledger, ledger_=_DAY)
        assert (gone.files, gone.stored) == (1, 0)
        assert gone.rows >= 6  # file, run, attempt, publication, two tags
        assert await ledger.garbage(10) == []
        assert await ledger.known_content([done.content]) == [None]

    @_in_loop
    async def test_what_is_too_young_stays(self, j: Journey, ledger: Any) -> None:
        await _done(j, ledger, 2)
        _pass(j, 0.5 * 86_400)
        assert (await _free(j, ledger, content=_DAY)).files == 0
        assert (await _forget(j, ledger, ledger_=_DAY)).files == 0

    @_in_loop
    async def test_what_is_in_the_middle_of_anything_stays(self, j: Journey, ledger: Any) -> None:
        claimed = j.claim()
        await j.claimed(claimed)
        await j.ingested()
        running = await j.running()
        publishing = await j.running()
        assert await ledger.stage([j.stage(order) for order in publishing]) == [True]
        await j.queued()
        (ended,) = await _finished(j, ledger, 1)  # its `after:` is not applied
        _pass(j, 1000 * 86_400)
        assert (await _free(j, ledger, content=_DAY)).files == 0
        assert (await _forget(j, ledger, ledger_=_DAY, dead=_DAY)).files == 0
        assert await ledger.known_content([claimed.content]) == [True]
        assert await ledger.live() == 5
        assert len(await ledger.disposable([ended.file])) == 1
        assert running

    @_in_loop
    async def test_what_waits_for_a_person_stays_until_dead_is_over(
        self, j: Journey, ledger: Any
    ) -> None:
        (order,) = await j.running()
        failed = msgspec.structs.replace(j.fail(order, "dead"), input="c/input")
        assert await ledger.fail([failed]) == [True]
        (held,) = await j.ingested()
        assert await ledger.route([j.routing(held, held="unrouted")]) == [True]
        _pass(j, 1000 * 86_400)
        assert (await _free(j, ledger, content=_DAY)).files == 0
        assert (await _forget(j, ledger, ledger_=_DAY)).files == 0
        assert await ledger.known_content(["c/input"]) == [True]
        gone = await _forget(j, ledger, ledger_=_DAY, dead=2000 * _DAY)
        assert gone.files == 0
        gone = await _forget(j, ledger, dead=_DAY)
        assert (gone.files, gone.stored) == (2, 2)
        names = {each.name for each in await ledger.garbage(10)}
        assert names == {order.file.path, f"c/{held}".encode(), b"c/input"}
        assert await ledger.known_content(["c/input"]) == [False]

    @_in_loop
    async def test_what_waits_goes_before_what_is_done_where_dead_is_shorter(
        self, j: Journey, ledger: Any
    ) -> None:
        old = await _waiting_among_done(j, ledger)
        _pass(j, 10 * 86_400)
        between = await _waiting_among_done(j, ledger)
        _pass(j, 10 * 86_400)
        young = await _waiting_among_done(j, ledger)
        _pass(j, 86_400)
        assert await _forget_all(j, ledger, 2, dead=5 * _DAY) == (8, 8)  # looks at no others
        assert await _forget_all(j, ledger, 2, dead=5 * _DAY, ledger_=15 * _DAY) == (3, 3)
        await ledger.cleared(await ledger.garbage(_EVERYTHING))
        for contents, left in ((old, 0), (between, 3), (young, 7)):
            assert sum(each is not None for each in await ledger.known_content(contents)) == left

    @_in_loop
    async def test_one_dead_run_keeps_the_file_for_all_its_runs(
        self, j: Journey, ledger: Any
    ) -> None:
        await j.queued(pipelines=("a", "b"))
        first, second = await j.lease()
        assert await ledger.fail([j.fail(first, "dead")]) == [True]
        await _finish(j, ledger, second)
        _pass(j, 1000 * 86_400)
        assert (await _free(j, ledger, content=_DAY)).files == 0

    @_in_loop
    async def test_a_dry_step_changes_nothing(self, j: Journey, ledger: Any) -> None:
        (done,) = await _done(j, ledger, 1)
        _pass(j, 2 * 86_400)
        cutoffs = _cutoffs(j, content=_DAY, ledger=_DAY)
        now = j.clock.wall_ns()
        assert (await ledger.free(cutoffs, now, None, 10, dry=True)).files == 1
        gone = await ledger.forget(cutoffs, None, 10, dry=True)
        assert (gone.files, gone.stored, gone.rows) == (1, 0, 0)
        assert await ledger.known_content([done.content]) == [True]
        assert await ledger.garbage(10) == []

    @_in_loop
    async def test_steps_are_bounded_and_go_on_where_they_ended(
        self, j: Journey, ledger: Any
    ) -> None:
        await _done(j, ledger, 7)
        _pass(j, 2 * 86_400)
        cutoffs = _cutoffs(j, content=_DAY, ledger=_DAY)
        seen: list[int] = []
        before: int | None = None
        while True:
            freed = await ledger.free(cutoffs, j.clock.wall_ns(), before, 3)
            seen.append(freed.files)
            if freed.next is None:
                break
            before = freed.next
        assert seen == [3, 3, 1]

    @_in_loop
    async def test_a_parent_stays_as_long_as_its_children(self, j: Journey, ledger: Any) -> None:
        (parent,) = await _done(j, ledger, 1)
        child = msgspec.structs.replace(j.claim(b"b.csv"), parent=parent.file)
        await j.claimed(child)
        await ledger.ingest([child.file], j.clock.wall_ns())
        assert await ledger.route([j.routing(child.file, "orders")]) == [True]
        (order,) = await j.lease()
        _pass(j, 10 * 86_400)
        assert (await _forget(j, ledger, ledger_=_DAY)).files == 0
        await _finish(j, ledger, order)
        await ledger.disposed([child.file], j.clock.wall_ns())
        _pass(j, 10 * 86_400)
        assert (await _forget(j, ledger, ledger_=_DAY)).files == 1
        assert (await _forget(j, ledger, ledger_=_DAY)).files == 1

    @_in_loop
    async def test_a_version_that_was_copied_is_remembered_when_its_row_is_gone(
        self, j: Journey, ledger: Any
    ) -> None:
        version = Identity(5, 2**63 + 7, 100, 9)
        claim = j.claim(b"\xff.csv", how="copy", after="keep", identity=version)
        await j.claimed(claim)
        await ledger.ingest([claim.file], j.clock.wall_ns())
        assert await ledger.route([j.routing(claim.file, "orders")]) == [True]
        (order,) = await j.lease()
        await _finish(j, ledger, order)
        assert await ledger.disposed([claim.file], j.clock.wall_ns()) == [True]
        _pass(j, 10 * 86_400)
        assert (await _forget(j, ledger, ledger_=_DAY)).files == 1
        again = j.claim(b"\xff.csv", how="copy", after="keep", identity=version)
        assert await ledger.begin_claims([again]) == [False]
        other = j.claim(b"\xff.csv", how="copy", identity=Identity(5, 8, 100, 9))
        assert await ledger.begin_claims([other]) == [True]
        (kept,) = await ledger.kept_versions(None, 10)
        assert (kept.relative, kept.inode, kept.device) == (b"\xff.csv", version.inode, 5)
        assert kept.path == claim.path
        assert await ledger.kept_versions(kept.key, 10) == []
        await ledger.renumber_device("inbox", 5, 6)
        assert [each.device for each in await ledger.kept_versions(None, 10)] == [6]
        await ledger.forget_versions([kept])
        assert await ledger.kept_versions(None, 10) == []
        assert await ledger.begin_claims([again]) == [True]

    @_in_loop
    async def test_counts_are_added_up_by_the_hour_and_go(self, j: Journey, ledger: Any) -> None:
        for _ in range(5):
            await _done(j, ledger, 1)
            _pass(j, 600)
        _pass(j, 3 * 86_400)
        hours = 0
        since: int | None = 0
        while since is not None:
            hours += 1
            since = await ledger.roll_up(since, j.clock.wall_ns())
        assert hours in (2, 3)  # the last answer is None
        cutoffs = _cutoffs(j, ledger=_DAY)
        assert await ledger.forget_rest(cutoffs, [], _EVERYTHING) > 0
        assert await ledger.forget_rest(cutoffs, [], _EVERYTHING) == 0

    @_in_loop
    async def test_revisions_that_nobody_names_go(self, j: Journey, ledger: Any) -> None:
        at = j.clock.wall_ns()
        for digest in ("aa", "bb", "cc"):
            await ledger.add_revision(digest, digest, at)
        await _done(j, ledger, 1)  # with revision 1
        _pass(j, 10 * 86_400)
        unused = await ledger.unused_revisions(j.clock.wall_ns())
        assert unused == [2]
        assert await ledger.unused_revisions(at) == []
        cutoffs = _cutoffs(j, ledger=100 * _DAY)
        await ledger.forget_rest(cutoffs, unused, _EVERYTHING)
        assert await ledger.unused_revisions(j.clock.wall_ns()) == []
        assert await ledger.add_revision("bb", "bb", at) == 4

    @_in_loop
    async def test_a_revision_that_only_a_former_attempt_ran_at_stays(
        self, j: Journey, ledger: Any
    ) -> None:
        at = j.clock.wall_ns()
        for digest in ("aa", "bb", "cc"):
            await ledger.add_revision(digest, digest, at)
        (order,) = await j.running()
        await ledger.fail([j.fail(order, "retrying")])
        (again,) = await ledger.lease(1, j.clock.wall_ns(), 2)
        await _finish(j, ledger, again)
        _pass(j, 10 * 86_400)
        assert await ledger.unused_revisions(j.clock.wall_ns()) == []

    @_in_loop
    async def test_when_anything_was_done_last_is_known(self, j: Journey, ledger: Any) -> None:
        assert await ledger.worked_until_ns() == 0
        await _done(j, ledger, 1)
        behind = j.clock.wall_ns() - await ledger.worked_until_ns()
        assert 0 <= behind < 120 * 10**9


async def _done(j: Journey, ledger: Any, count: int) -> list[Disposal]:
    """Files all of whose runs are done and whose `after:` is applied."""
    found = await _finished(j, ledger, count)
    files = [each.file for each in found]
    assert await ledger.disposed(files, j.clock.wall_ns()) == [True] * count
    return found


async def _finished(j: Journey, ledger: Any, count: int) -> list[Disposal]:
    files = await j.queued(count)
    mine = set(files)
    for order in [each for each in await j.lease() if each.file.file in mine]:
        await _finish(j, ledger, order)
    found = await ledger.disposable(files)
    assert len(found) == count
    return list(found)


async def _finish(j: Journey, ledger: Any, order: Any) -> None:
    assert await ledger.stage([j.stage(order)]) == [True]
    assert await ledger.finish([j.finish(order)]) == [True]


def _cutoffs(j: Journey, **ages: int) -> Cutoffs:
    now = j.clock.wall_ns()
    before = {name: now - age for name, age in ages.items()}
    return Cutoffs(
        before.get("content"), before.get("ledger"), before.get("dead"), before.get("audit")
    )


async def _free(j: Journey, ledger: Any, **ages: int) -> Freed:
    freed: Freed = await ledger.free(_cutoffs(j, **ages), j.clock.wall_ns(), None, _EVERYTHING)
    return freed


async def _forget(j: Journey, ledger: Any, **ages: int) -> Freed:
    named = {name.rstrip("_"): age for name, age in ages.items()}
    freed: Freed = await ledger.forget(_cutoffs(j, **named), None, _EVERYTHING)
    return freed


async def _waiting_among_done(j: Journey, ledger: Any) -> list[str]:
    """Contents of seven files: four wait (two dead runs, a held one, held, rejected), three are done."""
    contents = [each.content for each in await _done(j, ledger, 1)]
    await j.queued(pipelines=("a", "b"))
    orders = await j.lease()
    assert await ledger.fail([j.fail(order, "dead") for order in orders]) == [True, True]
    contents += [orders[0].file.path.decode()] + [
        each.content for each in await _done(j, ledger, 1)
    ]
    (order,) = await j.running()
    assert await ledger.fail([j.fail(order, "held")]) == [True]
    held, rejected = await j.ingested(2)
    routing = j.routing(rejected)
    refused = msgspec.structs.replace(
        routing, facts=msgspec.structs.replace(routing.facts, refused="broken")
    )
    assert await ledger.route([j.routing(held, held="unrouted"), refused]) == [True, True]
    contents += [order.file.path.decode(), f"c/{held}", f"c/{rejected}"]
    contents += [each.content for each in await _done(j, ledger, 1)]
    return contents


async def _forget_all(j: Journey, ledger: Any, most: int, **ages: int) -> tuple[int, int]:
    """All steps of one walk: how many files went, and how many were looked at."""
    cutoffs = _cutoffs(j, **{name.rstrip("_"): age for name, age in ages.items()})
    gone = looked = 0
    before: int | None = None
    while True:
        freed: Freed = await ledger.forget(cutoffs, before, most)
        gone, looked = gone + freed.files, looked + freed.looked
        if freed.next is None:
            return gone, looked
        before = freed.next


def _pass(j: Journey, seconds: float) -> None:
    assert isinstance(j.clock, FakeClock)
    j.clock.advance(seconds)
