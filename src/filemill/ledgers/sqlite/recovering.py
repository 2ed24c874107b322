"""Taking over what a former server left behind, in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from filemill.ledgers.sqlite import chunks, claims
from filemill.ledgers.sqlite.attempts import SQL, note_attempt
from filemill.ledgers.sqlite.outputs import STAGED, publication
from filemill.ledgers.sqlite.packing import pack_attempt, pack_failure
from filemill.ledgers.sqlite.runs import orders
from filemill.ledgers.sqlite.transaction import Transaction, numbers
from filemill.model.errors import FailureKind
from filemill.model.fingerprint import fingerprint
from filemill.model.runs import Failure, Publication, RunResult
from filemill.model.states import RunState
from filemill.ports.ledger import Recovered


class _Running(msgspec.Struct, array_like=True, gc=False):
    no: int
    run: str
    pipeline: str
    fence: int
    attempt: int
    interruptions: int
    began_ns: int
    revision: int


_RUNNING = msgspec.json.Decoder(list[_Running])
_NUMBERS = msgspec.json.Decoder(list[int])


def recover(
    tx: Transaction, at_ns: int, max_interruptions: int, begun: Collection[str] | None
) -> Recovered:
    """Queue or end what was running; list the rest. `begun` None: all that was running had begun."""
    running = tx.read(SQL["left_running"], _RUNNING)
    interrupted = _interrupt(tx, running, at_ns, max_interruptions, begun)
    publishing = tuple(orders(tx, tx.read(SQL["left_publishing"], _NUMBERS)))
    staged = _staged(tx, RunState.PUBLISHING)
    waiting = {each.run for each in staged}
    return Recovered(
        claiming=claims.left_claims(tx),
        uninspected=claims.left_uninspected(tx),
        publishing=staged,
        publishing_empty=tuple(
            (order.run, order.fence) for order in publishing if order.run not in waiting
        ),
        publishing_runs=publishing,
        interrupted=interrupted,
        revisions=tuple(sorted({run.revision for run in running})),
        kept_staged=(
            *(each.staged for each in _staged(tx, RunState.DEAD)),
            *chunks.kept_paths(tx),
        ),
    )


def _interrupt(
    tx: Transaction,
    left: Sequence[_Running],
    at_ns: int,
    limit: int,
    begun: Collection[str] | None,
) -> int:
    """RUNNING -> QUEUED, or DEAD over the limit; answers how many are queued again.

    Only runs that had begun are counted as interrupted. One that was interrupted often runs alone from then on, so that
    a file which ends servers is found; not from the first time, since killing a server is no file's fault.
    """
    queued: dict[tuple[int, int], list[int]] = {}
    for run in left:
        counted = int(begun is None or run.run in begun)
        times = run.interruptions + counted
        if times > limit:
            _give_up(tx, run, at_ns)
        else:
            solo = int(times * 2 >= limit)
            queued.setdefault((counted, solo), []).append(run.no)
            if counted:
                tx.tally.add(at_ns, "interrupted", pipeline=run.pipeline)
    for (counted, solo), runs in queued.items():
        tx.run(SQL["interrupt"], numbers(runs), at_ns, counted, solo)
    return sum(map(len, queued.values()))


def _give_up(tx: Transaction, run: _Running, at_ns: int) -> None:
    message = f"the server ended {run.interruptions + 1} times while this run was running"
    group = fingerprint(run.pipeline, "", "Interrupted", message)
    failure = Failure(
        kind=FailureKind.INTERRUPTED,
        step="",
        error="Interrupted",
        message=message,
        help="if the server was stopped on purpose, redrive it; else this file may be what ends it",
        fingerprint=group,
    )
    tx.run(SQL["give_up"], run.no, at_ns, group, failure.error, message)
    tx.run(SQL["drop_chunks"], numbers([run.no]))
    nothing = pack_attempt(RunResult("", run.fence))
    note_attempt(
        tx,
        [
            (
                run.no,
                run.fence,
                run.attempt,
                run.began_ns,
                at_ns,
                str(RunState.DEAD),
                nothing,
                pack_failure(failure),
                run.revision,
            )
        ],
    )
    tx.tally.add(at_ns, RunState.DEAD, pipeline=run.pipeline)


def _staged(tx: Transaction, state: RunState) -> tuple[Publication, ...]:
    return tuple(map(publication, tx.read(SQL["left_staged"], STAGED, str(state))))
