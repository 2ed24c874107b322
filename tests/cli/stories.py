"""A ledger with one file of every kind in it, told through the ledger's own methods."""

import asyncio
import os
import time

from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.model.errors import FailureKind
from filemill.model.files import Claim, Facts, Identity, TagHit
from filemill.model.fingerprint import fingerprint
from filemill.model.runs import BadRecord, Failure, RunResult, StagedOutput, StepCount
from filemill.ports.ledger import Fail, Finish, NewRun, Routing, Stage

SECOND = 10**9
MISSING = "column 'amount' missing; header has 'amonut'"


class Story:
    """Writes what happened; `now` moves on by a tenth of a second with every step."""

    def __init__(self, ledger, root):
        self.ledger = ledger
        self.root = os.fsencode(root)
        self.now = time.time_ns() - 600 * SECOND

    def later(self, seconds=0.1):
        self.now += int(seconds * SECOND)
        return self.now

    async def came(
        self, file, name, *, tags=("orders",), pipelines=("orders",), held="", refused=""
    ):
        await self.ledger.begin_claims(
            [
                Claim(
                    file=file,
                    source="partners",
                    path=self.root + b"/inbox/" + name,
                    relative=name,
                    identity=Identity(1, 2, 38_400, 3),
                    content=f"aa/{file}",
                    claimed_ns=self.later(),
                    tags=("partner:acme",),
                )
            ]
        )
        await self.ledger.ingest([file], self.later())
        facts = Facts(
            file=file,
            digest="ab" * 32,
            media="text/csv",
            header=("order_id", "amount"),
            tags=(
                TagHit("partner:acme", "source", "source partners"),
                *(TagHit(tag, tag, "name *.csv, header has order_id") for tag in tags),
            ),
            refused=refused,
        )
        runs = tuple(NewRun(f"r{i}{file[:8]}777", each, 1) for i, each in enumerate(pipelines))
        await self.ledger.route([Routing(facts, self.later(), runs=runs, held=held)])

    async def leased(self):
        (order,) = await self.ledger.lease(1, self.later(), 1)
        return order

    async def done(self, bad=0):
        order = await self.leased()
        root = self.root + b"/out"
        name = order.file.relative
        result = RunResult(
            run=order.run,
            fence=order.fence,
            outputs=(
                StagedOutput(
                    publication=f"p-{order.run}",
                    sink="warehouse",
                    name=name,
                    staged=root + b"/.filemill/p.1",
                    device=1,
                    inode=5,
                    size=30_000,
                    digest="cd" * 32,
                    records=407,
                ),
            ),
            steps=(
                StepCount("read_csv", 0, 412, took_ns=140_000_000),
                StepCount("filter", 412, 407, filtered=5 - bad, bad=bad, took_ns=20_000_000),
                StepCount("write", 407, 407, took_ns=40_000_000),
            ),
            bad=tuple(
                BadRecord("filter", i, i + 1, 10, 20, "FieldCount", f"3 fields, not 2 \x1b[2J{i}")
                for i in range(bad)
            ),
            bad_total=bad,
            records=412,
            took_ns=200_000_000,
        )
        await self.ledger.stage([Stage(result, self.later(0.2))])
        await self.ledger.finish([Finish(order.run, order.fence, self.later())])

    async def fails(
        self, state, *, kind=FailureKind.PERMANENT, error="SchemaError", message=MISSING
    ):
        order = await self.leased()
        failure = Failure(
            kind=kind,
            step="check",
            error=error,
            message=message,
            help="fix the header or alias it",
            traceback='Traceback:\n  File "steps.py", line 31, in check',
            fingerprint=fingerprint("orders", "check", error, message),
        )
        result = RunResult(
            run=order.run,
            fence=order.fence,
            steps=(StepCount("read_csv", 0, 412, took_ns=1_000_000),),
            records=412,
            took_ns=60_000_000,
            failure=failure,
        )
        retry_at = self.later() + 3600 * SECOND if state == "retrying" else 0
        fail = Fail(order.run, order.fence, self.now, state, result, failure, retry_at_ns=retry_at)
        await self.ledger.fail([fail])


async def _tell(data, root):
    os.makedirs(data)
    ledger = await SqliteLedger.open(os.path.join(data, "ledger.db"))
    await ledger.add_revision("d" * 64, "version: 1", time.time_ns())
    story = Story(ledger, root)
    await story.came("aaaaaaaa22222", b"acme/orders-0412.csv")
    await story.done(bad=2)
    await story.came("bbbbbbbb22222", b"acme/orders-0413.csv")
    await story.fails("dead")
    await story.came("bbbbbbbc22222", b"acme/orders-0414.csv")
    await story.fails("dead")
    await story.came(
        "cccccccc22222", b"evil\x1b[2J\xff.csv", tags=(), pipelines=(), held="unrouted"
    )
    await story.came("dddddddd22222", b"late.csv")
    await story.fails(
        "retrying", kind=FailureKind.TRANSIENT, error="TimeoutError", message="no answer"
    )
    await story.came("eeeeeeee22222", b"huge.csv", pipelines=(), refused="larger than 200MB")
    await ledger.close()


def tell(root):
    """Make `root`/filemill.yaml and the ledger beside it."""
    with open(os.path.join(root, "filemill.yaml"), "w", encoding="utf-8") as file:
        file.write("version: 1\n")
    asyncio.run(_tell(os.path.join(root, ".filemill"), root))
