"""What is wired to what: sources, tags, pipelines, steps, branches and sinks of a plan, as nodes and edges.

Ids are `kind:path` (`step:orders/2`, `sink:review`); they are made of the configuration's own names, which its
rules keep to letters, digits and `_ . - : %`. Labels are texts of any kind: who draws escapes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from filemill.model.plan import PipelinePlan, Plan, RoutePlan, SourcePlan, StepPlan, TagRulePlan
from filemill.ports.registry import Registry
from filemill.ports.step import Uses


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One thing: `kind` is source, tag, pipeline, step or sink; `detail` is what there is to say of it."""

    id: str
    kind: str
    name: str
    detail: str = ""
    pipeline: str = ""
    """Of a step: whose it is."""


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """Files or records go from one to the other; `label` says which."""

    begin: str
    end: str
    label: str = ""


class Wiring(msgspec.Struct, frozen=True):
    """Everything, in the order of the configuration. Edges name nodes that are there."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def wiring(plan: Plan, registry: Registry, pipelines: Sequence[PipelinePlan]) -> Wiring:
    """The wiring of these pipelines of a plan, with the sources and tags that lead to them and the sinks behind."""
    return _Wires(plan, registry).draw(pipelines)


def uses_of(step: StepPlan, registry: Registry) -> Uses:
    """Which tags a step makes, which sinks it names; nothing is known of a function of the user's own."""
    if "." in step.uses:
        return Uses()
    component = registry.step(step.uses)
    uses: Uses = component.uses(component.Options.model_validate(step.options))
    return uses


def meets(pattern: str, tag: str) -> bool:
    """Say whether a tag (`partner:{dir}`: of any value) can be one that an expression names (`partner:*`)."""
    made = tag.partition("{dir}")[0] if "{dir}" in tag else ""
    wanted = pattern.removesuffix("*")
    if made or "{dir}" in tag:
        return wanted.startswith(made) or (pattern.endswith("*") and made.startswith(wanted))
    return tag.startswith(wanted) if pattern.endswith("*") else tag == pattern


def about_rule(rule: TagRulePlan) -> str:
    """A tag rule's conditions in a few words: `name *.csv, header order_id`."""
    parts = [
        f"{key} {' | '.join(values)}"
        for key, values in (
            ("name", rule.name), ("path", rule.path), ("mime", rule.mime), ("content", rule.content),
        )
        if values
    ]  # fmt: skip
    if rule.header:
        parts.append(f"header {', '.join(rule.header)}")
    if rule.size:
        least, most = rule.size
        parts.append(" ".join(["size", f">={least}" if least else "", f"<={most}" if most else ""]))
    if rule.tagger:
        parts.append(f"by {rule.tagger}")
    return ", ".join(parts)


def where_of(options: dict[str, Any], kind: str, root: str) -> str:
    """A source's or sink's place: its kind and what stands behind its kind's key, a path as seen from the project."""
    place = str(options.get(kind) or "")
    return f"{kind} {place.removeprefix(root.rstrip('/') + '/')}".rstrip()


class _Wires:
    def __init__(self, plan: Plan, registry: Registry) -> None:
        self.plan = plan
        self.registry = registry
        self.nodes: dict[str, Node] = {}
        self.edges: dict[Edge, None] = {}

    def draw(self, pipelines: Sequence[PipelinePlan]) -> Wiring:
        for pipeline in pipelines:
            self.pipeline(pipeline)
        for pipeline in pipelines:
            self.children(pipeline)
        order = ("source", "tag", "pipeline", "step", "sink")
        nodes = sorted(self.nodes.values(), key=lambda node: order.index(node.kind))
        return Wiring(tuple(nodes), tuple(self.edges))

    def add(self, kind: str, path: str, name: str, detail: str = "", pipeline: str = "") -> str:
        identity = f"{kind}:{path}"
        node = Node(id=identity, kind=kind, name=name, detail=detail, pipeline=pipeline)
        self.nodes.setdefault(identity, node)
        return identity

    def edge(self, begin: str, end: str, label: str = "") -> None:
        self.edges[Edge(begin=begin, end=end, label=label)] = None

    def pipeline(self, pipeline: PipelinePlan) -> None:
        mine = self.add("pipeline", pipeline.name, pipeline.name, f"when {pipeline.when.text}")
        named = list(dict.fromkeys(pipeline.when.names()))
        for name in named:
            for tag in self.tags(name):
                self.edge(tag, mine)
        if not named:
            for source in self.plan.sources:
                self.edge(self.source(source), mine)
        self.steps(pipeline.steps, mine, pipeline.name, pipeline.name, "")

    def source(self, source: SourcePlan) -> str:
        return self.add(
            "source",
            source.name,
            source.name,
            where_of(source.options, source.kind, self.plan.root),
        )

    def tags(self, name: str) -> Iterator[str]:
        """The tags that one name in an expression means, each with what leads to it."""
        for source in self.plan.sources:
            for tag in source.tags:
                if meets(name, tag):
                    node = self.add("tag", tag, tag)
                    self.edge(self.source(source), node)
                    yield node
        for rule in self.plan.tags:
            if meets(name, rule.tag):
                node = self.add("tag", rule.tag, rule.tag, about_rule(rule))
                for source in self.plan.sources:
                    if not rule.source or source.name in rule.source:
                        self.edge(self.source(source), node)
                yield node

    def steps(
        self, steps: Sequence[StepPlan], before: str, pipeline: str, path: str, label: str
    ) -> str:
        """Draw a chain of steps; answers with its last node."""
        for step in steps:
            guard = f"if {step.guard.text}" if step.guard else ""
            node = self.add("step", f"{path}/{step.id}", step.id, guard, pipeline)
            self.edge(before, node, label)
            before, label = node, ""
            if step.routes:
                for number, branch in enumerate(step.routes):
                    self.branch(branch, node, pipeline, f"{path}/{step.id}/{number}")
            else:
                for sink in uses_of(step, self.registry).sinks:
                    self.edge(node, self.sink(sink))
        return before

    def branch(self, branch: RoutePlan, before: str, pipeline: str, path: str) -> None:
        label = branch.when.text if branch.when else "else"
        last = self.steps(branch.steps, before, pipeline, path, label)
        label = "" if branch.steps else label
        for sink in branch.sinks:
            self.edge(last, self.sink(sink), label)
        if not branch.sinks and not branch.steps:
            self.edge(before, self.add("sink", "", "drop", "counted, not kept"), label)

    def sink(self, name: str) -> str:
        sink = self.plan.sink(name)
        return self.add("sink", name, name, where_of(sink.options, sink.kind, self.plan.root))

    def children(self, pipeline: PipelinePlan) -> None:
        """From steps that emit files to the tags these get, where a drawn pipeline asks for one."""
        for path, step in every_step(pipeline.steps, pipeline.name):
            for tag in uses_of(step, self.registry).children or ():
                for node in [each for each in self.nodes.values() if each.kind == "pipeline"]:
                    when = self.plan.pipeline(node.name).when
                    if any(meets(name, tag) for name in when.names()):
                        self.edge(f"step:{path}", self.add("tag", tag, tag), "child file")
                        self.edge(f"tag:{tag}", node.id)


def every_step(steps: Sequence[StepPlan], path: str) -> Iterator[tuple[str, StepPlan]]:
    """Each step of a chain and its branches, with the path that its node's id has."""
    for step in steps:
        here = f"{path}/{step.id}"
        yield here, step
        for number, branch in enumerate(step.routes):
            yield from every_step(branch.steps, f"{here}/{number}")
