"""From a file's tags to the pipelines that want it, in the order they are written."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from filemill.model.plan import PipelinePlan, Plan

UNROUTED = "unrouted"
"""The reason of a file that no pipeline wants."""


class Routed(msgspec.Struct, frozen=True):
    """What becomes of a file with certain tags: its pipelines, or why it is held. Never both."""

    pipelines: tuple[PipelinePlan, ...] = ()
    held: str = ""


def conflict(pipelines: Sequence[PipelinePlan]) -> str:
    """Why these pipelines may not all have one file: an exclusive one wants it alone; empty when they may."""
    if len(pipelines) < 2:
        return ""
    exclusive = next((pipeline for pipeline in pipelines if pipeline.exclusive), None)
    if exclusive is None:
        return ""
    others = ", ".join(pipeline.name for pipeline in pipelines if pipeline is not exclusive)
    return f"pipeline {exclusive.name} is exclusive, but {others} matches too"


def pipelines_for(tags: Collection[str], plan: Plan) -> Routed:
    """The pipelines whose `when:` these tags satisfy, in plan order.

    Held instead: as `unrouted` when there is none, and when an exclusive one is not alone.
    """
    pipelines = [pipeline for pipeline in plan.pipelines if pipeline.when.matches(tags)]
    held = conflict(pipelines) if pipelines else UNROUTED
    return Routed(held=held) if held else Routed(tuple(pipelines))
