"""From a plan to its components: sinks, sources, and what intake needs to know of each source."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from filemill.durable import Durable
from filemill.model.events import Emit
from filemill.model.plan import Plan, SinkPlan, SourcePlan
from filemill.ports.clock import Clock
from filemill.ports.registry import Registry
from filemill.ports.sink import Sink, SinkContext
from filemill.ports.source import Sighting, Source, SourceContext, SourceSettings

OUTSIDE = "cli"
"""The source of files named on the command line that lie in no source's folder."""


def build_sinks(plan: Plan, registry: Registry, durable: Durable) -> dict[str, Sink]:
    """The server's half of every sink, by name."""
    return {each.name: build_sink(each, plan, registry, durable) for each in plan.sinks}


def build_sink(sink: SinkPlan, plan: Plan, registry: Registry, durable: Durable) -> Sink:
    """The server's half of one sink of the plan."""
    component = registry.get("sinks", sink.kind)
    built: Sink = component(
        SinkContext(
            name=sink.name,
            options=component.Options.model_validate(sink.options),
            timezone=plan.timezone,
            durable=durable,
            sync=plan.durability == "power",
            keepers=plan.encryption.recipients if plan.encryption is not None else (),
        )
    )
    return built


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
    return {
        each.name: build_source(
            each,
            registry,
            sighted=sighted,
            backlog=functools.partial(backlog, each.name),
            emit=emit,
            clock=clock,
        )
        for each in plan.sources
    }


def build_source(
    source: SourcePlan,
    registry: Registry,
    *,
    sighted: Callable[[list[Sighting]], None],
    backlog: Callable[[], int],
    emit: Emit,
    clock: Clock,
) -> Source:
    """One source, not started."""
    component = registry.get("sources", source.kind)
    options = component.Options.model_validate(source.options)
    built: Source = component(SourceContext(source.name, options, sighted, emit, clock, backlog))
    return built


def settings_of(sources: Mapping[str, Source]) -> dict[str, SourceSettings]:
    """What intake needs to know of each source, and of the command line."""
    known = {name: source.settings() for name, source in sources.items()}
    known.setdefault(
        OUTSIDE,
        SourceSettings(name=OUTSIDE, root=b"/", claim="copy", after="archive", tags=("from:cli",)),
    )
    return known
