"""From a plan to its components: sinks, sources, and what intake needs to know of each source."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from filemill.durable import Durable
from filemill.model.events import Emit
from filemill.model.plan import Plan
from filemill.ports.clock import Clock
from filemill.ports.registry import Registry
from filemill.ports.sink import Sink, SinkContext
from filemill.ports.source import Sighting, Source, SourceContext, SourceSettings

OUTSIDE = "cli"
"""The source of files named on the command line that lie in no source's folder."""


def build_sinks(plan: Plan, registry: Registry, durable: Durable) -> dict[str, Sink]:
    """The server's half of every sink, by name."""
    sinks: dict[str, Sink] = {}
    for each in plan.sinks:
        component = registry.get("sinks", each.kind)
        sinks[each.name] = component(
            SinkContext(
                name=each.name,
                options=component.Options.model_validate(each.options),
                timezone=plan.timezone,
                durable=durable,
                sync=plan.durability == "power",
            )
        )
    return sinks


def build_sources(
    plan: Plan,
    registry: Registry,
    *,
    sighted: Callable[[list[Sighting]], None],
    backlog: Callable[[str], int],
    emit: Emit,
    clock: Clock,
) -> dict[str, Source]:
    """Every source of the plan, by name; none is started."""
    sources: dict[str, Source] = {}
    for each in plan.sources:
        component = registry.get("sources", each.kind)
        options = component.Options.model_validate(each.options)
        mine = functools.partial(backlog, each.name)
        context = SourceContext(each.name, options, sighted, emit, clock, mine)
        sources[each.name] = component(context)
    return sources


def settings_of(sources: Mapping[str, Source]) -> dict[str, SourceSettings]:
    """What intake needs to know of each source, and of the command line."""
    known = {name: source.settings() for name, source in sources.items()}
    known.setdefault(
        OUTSIDE,
        SourceSettings(name=OUTSIDE, root=b"/", claim="copy", after="archive", tags=("from:cli",)),
    )
    return known
