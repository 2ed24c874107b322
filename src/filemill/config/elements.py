"""What a configuration was read into, between its text and its plan: each part with its place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from filemill.config.models import Pipeline, Settings, StepSiblings, TagRule
from filemill.config.positions import List, Map, Node, Place, Text
from filemill.model.tags import TagExpression
from filemill.ports.step import StepSpec, Uses


@dataclass
class Component:
    """One source or sink. `cls` and `options` are None where they could not be had; a problem says why."""

    name: str
    key: Text
    node: Map
    kind: str = ""
    cls: Any = None
    options: BaseModel | None = None
    tags: list[tuple[str, Place]] = field(default_factory=list)
    """Of a source."""
    scan: bool = True
    """Of a source: False where it says `scan: off`."""


@dataclass
class ScannerPart:
    """One scanner."""

    kind: str
    node: Map
    place: Place
    """Of what stands behind its kind."""
    cls: Any
    options: dict[str, Any]
    """As the plan will have them."""
    files: dict[str, str] = field(default_factory=dict)
    """Texts of its own files, by path from the root."""


@dataclass
class Expression:
    """One tag expression at its place."""

    text: Text
    parsed: TagExpression


@dataclass
class Rule:
    """One way to earn a tag."""

    tag: str
    key: Text
    node: Map
    model: TagRule


@dataclass
class Branch:
    """One branch of a route; `when` None is `else`."""

    key: Text
    when: Expression | None
    sinks: list[Text] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)


@dataclass
class Step:
    """One step of a pipeline or branch."""

    uses: str
    key: Text
    value: Node
    """What stands behind the step's name."""
    item: Node
    where: str
    """For people: `pipeline photos, step 2`."""
    siblings: StepSiblings
    sibling_nodes: Map
    cls: Any = None
    spec: StepSpec | None = None
    """None while nothing is known: a user's step not described, or a name that is wrong."""
    options: dict[str, Any] | None = None
    """As the plan will have them."""
    uses_of: Uses = field(default_factory=Uses)
    guard: Expression | None = None
    branches: list[Branch] = field(default_factory=list)
    id: str = ""

    @property
    def by_user(self) -> bool:
        """True of a function of the user's own."""
        return "." in self.uses and self.cls is None

    @property
    def ends(self) -> bool:
        """True when none may follow."""
        return self.spec is not None and self.spec.ends


@dataclass
class PipelineParts:
    """One pipeline."""

    name: str
    key: Text
    node: Map
    model: Pipeline
    when: Expression | None
    steps: list[Step]
    steps_node: List | None


@dataclass
class Draft:
    """The whole document, read."""

    root: str
    settings: Settings
    tree: Map
    sources: list[Component] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    pipelines: list[PipelineParts] = field(default_factory=list)
    sinks: list[Component] = field(default_factory=list)
    scanners: list[ScannerPart] = field(default_factory=list)

    @property
    def runs_users_code(self) -> bool:
        """True when a step or a tagger is a function of the user's own."""
        return any(each.by_user for each in self.every_step()) or any(
            rule.model.tagger for rule in self.rules
        )

    def every_step(self) -> list[Step]:
        """All steps, those of branches included, in reading order."""
        found: list[Step] = []
        for pipeline in self.pipelines:
            found += steps_in(pipeline.steps)
        return found


def steps_in(steps: list[Step]) -> list[Step]:
    """These steps and those of their branches, in reading order."""
    found: list[Step] = []
    for step in steps:
        found.append(step)
        for branch in step.branches:
            found += steps_in(branch.steps)
    return found
