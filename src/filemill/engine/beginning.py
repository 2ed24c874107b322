"""An attempt that begins in the middle: with what is kept of the run that ended there (`engine/inputs.py`).

What the steps before found out and counted is entered first, so that outputs have the same headers, bad records are
still the run's own, and books close as if it had begun with the file; nothing of it is done, or counted, again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from filemill.engine.chain import Chain
from filemill.engine.inputs import FROM_START, InputReader, InputUnusable, Told, digest_of
from filemill.records.layout import Hints

if TYPE_CHECKING:
    from filemill.engine.attempt import Attempt
    from filemill.model.plan import PipelinePlan
    from filemill.model.runs import RunOrder
    from filemill.ports.registry import Registry
    from filemill.records.batch import Batch


def opened(
    order: RunOrder, pipeline: PipelinePlan, registry: Registry
) -> tuple[InputReader | None, str]:
    """What this order begins with; None where that is its file, and why, if something was kept for it.

    Nobody loses by the file but time: only who insists on what was kept hears that it is no use any more.

    Raises:
        InputUnusable: a person insists, and nothing is kept, or it is damaged, or the pipeline is not any more what
            it was up to that step.
    """
    if not order.input:
        if order.insists:
            raise InputUnusable("nothing is kept of this run to begin with", help=FROM_START)
        return None, ""
    try:
        begun = InputReader(order.input)
        _fits(begun.told, pipeline, registry)
    except InputUnusable as error:
        if order.insists:
            raise
        return None, error.message
    return begun, ""


def _fits(told: Told, pipeline: PipelinePlan, registry: Registry) -> None:
    place = next((n for n, step in enumerate(pipeline.steps) if step.id == told.step), None)
    if place is None:
        raise InputUnusable(
            f"the run was to begin at step `{told.step}`, and the pipeline has no such step any more",
            help=FROM_START,
        )
    before = msgspec.structs.replace(pipeline, steps=pipeline.steps[:place])
    if not place or digest_of(Chain(before, registry).nodes) != told.before:
        raise InputUnusable(
            f"the run was to begin at step `{told.step}`, and steps before it have changed since its input was kept",
            help=FROM_START,
        )


def hints_of(begun: InputReader | None) -> Hints:
    """What an attempt that begins so knows beforehand."""
    if begun is None:
        return Hints()
    return Hints(columns={step: {0: names} for step, names in begun.told.columns.items()})


def take_over(attempt: Attempt, told: Told) -> None:
    """Enter what the steps before the one to begin at found out and counted."""
    book = attempt.runs[0]
    book.bad, book.bad_total, book.blank = list(told.bad), told.bad_total, told.blank
    book.bad_by_step, book.traceback = dict(told.bad_by_step), dict(told.tracebacks)
    attempt.records[0] = told.records
    counts = {count.step: count for count in told.steps}
    for node in attempt.chain.all_nodes:
        if node.plan.id in counts:
            attempt.books[node.index].enter(0, counts[node.plan.id])
    order = attempt.orders[0]
    file = msgspec.structs.replace(
        order.file, relative=told.relative, size=told.size, changed=told.changed, tags=told.tags
    )
    attempt.orders[0] = msgspec.structs.replace(order, file=file)


def put_back(attempt: Attempt, begun: InputReader) -> None:
    """Put the kept file in the place of the run's own."""
    order = attempt.orders[0]
    path = begun.copy_file(attempt.work_folder(0))
    file = msgspec.structs.replace(order.file, path=path)
    attempt.orders[0] = msgspec.structs.replace(order, file=file)


def go_on(attempt: Attempt, begun: InputReader, place: int) -> None:
    """Take kept records through the steps from `place` on, batch by batch as they came."""
    nodes = attempt.chain.nodes
    rest = attempt.chain.all_nodes
    if place < len(nodes):
        for node in rest[nodes[place].index :]:
            attempt.open(node)
        attempt.enter(nodes[place])
    if begun.told.layout is not None:
        attempt.note_layout(0, begun.told.layout)
    left: Sequence[Batch] = ()
    for batches, last in begun.groups([frozenset(attempt.orders[0].file.tags)]):
        out = [each for batch in batches for each in attempt.push(nodes, place, batch)]
        if last:
            left = out
        else:
            attempt.let_out(out)
    attempt.let_out([*left, *attempt.drain(nodes, place)], last=True)
