"""Executing a batch of runs in a worker.

Small files travel together: the whole batch is tried at once, and only when something raises is every run tried alone,
each one announced, so that the guilty run fails and its neighbours do not. Bad records raise nothing; a run with more
of them than its pipeline tolerates is taken out of the batch before anything is handed over.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Sequence

from filemill.durable import Durable
from filemill.engine.allocating import give_back
from filemill.engine.attempt import Attempt
from filemill.engine.beginning import hints_of, opened
from filemill.engine.capturing import Capturing
from filemill.engine.chain import Chain
from filemill.engine.chunk_work import ChunkWork
from filemill.engine.failures import FAILS, failure_of
from filemill.engine.observing import Observer
from filemill.engine.plaintext import Plaintext, reading_of
from filemill.engine.sending import Sinks
from filemill.engine.tolerating import over_tolerance
from filemill.model.errors import FailureKind, PermanentError
from filemill.model.plan import Plan
from filemill.model.runs import BadRecord, Failure, RunOrder, RunResult
from filemill.ports.registry import Registry
from filemill.records.layout import Restart

RESTARTS = 1_000
"""Every restart widens a type or a header, so this many mean that something does not."""


def _no_progress(allowed: float) -> None:
    """Nobody watches."""


class Executor:
    """Runs orders under one plan. Pipelines are compiled when their first order comes, and kept."""

    def __init__(
        self,
        plan: Plan,
        registry: Registry,
        durable: Durable,
        observer: Observer | None = None,
        plaintext: Plaintext | None = None,
    ) -> None:
        self._plan = plan
        self._registry = registry
        self._observer = observer
        self._plaintext = plaintext
        self._chains: dict[str, Chain] = {}
        self._sinks = Sinks(plan, registry, durable)
        self.chunks = ChunkWork(plan, self._chain, self._sinks, plaintext)
        """Pieces of big files, under the same plan."""
        self.inputs = Capturing(plan, registry, self._chain, self._sinks, plaintext)
        """Keeps the inputs of steps at which runs ended, under the same plan."""
        self._began_at = self._fell_back = ""
        self._reading = reading_of(plaintext)
        self._size_of = _size_of if plaintext is None else plaintext.size_of

    def execute(
        self,
        orders: Sequence[RunOrder],
        announce: Callable[[Sequence[RunOrder]], None],
        progress: Callable[[float], None] = _no_progress,
    ) -> list[RunResult]:
        """One result per order, in the order asked; all orders are of one pipeline.

        `announce` is told which runs start now, before they do: a batch at once, or one alone. `progress` is
        told, as each step begins, how many seconds it may take. Staged outputs in the results are synced. Raises
        nothing of the runs' own.
        """
        results: dict[str, RunResult] = {}
        # What begins with kept input begins where no other does.
        apart = {order.run for order in orders if order.solo or order.input or order.insists}
        together = [order for order in orders if order.run not in apart]
        alone = [order for order in orders if order.run in apart]
        if len(together) > 1:
            announce(together)
            made = self._tried(together, progress)
            if isinstance(made, Failure) and made.kind is not FailureKind.SYSTEM:
                alone = list(orders)
            else:
                results.update(self._results(together, made))
        else:
            alone = list(orders)
        for order in alone:
            announce([order])
            results.update(self._results([order], self._tried([order], progress)))
        return [results[order.run] for order in orders]

    def is_tame(self, pipeline: str) -> bool:
        """Say whether it is sure that a run of this pipeline leaves the process as it found it."""
        chain = self._chains.get(pipeline)
        return chain is not None and chain.tame and self._sinks.own

    def _results(
        self, orders: Sequence[RunOrder], made: Failure | dict[str, RunResult]
    ) -> dict[str, RunResult]:
        if isinstance(made, dict):
            return made
        return {
            order.run: RunResult(
                order.run,
                order.fence,
                failure=made,
                began_at=self._began_at,
                fell_back=self._fell_back,
            )
            for order in orders
        }

    def _tried(
        self, orders: Sequence[RunOrder], progress: Callable[[float], None]
    ) -> Failure | dict[str, RunResult]:
        """As `_try`; and what a run held that came to the limit of memory is no burden to the next one."""
        if self._plaintext is None:
            made = self._try(orders, progress)
        else:
            try:
                by_place = self._chain(orders[0].pipeline).reads_by_place
                with self._plaintext.orders(orders, by_place=by_place) as plain:
                    made = self._try(plain, progress)
            except FAILS as error:  # of the content: `_try` raises nothing of the runs' own
                self._began_at = self._fell_back = ""
                made = failure_of(error, orders[0].pipeline, "")
        if isinstance(made, Failure) and made.kind is FailureKind.CRASH:
            gc.collect()  # an exception and the frames that it passed hold each other
            give_back()
        return made

    def _try(
        self, orders: Sequence[RunOrder], progress: Callable[[float], None]
    ) -> Failure | dict[str, RunResult]:
        """The results of these orders tried together, or why they failed together; nothing stays staged then."""
        pipeline = orders[0].pipeline
        began = time.perf_counter_ns()
        at = ""
        self._began_at = orders[0].from_step if orders[0].input else ""
        self._fell_back = ""
        try:
            for order in orders:
                must_be_whole(order, self._size_of)
            chain = self._chain(pipeline)
            at = orders[0].from_step
            begun, self._fell_back = opened(orders[0], chain.plan, self._registry)
            self._began_at = begun.told.step if begun else ""
            hints = hints_of(begun)
            for _ in range(RESTARTS):
                attempt = Attempt(
                    self._plan,
                    chain,
                    orders,
                    sinks=self._sinks,
                    hints=hints,
                    progress=progress,
                    observer=self._observer,
                    begun=begun,
                    reading=self._reading,
                )
                try:
                    return self._finish(attempt, chain, began)
                except Restart as restart:
                    attempt.sends.abort()
                    wider = hints.merge(restart.hints)
                    if wider == hints:
                        return failure_of(_endless(), pipeline, attempt.at)
                    hints = wider
                except FAILS as error:  # users' code: every class is an answer
                    attempt.sends.abort()
                    return failure_of(error, pipeline, attempt.at)
                except BaseException:
                    attempt.sends.abort()
                    raise
                finally:
                    attempt.close()
            return failure_of(_endless(), pipeline, "")
        except FAILS as error:  # the pipeline does not even compile, or has no place to begin at
            return failure_of(error, pipeline, at)

    def _chain(self, pipeline: str) -> Chain:
        chain = self._chains.get(pipeline)
        if chain is None:
            chain = self._chains[pipeline] = Chain(self._plan.pipeline(pipeline), self._registry)
            for name, node in chain.emits.items():
                self._sinks.add_hidden(name, node.hidden or {})
        return chain

    def _finish(self, attempt: Attempt, chain: Chain, began: int) -> dict[str, RunResult]:
        attempt.run()
        failures: dict[str, Failure] = {}
        for number, order in enumerate(attempt.orders):
            failure = over_tolerance(
                attempt.runs[number],
                attempt.records[number],
                order.pipeline,
                chain.plan.tolerance,
            )
            if failure is not None:
                failures[order.run] = failure
            if failure is not None or attempt.runs[number].hold is not None:
                attempt.sends.drop(order.run)
        attempt.sends.open(chain.sinks)
        outputs = attempt.sends.finish()
        given = {name: node.refers.children or () for name, node in chain.emits.items()}
        children = attempt.sends.emitted(outputs, given)
        took_ns = (time.perf_counter_ns() - began) // len(attempt.orders)
        # One row a run: the step's own lists are by step.
        steps = zip(
            *(attempt.books[node.index].counts(node.plan.id) for node in chain.all_nodes),
            strict=True,
        )
        results = {}
        for number, (order, counts) in enumerate(zip(attempt.orders, steps, strict=True)):
            book = attempt.runs[number]
            failure = failures.get(order.run)
            hold = book.hold if failure is None else None
            results[order.run] = RunResult(
                run=order.run,
                fence=order.fence,
                outputs=() if failure or hold else tuple(outputs.get(order.run, ())),
                steps=counts,
                bad=tuple(sorted(book.bad, key=_number)) if book.bad else (),
                bad_total=book.bad_total,
                records=attempt.records[number],
                form=attempt.columns.form_of(number) if book.bad else None,
                blank=book.blank,
                took_ns=took_ns,
                failure=failure,
                children=() if failure else children.get(order.run, ()),
                hold=hold.said() if hold else "",
                hold_step=hold.step if hold else "",
                choices=hold.choices if hold else (),
                began_at=self._began_at,
                fell_back=self._fell_back,
            )
        return results


def must_be_whole(order: RunOrder, size_of: Callable[[bytes], int]) -> None:
    """Content is immutable: what is gone, or has another length than it had, was not taken away by this program.

    `size_of` says how many plain bytes there are at a path.

    Raises:
        PermanentError: it is so.
        OSError: it cannot be looked at.
    """
    try:
        size = size_of(order.file.path)
    except FileNotFoundError:
        size = None
    if size == order.file.size:
        return
    what = "is gone" if size is None else f"has {size:,} bytes, it had {order.file.size:,}"
    raise PermanentError(
        f"the content of this file {what}",
        help="put it back from a backup (`filemill restore`) and redrive it, or drop the file again; "
        "`filemill verify --deep` finds all that are damaged",
    )


def _size_of(path: bytes) -> int:
    return os.stat(path).st_size


def _number(bad: BadRecord) -> int:
    return bad.record


def _endless() -> PermanentError:
    return PermanentError(
        "the file was read again and again without an end",
        help="declare the types of its columns where it is read; this is a bug, please report it",
    )
