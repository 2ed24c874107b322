"""Keeping the input of the step at which a run ended: the steps before it work once more, into a file.

It costs runs that end well nothing: it is asked for when it is decided that a run waits for a person. The price is that
functions of the users' own are called once more for the steps before, as they are by any retry.

Where a run may begin anew is not always where it ended. Nothing of a run is published before all of it is staged, so it
cannot begin behind a step that has sent something to a sink or emitted a file, nor behind a `hold` that asks for a
person; of a branch the route is its beginning; and what stands directly behind a reader is given what the reader reads,
so the file is kept as the reader was given it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence

import msgspec

from filemill.engine.attempt import Attempt
from filemill.engine.beginning import hints_of, opened
from filemill.engine.chain import Chain
from filemill.engine.failures import FAILS
from filemill.engine.inputs import InputWriter, Told, TooBig, Unwritable, digest_of
from filemill.engine.plaintext import Plaintext, reading_of
from filemill.engine.sending import Sinks
from filemill.engine.work import inputs_folder
from filemill.model.plan import PipelinePlan, Plan, StepPlan
from filemill.model.runs import Captured, KeptInput, RunOrder
from filemill.ports.registry import Registry
from filemill.ports.units import format_size
from filemill.records.layout import Restart

RESTARTS = 1_000
_STAGE = "stage:"


class Nothing(Exception):
    """Nothing is kept; the text says why, if there is something to say."""


class Capturing:
    """Keeps inputs, under one plan."""

    def __init__(
        self,
        plan: Plan,
        registry: Registry,
        chains: Callable[[str], Chain],
        sinks: Sinks,
        plaintext: Plaintext | None = None,
    ) -> None:
        self._plan = plan
        self._registry = registry
        self._chains = chains
        self._sinks = sinks
        self._plaintext = plaintext

    def capture(self, order: RunOrder, step: str, progress: Callable[[float], None]) -> Captured:
        """Keep what this order's run needs to begin at `step`, or as near before it as it can. Raises nothing."""
        try:
            if self._plaintext is None:
                return self._capture(order, step, progress)
            by_place = self._chains(order.pipeline).reads_by_place
            with self._plaintext.orders([order], by_place=by_place) as (plain,):
                return self._sealed(self._capture(plain, step, progress), self._plaintext)
        except Nothing as nothing:
            return Captured(order.run, why=str(nothing))
        except TooBig:
            limit = format_size(self._plan.max_kept)
            return Captured(order.run, why=f"it is more than `max_kept` allows ({limit})")
        except Unwritable as error:
            return Captured(order.run, why=f"it could not be written: {error}")
        except FAILS as error:  # users' code: every class is an answer
            said = f"{type(error).__name__}: {error}"
            return Captured(
                order.run, why=f"the steps before it failed when they worked again: {said}"
            )

    def _folder(self) -> bytes:
        """Where an input is written: plain bytes go with this worker's job, however it ends."""
        if self._plaintext is None:
            return inputs_folder(self._plan.data)
        return os.fsencode(tempfile.gettempdir())

    @staticmethod
    def _sealed(captured: Captured, plaintext: Plaintext) -> Captured:
        """The same, encrypted where the server takes it from."""
        if not captured.path:
            return captured
        folder = inputs_folder(plaintext.data)
        path = os.path.join(folder, os.path.basename(captured.path))
        try:
            os.makedirs(folder, 0o700, exist_ok=True)
            plaintext.seal(captured.path, path)
        except OSError as error:
            raise Unwritable(error.strerror or str(error)) from error
        return msgspec.structs.replace(captured, path=path)

    def _capture(self, order: RunOrder, asked: str, progress: Callable[[float], None]) -> Captured:
        if not self._plan.max_kept:
            raise Nothing("`max_kept` is 0")
        pipeline = self._plan.pipeline(order.pipeline)
        begun, _ = opened(order, pipeline, self._registry)
        chain, place = self._before(pipeline, asked)
        if begun is not None and place <= _place(pipeline.steps, begun.told.step):
            return begun.as_captured(order.run)  # what it began with is still there
        folder = self._folder()
        try:
            os.makedirs(folder, 0o700, exist_ok=True)
        except OSError as error:
            raise Unwritable(error.strerror or str(error)) from error
        hints = hints_of(begun)
        for _ in range(RESTARTS):
            writer = InputWriter(
                folder + f"/{order.run}.{order.fence}".encode(), self._plan.max_kept
            )
            attempt = Attempt(
                self._plan,
                chain,
                [order],
                sinks=self._sinks,
                hints=hints,
                progress=progress,
                begun=begun,
                outlet=writer,
                reading=reading_of(self._plaintext),
            )
            try:
                attempt.run()
                hold = attempt.runs[0].hold
                if hold is None:
                    return self._written(attempt, writer, pipeline, place, asked)
            except Restart as restart:
                hints = hints.merge(restart.hints)
                continue
            finally:
                attempt.sends.abort()
                attempt.close()
                writer.abandon()
            # Nobody has decided yet: a run that began behind that step would go on unasked.
            return self._capture(order, hold.step, progress)
        raise Nothing("the file was read again and again without an end")

    def _written(
        self, attempt: Attempt, writer: InputWriter, pipeline: PipelinePlan, place: int, asked: str
    ) -> Captured:
        chain, order, book = attempt.chain, attempt.orders[0], attempt.runs[0]
        reads = any(node.reads for node in chain.nodes)
        if not reads:
            if not order.file.changed:
                raise Nothing  # no step has made another file of it
            writer.take_file(order.file.path)
        layout = None
        with contextlib.suppress(KeyError):  # a file without a byte has none
            layout = attempt.columns.layout_of(0) if reads else None
        file = order.file
        told = Told(
            step=pipeline.steps[place].id,
            before=digest_of(chain.nodes),
            asked=asked,
            relative=file.relative,
            size=file.size,
            changed=file.changed,
            tags=file.tags,
            pieces=writer.pieces() if reads else None,
            layout=layout,
            columns={step: by_file[0] for step, by_file in attempt.learned().columns.items()},
            steps=tuple(
                msgspec.structs.replace(
                    attempt.books[node.index].counts(node.plan.id)[0], took_ns=0
                )
                for node in chain.all_nodes
            ),
            within=writer.records,
            records=attempt.records[0],
            blank=book.blank,
            bad=tuple(book.bad),
            bad_total=book.bad_total,
            bad_by_step=book.bad_by_step,
            tracebacks=book.traceback,
        )
        writer.finish(told)
        return Captured(order.run, KeptInput(told.step, writer.size, writer.records), writer.path)

    def _before(self, pipeline: PipelinePlan, asked: str) -> tuple[Chain, int]:
        """The steps before the one that a run may begin at, and its place.

        Raises:
            Nothing: it is given the file itself.
        """
        place = _place(pipeline.steps, asked)
        if place < 0:
            raise Nothing(f"no step of the pipeline is called `{asked}`")
        if place == 0:
            raise Nothing
        chain = self._up_to(pipeline, place)
        place = next((at for at, node in enumerate(chain.nodes) if node.sends()), place)
        if chain.nodes[place - 1].reads:
            place -= 1
        if place == 0:
            raise Nothing
        chain = self._up_to(pipeline, place)
        # All that a step may want to see of a record is seen as it was where the file was read.
        chain.needs = None
        chain.named |= self._named(pipeline)
        return chain, place

    def _up_to(self, pipeline: PipelinePlan, place: int) -> Chain:
        before = msgspec.structs.replace(pipeline, steps=pipeline.steps[:place])
        return Chain(before, self._registry)

    def _named(self, pipeline: PipelinePlan) -> frozenset[str]:
        """Columns that any expression of the pipeline names; none where it does not compile."""
        try:
            return self._chains(pipeline.name).named
        except FAILS:
            return frozenset()


def _place(steps: Sequence[StepPlan], step: str) -> int:
    """Where in a sequence the step of this id is, or the one in whose branches it is; -1: nowhere.

    A sink that could not take what it was sent (`stage:<sink>`) counts as the first step that sends to it.
    """
    for at, plan in enumerate(steps):
        if any(step == name for name in _names(plan)):
            return at
    return -1


def _names(plan: StepPlan) -> Iterator[str]:
    yield plan.id
    to = plan.options.get("to", ()) if plan.uses == "write" else ()
    for sink in [to] if isinstance(to, str) else to:
        yield f"{_STAGE}{sink}"
    for route in plan.routes:
        yield from (f"{_STAGE}{sink}" for sink in route.sinks)
        for step in route.steps:
            yield from _names(step)
