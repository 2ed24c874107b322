"""Of the ledger's contract: the moves of files and runs."""

from __future__ import annotations

from typing import Any

from filemill.model.files import Facts
from filemill.model.states import FileState, RunState, may_move_file, may_move_run
from filemill.ports.ledger import Routing
from filemill.testing.contracts.ledger_fixtures import LedgerFixtures, in_loop
from filemill.testing.journey import Journey


class MoveContract(LedgerFixtures):
    """From each state exactly the moves of `model.states`."""

    @in_loop
    async def test_runs_make_exactly_the_moves_of_the_table(self, journey: Journey) -> None:
        """Every state a run can be brought to, and from there every move a worker or server can ask for."""
        ledger = journey.ledger
        for before in (
            RunState.QUEUED,
            RunState.RUNNING,
            RunState.PUBLISHING,
            RunState.DONE,
            RunState.RETRYING,
            RunState.DEAD,
            RunState.HELD,
        ):
            for after in (
                RunState.RUNNING,
                RunState.PUBLISHING,
                RunState.DONE,
                RunState.RETRYING,
                RunState.DEAD,
                RunState.HELD,
                RunState.QUEUED,
            ):
                order = await self._brought_to(journey, before)
                if after is RunState.RUNNING:
                    moved = order.run in {each.run for each in await journey.lease()}
                elif after is RunState.PUBLISHING:
                    (moved,) = await ledger.stage([journey.stage(order)])
                elif after is RunState.DONE:
                    (moved,) = await ledger.finish([journey.finish(order)])
                else:
                    (moved,) = await ledger.fail([journey.fail(order, after)])
                people = {
                    RunState.DEAD,
                    RunState.HELD,
                }  # their moves are a person's: redrive, release
                allowed = may_move_run(before, after) and before not in people
                if before is RunState.RETRYING:
                    allowed = after is RunState.RUNNING  # its other moves are a person's too
                assert moved == allowed, f"{before} -> {after}"
                await self._drain(journey)

    async def _brought_to(self, journey: Journey, state: RunState) -> Any:
        if state is RunState.QUEUED:
            (order,) = await journey.running()
            await journey.ledger.fail([journey.fail(order, "queued")])
            return order
        if state is RunState.RUNNING:
            (order,) = await journey.running()
            return order
        if state is RunState.PUBLISHING:
            (order,) = await journey.publishing()
            return order
        if state is RunState.DONE:
            (order,) = await journey.done()
            return order
        return await journey.failed(state)

    async def _drain(self, journey: Journey) -> None:
        """End whatever still waits, so that the next lease finds only its own."""
        while orders := await journey.lease():
            await journey.ledger.fail([journey.fail(order, "dead") for order in orders])

    @in_loop
    async def test_files_make_exactly_the_moves_of_the_table(self, journey: Journey) -> None:
        targets: dict[FileState, dict[str, Any]] = {
            FileState.INSPECTED: {"runs": True},
            FileState.HELD: {"held": "unrouted"},
            FileState.DISCARDED: {"discarded": "duplicate"},
            FileState.REJECTED: {"refused": "too big"},
            FileState.QUARANTINED: {"refused": "a virus", "unsafe": True},
        }
        for before in (FileState.CLAIMING, FileState.INGESTED, *targets):
            for after in (FileState.INGESTED, *targets):
                (file,) = await journey.claimed(journey.claim())
                if before is not FileState.CLAIMING:
                    await journey.ledger.ingest([file], journey.clock.wall_ns())
                if before in targets:
                    assert await journey.ledger.route([_to(journey, file, targets[before])])
                if after is FileState.INGESTED:
                    (moved,) = await journey.ledger.ingest([file], journey.clock.wall_ns())
                    allowed = before is FileState.CLAIMING  # other ways back are a person's
                else:
                    (moved,) = await journey.ledger.route([_to(journey, file, targets[after])])
                    allowed = may_move_file(before, after) and before is FileState.INGESTED
                assert moved == allowed, f"{before} -> {after}"
                assert await journey.ledger.abandon([file]) == [
                    before is FileState.CLAIMING and not moved
                ]

    @in_loop
    async def test_a_file_whose_inspection_failed_stays_ingested(self, journey: Journey) -> None:
        (file,) = await journey.ingested()
        failed = Routing(Facts(file, error="read error"), journey.clock.wall_ns())
        assert await journey.ledger.route([failed]) == [False]
        left = await journey.ledger.recover(journey.clock.wall_ns(), 10)
        assert [ref.file for ref in left.uninspected] == [file]


def _to(journey: Journey, file: str, target: dict[str, Any]) -> Routing:
    """A routing of an inspected file to one of its next states."""
    if "refused" in target:
        facts = Facts(file, refused=target["refused"], unsafe=target.get("unsafe", False))
        return Routing(facts, journey.clock.wall_ns())
    if "runs" in target:
        return journey.routing(file, "orders")
    return journey.routing(file, **target)
