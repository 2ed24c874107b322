"""`retention:` applied now, where no server runs; and what would go, beside one or without one."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable

import msgspec

from filemill.contents.local import LocalContent
from filemill.durable import Durable, Failpoints
from filemill.intake.retention import Retention, Swept, cutoffs_of, would_go
from filemill.ledgers.sqlite.compacting import compact, sizes
from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.ledgers.sqlite.lock import InstanceLock
from filemill.ledgers.sqlite.reserve import Reserve
from filemill.ledgers.sqlite.retaining import SqliteDryRetaining
from filemill.model.deeds import Deed
from filemill.model.errors import SystemFault, UsageError
from filemill.model.plan import Plan
from filemill.ports.clock import SystemClock
from filemill.service import acts, replies
from filemill.service.acting import principal_of
from filemill.service.asking import ask_server, read_answer


def collect(
    plan: Plan,
    *,
    older_than: float | None = None,
    told: Callable[[Swept], None] = lambda _: None,
) -> Swept:
    """One pass over the data directory of `plan`: by the server that runs there, or under the instance lock.

    Raises:
        Busy: another command holds the data directory, or a server that starts or stops.
        UsageError: nothing has run there yet.
        SystemFault: the ledger cannot be opened or written.
    """
    must_exist(plan.data)
    act = acts.ApplyRetention(older_than=older_than)
    while (line := ask_server(plan.data, msgspec.json.encode(act) + b"\n")) is not None:
        answer = read_answer(line)
        if not isinstance(answer, replies.Collected):
            raise SystemFault("the server answered something else than what it was asked")
        swept = Swept(
            files=answer.files,
            bytes=answer.bytes,
            forgotten=answer.forgotten,
            rows=answer.rows,
            looked=answer.looked,
        )
        told(swept)
        if answer.over:
            return swept
        act = acts.ApplyRetention(older_than=older_than, begin=False)
    return asyncio.run(_alone(plan, older_than, told))


async def _alone(plan: Plan, older_than: float | None, told: Callable[[Swept], None]) -> Swept:
    durable = Durable(Failpoints.from_environment("gc"), sync=plan.durability == "power")
    clock = SystemClock()
    with InstanceLock(plan.data):
        ledger = await SqliteLedger.open(
            ledger_of(plan.data), durable=durable, clock=clock, reserve=Reserve(plan.data)
        )
        try:
            retention = Retention(
                ledger=ledger, content=_content(plan.data, durable), durable=durable, clock=clock
            )
            now = clock.wall_ns()
            span = "" if older_than is None else f"older than {older_than:g}s"
            await ledger.note("gc", ["retention"], span, Deed(principal_of(os.geteuid()), now))
            return await retention.sweep(cutoffs_of(plan.retention, now, older_than), told=told)
        except OSError as error:
            raise SystemFault(
                f"what the ledger gave up cannot be removed: {error}",
                help="nothing is lost: repair the disk and start it again, it goes on where it ended",
            ) from error
        finally:
            await ledger.close()


def would_collect(
    plan: Plan,
    *,
    older_than: float | None = None,
    told: Callable[[Swept], None] = lambda _: None,
) -> Swept:
    """What `collect` would do now. Changes nothing; works beside a running server."""
    must_exist(plan.data)
    now = SystemClock().wall_ns()
    ledger = SqliteDryRetaining.open(ledger_of(plan.data))
    try:
        return asyncio.run(would_go(ledger, cutoffs_of(plan.retention, now, older_than), now, told))
    finally:
        ledger.close()


def compact_ledger(data: str) -> tuple[int, int]:
    """Write the ledger anew without its free pages, under the instance lock; answers with its sizes before and after.

    Raises:
        Busy: a server runs there.
        UsageError: there is not enough room, with help.
        SystemFault: it failed; the ledger is as it was.
    """
    must_exist(data)
    path = ledger_of(data)
    with InstanceLock(data):
        before = sizes(path)
        free = shutil.disk_usage(data).free
        if free < 2 * before:
            raise UsageError(
                f"compacting the ledger takes twice its size for a while: {before * 2} bytes, {free} are free",
                help="make room first; without --compact the free pages are used again for what comes",
            )
        compact(path)
        return before, sizes(path)


def must_exist(data: str) -> None:
    """Raise UsageError, with help, where there is no ledger."""
    if not os.path.exists(ledger_of(data)):
        raise UsageError(
            f"nothing has run here yet: no ledger in {data}",
            help="filemill run, or filemill run --once FILE; FILEMILL_DATA_DIR names another place",
        )


def ledger_of(data: str) -> str:
    """The ledger's path in a data directory."""
    return os.path.join(data, "ledger.db")


def _content(data: str, durable: Durable) -> LocalContent:
    return LocalContent(os.path.join(os.fsencode(data), b"content"), durable)
