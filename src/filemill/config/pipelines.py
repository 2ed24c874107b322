"""The section `pipelines`: what each subscribes to, its steps, and whether they fit together."""

from __future__ import annotations

from filemill.config.components import named
from filemill.config.elements import PipelineParts, Step, steps_in
from filemill.config.judging import judge
from filemill.config.models import Pipeline, Retry
from filemill.config.positions import List, Map, Node, Text, describe, plain
from filemill.config.problems import Problems
from filemill.config.stepping import StepReader
from filemill.config.tagging import read_expression
from filemill.ports.step import Form, Scope

_UNREADABLE = Pipeline.model_validate({"when": "x", "steps": [None]})
"""In place of a model that did not validate; a problem says why, so nothing is compiled from it."""
_FORM = {Form.FILE: "the file", Form.RECORDS: "records", Form.NOTHING: "nothing"}


def read_pipelines(tree: Map, steps: StepReader, problems: Problems) -> list[PipelineParts]:
    """Every pipeline that is a map with steps; what is wrong is among the problems."""
    found = []
    for name, key, node in named("pipelines", tree, problems):
        if not isinstance(node, Map):
            message = f"pipeline `{name}` is a map, not {describe(node)}"
            problems.error("bad-value", message, key.place, "write `when:` and `steps:` below it")
            continue
        found.append(_one(name, key, node, steps, problems))
    return found


def _one(name: str, key: Text, node: Map, reader: StepReader, problems: Problems) -> PipelineParts:
    where = f"pipeline {name}"
    value = plain(node)
    steps_node, when_node = node.get("steps"), node.get("when")
    if steps_node is not None:
        value["steps"] = [None] if not isinstance(steps_node, List) or steps_node.items else []
    if when_node is not None and not isinstance(when_node, Text):
        value["when"] = ""
    model = judge(Pipeline, value, node=node, place=key.place, problems=problems, what=where)
    _check_retry(node.get("retry"), model.retry if model else None, problems)
    when = None if when_node is None else read_expression(when_node, problems, f"`when` of {where}")
    steps: list[Step] = []
    if isinstance(steps_node, List):
        steps = reader.read(steps_node, where)
    elif steps_node is not None:
        message = f"`steps` is a list, not {describe(steps_node)} ({where})"
        problems.error("bad-value", message, steps_node.place, "put `- ` before each step")
    parts = PipelineParts(
        name,
        key,
        node,
        model or _UNREADABLE,
        when,
        steps,
        steps_node if isinstance(steps_node, List) else None,
    )
    _name_steps(parts, problems)
    return parts


def _check_retry(node: Node | None, retry: Retry | None, problems: Problems) -> None:
    if node is None or retry is None:
        return
    if retry.min > retry.max and {"min", "max"} <= retry.model_fields_set:
        message = "`min` of a retry is longer than its `max`"
        problems.error("bad-value", message, node.place, "swap them")


def _name_steps(pipeline: PipelineParts, problems: Problems) -> None:
    """Give every step its id: its own, else its name, else name-2, name-3..."""
    every = steps_in(pipeline.steps)
    taken: dict[str, Step] = {}
    for step in every:
        if step.siblings.id is None:
            continue
        step.id = step.siblings.id
        if step.id in taken:
            message = f"two steps with the id `{step.id}` (pipeline {pipeline.name})"
            problems.error("duplicate-id", message, step.sibling_nodes.place_of("id"), "rename one")
        taken[step.id] = step
    for step in every:
        number, name = 1, step.uses
        while not step.id:
            if name not in taken:
                step.id = name
                taken[name] = step
            number += 1
            name = f"{step.uses}-{number}"


class ChainCheck:
    """Whether each step is given what it takes, and whether the pipeline ends somewhere."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems

    def run(self, pipeline: PipelineParts) -> None:
        """All of one pipeline, once every step is known that can be known."""
        self._steps(pipeline.steps, Form.FILE, "")
        if pipeline.steps and pipeline.steps_node is not None:
            self._ending(pipeline)

    def _steps(self, steps: list[Step], form: Form | None, before: str) -> None:
        """`form` is what flows in; None once a step is unknown, so that nothing follows from a guess."""
        ended: Step | None = None
        for step in steps:
            if ended is not None:
                message = (
                    f"nothing reaches this step: `{ended.uses}` ends the pipeline ({step.where})"
                )
                advice = (
                    f"move it before `{ended.uses}`, or into a branch: {{steps: [...], to: SINK}}"
                )
                self.problems.error("after-route", message, step.key.place, advice)
                return
            if step.spec is None:
                form = None
                continue
            self._overlap(step)
            takes, gives = step.spec.takes, step.spec.gives
            if form is not None and takes not in (Form.ANY, form):
                self._misfit(step, form, before)
                form = None
            for branch in step.branches:
                self._branch(step, branch.steps, form)
            form = form if gives is Form.ANY else gives
            before = step.uses
            if step.ends:
                ended = step

    def _overlap(self, step: Step) -> None:
        """`io` and `concurrency` where no calls overlap do nothing, and whoever wrote them thinks they do."""
        beside = step.siblings
        assert step.spec is not None  # noqa: S101 -- asked before
        for key, value in (("concurrency", beside.concurrency), ("io", beside.io)):
            if not value:
                continue
            if not step.by_user or step.spec.scope is not Scope.RECORD:
                message = f"`{key}` does nothing beside `{step.uses}` ({step.where})"
                advice = (
                    "calls of functions of one record (`row: dict`) overlap, no others: remove it"
                )
            elif key == "concurrency" and not step.spec.io and not beside.io:
                message = f"`concurrency` does nothing without `io: true` ({step.where})"
                advice = "add `io: true` beside it if the function waits rather than computes"
            else:
                continue
            place = step.sibling_nodes.place_of(key)
            self.problems.warn("no-overlap", message, place, advice)

    def _misfit(self, step: Step, form: Form, before: str) -> None:
        assert step.spec is not None  # noqa: S101 -- asked before
        takes = step.spec.takes
        given = f"`{before}` gives {_FORM[form]}" if before else f"it is given {_FORM[form]}"
        message = f"`{step.uses}` takes {_FORM[takes]}, but {given} ({step.where})"
        if takes is Form.RECORDS:
            advice = "put a reader before it: read_csv, read_jsonl or read_lines"
        else:
            advice = "move it before the step that reads the file"
        self.problems.error("step-order", message, step.key.place, advice)

    def _branch(self, route: Step, steps: list[Step], form: Form | None) -> None:
        if not steps:
            return
        if form is Form.FILE:
            message = (
                f"a branch with steps needs records, but nothing has read the file ({route.where})"
            )
            advice = "put a reader before `route`: read_csv, read_jsonl or read_lines"
            self.problems.error("step-order", message, steps[0].key.place, advice)
            return
        for step in steps:
            if step.ends:
                message = f"`{step.uses}` cannot stand in a branch ({step.where})"
                advice = "a branch ends in its `to`: make it a route of its own tags"
                self.problems.error("nested-route", message, step.key.place, advice)
                return
        self._steps(steps, Form.RECORDS, "")

    def _ending(self, pipeline: PipelineParts) -> None:
        last = pipeline.steps[-1]
        known = last.cls is not None
        written = pipeline.steps_node is not None and last.item is pipeline.steps_node.items[-1]
        if last.ends or last.uses == "write" or last.uses_of.sinks or not written:
            return
        if last.uses_of.children is not None:
            return
        if not known and not last.by_user:
            return
        message = f"pipeline `{pipeline.name}` ends in `{last.uses}`: its results go nowhere"
        advice = "end it with `- write: SINK` or `- route: {TAG: SINK, else: SINK}`"
        self.problems.error("no-ending", message, last.key.place, advice)
