"""Pipelines that emit what they subscribe to: found before files go round and end at the depth where children end.

A child has the tags of its source and those that its step gives; what rules add by its name or content cannot be known
here. So a circle is told where these tags alone lead back; what a rule leads back is left to the limit of depth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from filemill.config.elements import Draft, PipelineParts, Step, steps_in
from filemill.config.problems import Problems
from filemill.config.tagging import FROM_COMMAND_LINE
from filemill.model.runs import MAX_DEPTH


def check_circles(draft: Draft, problems: Problems) -> None:
    """Warn of each step whose children come back to its pipeline, directly or through others."""
    for pipeline in draft.pipelines:
        for step in emitting(pipeline):
            way = _way_back(draft, pipeline, step)
            if way:
                behind = " -> ".join(f"`{name}`" for name in way)
                message = f"files that `{step.uses}` emits come back to it: {behind} ({step.where})"
                advice = (
                    "give them a tag and exclude it: `when: ... and not TAG`; "
                    f"as it is they end as dead letters at depth {MAX_DEPTH}"
                )
                problems.warn("circle", message, step.key.place, advice)


def emitting(pipeline: PipelineParts) -> list[Step]:
    """The steps of a pipeline that emit files."""
    return [step for step in steps_in(pipeline.steps) if step.uses_of.children is not None]


def _way_back(draft: Draft, start: PipelineParts, step: Step) -> list[str]:
    """Names of the pipelines that lead a child of this step back to its own; empty where none do."""
    for source in _source_tags(draft):
        ways = [[start.name, each.name] for each in _takers(draft, source, step)]
        seen: set[str] = set()
        while ways:
            way = ways.pop(0)
            if way[-1] == start.name:
                return way
            if way[-1] in seen:
                continue
            seen.add(way[-1])
            here = next(each for each in draft.pipelines if each.name == way[-1])
            for further in emitting(here):
                ways += [[*way, each.name] for each in _takers(draft, source, further)]
    return []


def _takers(draft: Draft, source: frozenset[str], step: Step) -> Iterator[PipelineParts]:
    """The pipelines that take a child of this step, by the tags that are known."""
    tags = source | set(step.uses_of.children or ())
    for pipeline in draft.pipelines:
        if pipeline.when is not None and pipeline.when.parsed.matches(tags):
            yield pipeline


def _source_tags(draft: Draft) -> Iterable[frozenset[str]]:
    """The tags that a file has for being of one source; what stands for `{dir}` names no folder."""
    for source in draft.sources:
        yield frozenset(tag.replace("{dir}", "-") for tag, _ in source.tags)
    yield frozenset({FROM_COMMAND_LINE})
