"""Pipelines compiled once per revision: components found, options validated, expressions proved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from filemill.engine.emitting import hidden_sink
from filemill.engine.headers import Headers
from filemill.model.errors import FilemillError, PermanentError
from filemill.model.plan import PipelinePlan, StepPlan
from filemill.ports.registry import Registry
from filemill.ports.step import Grain, Scope
from filemill.records.expressions import Expression
from filemill.records.functions import load


class StepTrouble(PermanentError):
    """A step that cannot be set up; `step` is its id and `cause` what it said."""

    def __init__(self, step: str, cause: BaseException) -> None:
        message = cause.message if isinstance(cause, FilemillError) else str(cause)
        super().__init__(message, help=getattr(cause, "help", ""))
        self.step = step
        self.cause = cause


class Node:
    """One step of a compiled pipeline. `branches` are the steps of a route's branches, by number."""

    __slots__ = (
        "branches",
        "component",
        "dynamic",
        "foreign",
        "function",
        "hidden",
        "index",
        "options",
        "plan",
        "reads",
        "refers",
        "transforms",
    )

    def __init__(self, plan: StepPlan, registry: Registry, index: Iterator[int]) -> None:
        self.plan = plan
        self.index = next(index)
        """Its place among all steps of the pipeline, branches included."""
        try:
            self.component = registry.step(plan.uses)
            self.options: Any = self.component.Options.model_validate(plan.options)
            self.refers = self.component.uses(self.options)
            self.hidden: dict[str, Any] | None = None
            """Of a step that emits what it is given: options of the folder sink behind it."""
            if hasattr(self.component, "behind"):
                self.hidden = self.component.behind(self.options)
        except Exception as error:
            raise StepTrouble(plan.id, error) from error
        self.reads = hasattr(self.component, "read")
        self.transforms = hasattr(self.component, "apply")
        called = getattr(self.component, "called", None)
        self.function: str = called(plan.uses, self.options)[0] if called else ""
        """The path of a user's function; empty for any other step."""
        self.dynamic = bool(self.function) or self.component.spec.makes_columns
        """Only what it returns tells which columns records have then."""
        if self.reads and plan.guard is not None:
            raise StepTrouble(
                plan.id,
                PermanentError(
                    f"`{plan.uses}` cannot have an `if:`",
                    help="let a pipeline of its own subscribe to the files that are to be read so",
                ),
            )
        self.foreign = not self.component.__module__.startswith("filemill.") or self.dynamic
        """Code that is not this program's own may work here."""
        self.branches = tuple(
            tuple(Node(step, registry, index) for step in route.steps) for route in plan.routes
        )

    def sends(self) -> bool:
        """Whether something leaves the pipeline here: a run cannot begin behind it, for this would be missing."""
        return bool(
            self.refers.sinks
            or self.refers.children is not None
            or self.hidden is not None
            or self.plan.routes
        )

    def scope(self) -> Scope:
        """What one call of the step may depend on; a user's function says it by its signature."""
        if not self.function:
            scope: Scope = self.component.spec.scope
            return scope
        said = load(self.function).scope
        # A table's rows are seen by themselves: what a call makes of one must not depend on the others.
        return Scope.RECORD if said is Scope.BATCH else said

    def carries(self) -> bool:
        """Whether the step can hand what it has seen of a file to another one that goes on from there."""
        if self.function:
            return load(self.function).stateful
        return hasattr(self.component, "restore")

    def counts_records(self) -> bool:
        """Whether the step sees a record's number in its file."""
        return bool(self.function) and load(self.function).takes_context

    def after(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """The columns of a record that had these and went through this step, as far as the options tell."""
        selects: tuple[str, ...] | None = self.refers.selects
        if selects is not None:
            return selects
        gives = [u.gives for u in self.refers.expressions if u.gives not in self.refers.tags]
        return tuple(dict.fromkeys((*columns, *filter(None, gives))))


class Chain:
    """One compiled pipeline. Immutable but for its store of compiled expressions."""

    def __init__(self, plan: PipelinePlan, registry: Registry) -> None:
        if not plan.steps:
            raise PermanentError(
                f"pipeline `{plan.name}` has no steps", help="end it with `write` or `route`"
            )
        self.plan = plan
        index = iter(range(1_000_000))
        self.nodes = tuple(Node(step, registry, index) for step in plan.steps)
        self.all_nodes = tuple(_every(self.nodes))
        self.emits: dict[str, Node] = {}
        """By the name of its hidden sink: each step that emits what it is given."""
        for node in self.all_nodes:
            if node.hidden is not None:
                name = hidden_sink(plan.name, node.plan.id)
                node.refers = msgspec.structs.replace(node.refers, sinks=(name,))
                self.emits[name] = node
        self.tame = not any(
            node.foreign or node.component.spec.grain is Grain.FILE for node in self.all_nodes
        )
        """Its steps only see records, and all are this program's own: they leave the process as it was."""
        first = self.nodes[0]
        self.reads_by_place = first.reads and first.component.spec.opens
        """Nobody needs the file at its path: the first step takes its bytes from wherever they are."""
        self.headers = Headers(self.nodes)
        self._expressions: dict[str, Expression] = {}
        wanted: dict[str, bool] = {}
        sees_all = self._note(self.nodes, wanted, frozenset(), sure=True)
        self.named = frozenset(wanted)
        """The columns of the file that expressions name."""
        self.required = frozenset(name for name, sure in wanted.items() if sure)
        """Those of them that the file must have: no step before made up columns of its own."""
        self.needs = None if sees_all else self.named
        """The same; None when a user's function sees them all."""
        self.types = _types(self.nodes)
        """Column to type, as the step directly behind the reader declares it."""
        self.sinks = tuple(dict.fromkeys(_sinks(self.nodes)))
        """Every sink it may send to."""

    def place(self, step: str) -> int:
        """Where in the sequence of steps the one of this id is.

        Raises:
            LookupError: it is not there.
        """
        found = next((n for n, node in enumerate(self.nodes) if node.plan.id == step), None)
        if found is None:
            raise LookupError(step)
        return found

    def expression(self, sql: str) -> Expression:
        """The compiled expression; compiled once."""
        found = self._expressions.get(sql)
        if found is None:
            found = self._expressions[sql] = Expression(sql)
        return found

    def _note(
        self,
        nodes: Sequence[Node],
        wanted: dict[str, bool],
        made: frozenset[str],
        *,
        sure: bool,
    ) -> bool:
        """Note the columns these steps want of the file, and whether surely; answers whether a function sees all."""
        sees_all = False
        for node in nodes:
            sees_all |= bool(node.function)
            for use in node.refers.expressions:
                try:
                    columns = self.expression(use.sql).columns
                except FilemillError as error:
                    raise StepTrouble(node.plan.id, error) from error
                for name in columns:
                    if name not in made:
                        wanted[name] = wanted.get(name, False) or sure
                if use.gives and use.gives not in node.refers.tags:
                    made |= {use.gives}
            for branch in node.branches:
                sees_all |= self._note(branch, wanted, made, sure=sure)
            sure = sure and not node.dynamic
        return sees_all


def _types(nodes: Sequence[Node]) -> dict[str, str]:
    """What a step without a guard declares, if none before it looks into records: that would see misfits as null."""
    behind = False
    for node in nodes:
        if not behind:
            behind = node.reads
        elif node.refers.types and node.plan.guard is None:
            return dict(node.refers.types)
        elif node.transforms or node.plan.routes:
            break
    return {}


def _sinks(nodes: Sequence[Node]) -> Iterator[str]:
    for node in nodes:
        yield from node.refers.sinks if not node.plan.routes else ()
        for route, branch in zip(node.plan.routes, node.branches, strict=True):
            yield from _sinks(branch)
            yield from route.sinks


def _every(nodes: Sequence[Node]) -> Iterator[Node]:
    for node in nodes:
        yield node
        for branch in node.branches:
            yield from _every(branch)
