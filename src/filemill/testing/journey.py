"""Leads files through a ledger step by step, with made-up contents; for tests of ledgers and of what reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from filemill.model.errors import FailureKind
from filemill.model.files import Claim, Facts, Identity, TagHit
from filemill.model.fingerprint import fingerprint
from filemill.model.runs import (
    BadRecord,
    ChunkRange,
    Failure,
    RunOrder,
    RunResult,
    StagedChild,
    StagedOutput,
    StepCount,
)
from filemill.ports.clock import Clock, Ids
from filemill.ports.ledger import Checkpoint, Fail, Finish, Ledger, NewRun, Routing, Stage


class Journey:
    """Every method takes the files or orders the one before gave, and asserts that the ledger said yes."""

    def __init__(self, ledger: Ledger, ids: Ids, clock: Clock) -> None:
        self.ledger = ledger
        self.ids = ids
        self.clock = clock
        self._inode = 1_000

    def claim(
        self,
        relative: bytes = b"a.csv",
        *,
        source: str = "inbox",
        how: str = "rename",
        after: str = "archive",
        identity: Identity | None = None,
        principal: str = "",
    ) -> Claim:
        """A claim not yet made; a new inode unless told."""
        self._inode += 1
        file = self.ids.new()
        return Claim(
            file=file,
            source=source,
            path=b"/srv/inbox/" + relative,
            relative=relative,
            identity=identity or Identity(1, self._inode, 100, 7),
            content=f"c/{file}",
            claimed_ns=self.clock.wall_ns(),
            tags=("from:inbox",),
            how=how,
            after=after,
            principal=principal,
        )

    def checkpoint(self, order: RunOrder, number: int) -> Checkpoint:
        """One chunk of a running run that is done."""
        chunk = ChunkRange(number, number * 50, number * 50 + 50)
        staged = (b"/srv/out/.filemill/%s.%d" % (order.run.encode(), number),)
        return Checkpoint(order.run, order.fence, chunk, staged, b"state %d" % number)

    async def claimed(self, *claims: Claim) -> list[str]:
        """Files in CLAIMING."""
        assert all(await self.ledger.begin_claims(claims)), "a claim was refused"
        return [claim.file for claim in claims]

    async def ingested(self, count: int = 1) -> list[str]:
        """Files in INGESTED, with equal names and different bytes."""
        files = await self.claimed(*[self.claim() for _ in range(count)])
        assert all(await self.ledger.ingest(files, self.clock.wall_ns())), "not acknowledged"
        return files

    def routing(self, file: str, *pipelines: str, priority: int = 0, **options: str) -> Routing:
        """One file's routing to these pipelines; by `options` with an order `key`, or `held` or `discarded` instead."""
        return Routing(
            facts=Facts(
                file,
                digest=hashlib.sha256(file.encode()).hexdigest(),
                media="text/csv",
                header=("id", "amount"),
                tags=(
                    TagHit("from:inbox", "source", "source inbox"),
                    TagHit("orders", "orders", "name *.csv"),
                ),
                attributes={"rows": "3"},
            ),
            at_ns=self.clock.wall_ns(),
            runs=tuple(
                NewRun(self.ids.new(), name, 1, priority, options.get("key", ""))
                for name in pipelines
            ),
            held=options.get("held", ""),
            discarded=options.get("discarded", ""),
        )

    async def queued(
        self,
        count: int = 1,
        pipelines: Sequence[str] = ("orders",),
        priority: int = 0,
        *,
        source: str = "inbox",
    ) -> list[str]:
        """Files with a QUEUED run in each pipeline."""
        files = await self.claimed(*[self.claim(source=source) for _ in range(count)])
        assert all(await self.ledger.ingest(files, self.clock.wall_ns())), "not acknowledged"
        routings = [self.routing(file, *pipelines, priority=priority) for file in files]
        assert all(await self.ledger.route(routings)), "not routed"
        return files

    async def running(self, count: int = 1) -> list[RunOrder]:
        """New files with a RUNNING run each; nothing else may be waiting."""
        await self.queued(count)
        return await self.lease(count)

    async def lease(self, limit: int = 100, *excluding: str) -> list[RunOrder]:
        """What waits, now RUNNING."""
        now = self.clock.wall_ns()
        return await self.ledger.lease(limit, now, 1, excluding=excluding)

    def result(self, order: RunOrder, sinks: Sequence[str] = ("out",), bad: int = 0) -> RunResult:
        """A good attempt: 10 records read, one output of the others in each sink."""
        return RunResult(
            order.run,
            order.fence,
            outputs=tuple(self.output(order, sink, 10 - bad) for sink in sinks),
            steps=(
                StepCount("read_csv", 10, 10 - bad, bad=bad, took_ns=2_000_000),
                StepCount("write", 10 - bad, 10 - bad, took_ns=1_000_000),
            ),
            bad=tuple(
                BadRecord("read_csv", n, n + 1, n * 10, n * 10 + 9, "FieldCount", "2 fields, not 3")
                for n in range(1, bad + 1)
            ),
            bad_total=bad,
            records=10,
            took_ns=3_000_000,
        )

    def output(self, order: RunOrder, sink: str = "out", records: int = 10) -> StagedOutput:
        """One staged output, named by publication and fence as sinks do."""
        publication = hashlib.sha256(f"{order.run}/{sink}".encode()).hexdigest()[:26]
        return StagedOutput(
            publication=publication,
            sink=sink,
            name=order.file.name,
            staged=f"/srv/{sink}/.filemill/{publication}.{order.fence}".encode(),
            device=1,
            inode=5_000,
            size=10 * records,
            digest="0" * 64,
            records=records,
        )

    def stage(self, order: RunOrder, sinks: Sequence[str] = ("out",), bad: int = 0) -> Stage:
        """The good end of an attempt."""
        return Stage(self.result(order, sinks, bad), self.clock.wall_ns())

    def child(
        self, order: RunOrder, name: str = "a.csv", tags: Sequence[str] = ("part",)
    ) -> StagedChild:
        """A file that the run emits; every attempt calls it the same."""
        self._inode += 1
        file = hashlib.sha256(f"{order.run}/{name}".encode()).hexdigest()[:13]
        return StagedChild(
            file=file,
            staged=f"/srv/data/children/{file}.{order.fence}".encode(),
            relative=order.file.relative + b"/" + name.encode(),
            identity=Identity(1, self._inode, 50, 8),
            tags=tuple(tags),
        )

    def emitting(self, order: RunOrder, *children: StagedChild) -> Stage:
        """The good end of an attempt that emits these."""
        result = msgspec.structs.replace(self.result(order), children=children)
        contents = tuple(f"c/{child.file}" for child in children)
        return Stage(result, self.clock.wall_ns(), contents)

    async def publishing(self, count: int = 1) -> list[RunOrder]:
        """New files with a PUBLISHING run each."""
        orders = await self.running(count)
        assert all(await self.ledger.stage([self.stage(order) for order in orders])), "not staged"
        return orders

    def finish(self, order: RunOrder, *unverified: str) -> Finish:
        """All outputs visible."""
        return Finish(order.run, order.fence, self.clock.wall_ns(), unverified)

    async def done(self, count: int = 1) -> list[RunOrder]:
        """New files with a DONE run each."""
        orders = await self.publishing(count)
        assert all(await self.ledger.finish([self.finish(order) for order in orders])), "not done"
        return orders

    def failure(
        self, kind: FailureKind = FailureKind.TRANSIENT, message: str = "no answer from 10.0.0.1"
    ) -> Failure:
        """A failure at step `derive` of pipeline `orders`."""
        return Failure(
            kind=kind,
            step="derive",
            error="TimeoutError",
            message=message,
            help="is the service up?",
            traceback='File "steps.py", line 3, in fetch',
            fingerprint=fingerprint("orders", "derive", "TimeoutError", message),
        )

    def fail(
        self, order: RunOrder, state: str, *, after_s: float = 0, message: str = "no answer"
    ) -> Fail:
        """The bad end of an attempt; `after_s` is when it may be tried again."""
        failure = None if state == "held" else self.failure(message=message)
        return Fail(
            run=order.run,
            fence=order.fence,
            at_ns=self.clock.wall_ns(),
            state=state,
            result=RunResult(
                order.run,
                order.fence,
                steps=(StepCount("read_csv", 10, 10),),
                records=10,
                failure=failure,
                hold="please look" if state == "held" else "",
            ),
            failure=failure,
            retry_at_ns=self.clock.wall_ns() + round(after_s * 10**9) if after_s else 0,
        )

    def refused(self, order: RunOrder, sink: str, published: Sequence[str] = ()) -> Fail:
        """A staged run that this sink refused for good, when `published` was out already."""
        failure = msgspec.structs.replace(
            self.failure(FailureKind.PERMANENT, "name taken"), step=f"publish:{sink}"
        )
        result = RunResult(order.run, order.fence)
        return Fail(
            order.run,
            order.fence,
            self.clock.wall_ns(),
            "dead",
            result,
            failure,
            published=tuple(published),
        )

    async def failed(
        self, state: str, *, after_s: float = 0, message: str = "no answer"
    ) -> RunOrder:
        """A new file whose run failed into `state`."""
        (order,) = await self.running()
        (moved,) = await self.ledger.fail(
            [self.fail(order, state, after_s=after_s, message=message)]
        )
        assert moved, "not failed"
        return order
