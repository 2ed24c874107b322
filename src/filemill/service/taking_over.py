"""Taking over what a former server left, however it ended: before any source is watched."""

from __future__ import annotations

import asyncio

import msgspec

from filemill.durable import Durable
from filemill.engine.adopting import sweep_children
from filemill.engine.states import sweep as sweep_states
from filemill.engine.work import sweep_inputs
from filemill.model.plan import Plan
from filemill.ports.ledger import Recovered
from filemill.service.acting import as_staged
from filemill.service.parts import Parts


async def take_over(parts: Parts, plan: Plan, left: Recovered, durable: Durable) -> int:
    """Go on with claims, files to route, runs to publish and contents to dispose of; how many files and runs it was.

    What nothing in the ledger speaks of any more (staged outputs, children, states, inputs) is removed.

    Raises:
        FilemillError: a source or sink cannot be used, or content is not readable.
    """
    staged = as_staged(left.publishing_runs, left.publishing)
    unclaimed = {claim.path for claim in left.claiming if claim.parent is not None}
    await asyncio.to_thread(sweep_children, plan.data, unclaimed, durable)
    known = frozenset((*(p.staged for p in left.publishing), *left.kept_staged))
    before = {order.revision for order in left.publishing_runs} | set(left.revisions)
    for number in before:
        await parts.revisions.know_sinks(number)
    sinks = [parts.revisions.sinks_of(number) for number in before | {plan.revision}]
    for sink in {id(sink): sink for each in sinks for sink in each.values()}.values():
        await asyncio.to_thread(sink.sweep, known)
    await asyncio.to_thread(sweep_states, plan.data, known)
    await asyncio.to_thread(sweep_inputs, plan.data)
    parts.publisher.put(staged)
    placed = [parts.placed(file) for file in left.uninspected]
    refs = await parts.intake.recover(msgspec.structs.replace(left, uninspected=tuple(placed)))
    going_on = await parts.ledger.open_uploads()
    await asyncio.to_thread(parts.uploads.open, frozenset(going_on))
    parts.acknowledged(refs)
    parts.disposer.look()
    return len(left.claiming) + len(left.uninspected) + len(staged) + left.interrupted
