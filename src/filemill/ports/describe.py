"""Questions about users' code and expressions, answered in a worker process only.

Neither the server nor `check` imports a user's module or compiles an expression; they ask a child.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from filemill.ports.step import StepSpec


class StepQuestion(msgspec.Struct, frozen=True):
    """Describe the step at a dotted path and judge these options for it."""

    key: str
    """The asker's own key, given back in the answer."""
    path: str
    options: dict[str, Any] = msgspec.field(default_factory=dict)


class ExpressionQuestion(msgspec.Struct, frozen=True):
    """Compile one SQL expression and prove it row-wise."""

    key: str
    sql: str
    predicate: bool


class SchemaQuestion(msgspec.Struct, frozen=True):
    """Judge a JSON Schema."""

    key: str
    text: str


class Question(msgspec.Struct, frozen=True):
    """All that one check wants to know."""

    root: str
    """First on the import path: the folder of the main config file."""
    steps: tuple[StepQuestion, ...] = ()
    expressions: tuple[ExpressionQuestion, ...] = ()
    taggers: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    """Regular expressions of tag rules' `content`."""
    environment: tuple[str, ...] | None = None
    """As a plan's `worker_environment`: users' modules see at import what they will see at work."""
    secrets: tuple[str, ...] = ()
    """As a plan's `secrets`."""
    pipelines: tuple[str, ...] = ()
    """Dotted paths of pipelines written in Python."""
    regexes: tuple[str, ...] = ()
    """Regular expressions among steps' options."""
    schemas: tuple[SchemaQuestion, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked."""
        return not any(
            (
                *(self.steps, self.expressions, self.taggers, self.patterns),
                *(self.regexes, self.schemas, self.pipelines),
            )
        )


class Answer(msgspec.Struct, frozen=True):
    """One answer; `error` empty means it is right."""

    key: str
    error: str = ""
    help: str = ""
    where: tuple[str, ...] = ()
    """With a wrong option: its name; with a schema: the place in it."""
    offset: int | None = None
    """With a wrong expression: the character it stumbles over, when known."""
    spec: StepSpec | None = None
    columns: tuple[str, ...] = ()
    """With an expression: the columns it names."""
    options: dict[str, Any] | None = None
    """With a step: its options, converted to the types its signature asks for."""
    written: list[Any] | None = None
    """With a pipeline: the tree it is written down as; see `pipeline_api.Written`."""


class Answers(msgspec.Struct, frozen=True):
    """Answers by kind, in the order asked; a tagger's or pipeline's key is its path, a pattern's its text.

    A schema has an answer for each thing wrong with it, none if it is right; `where` is one text, its place in it.
    """

    steps: tuple[Answer, ...] = ()
    expressions: tuple[Answer, ...] = ()
    taggers: tuple[Answer, ...] = ()
    patterns: tuple[Answer, ...] = ()
    pipelines: tuple[Answer, ...] = ()
    regexes: tuple[Answer, ...] = ()
    schemas: tuple[Answer, ...] = ()


Describe = Callable[[Question], Answers]
"""Asks a worker; blocks until it answers."""
