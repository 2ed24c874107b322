"""What only a worker may find out: users' functions, SQL expressions, taggers, content patterns.

Nothing here imports a user's module or compiles an expression; one Question holds everything, and each Answer
comes back to the place it was asked about.
"""

from __future__ import annotations

from filemill.config.elements import Draft, Rule, Step
from filemill.config.positions import Map, Node, Place, Text, follow
from filemill.config.problems import Problems
from filemill.config.secrets import secret_names
from filemill.config.stepping import place_of_text, texts_in
from filemill.model.errors import FilemillError
from filemill.ports.describe import (
    Answer,
    Describe,
    ExpressionQuestion,
    Question,
    SchemaQuestion,
    StepQuestion,
)
from filemill.ports.step import ExpressionUse


class Asker:
    """Asks about one document."""

    def __init__(self, draft: Draft, problems: Problems) -> None:
        self.draft = draft
        self.problems = problems
        self.steps: dict[str, Step] = {}
        self.expressions: dict[str, tuple[Step, ExpressionUse, Node]] = {}
        self.taggers: dict[str, list[Rule]] = {}
        self.patterns: dict[str, list[Rule]] = {}
        self.regexes: dict[str, list[tuple[Step, Node]]] = {}
        self.schemas: dict[str, tuple[Step, Node]] = {}

    def question(self) -> Question:
        """Everything there is to ask."""
        steps: list[StepQuestion] = []
        expressions: list[ExpressionQuestion] = []
        for number, step in enumerate(self.draft.every_step()):
            if step.by_user and step.options is not None:
                key = f"step:{number}"
                self.steps[key] = step
                steps.append(StepQuestion(key, step.uses, step.options))
            for at, use in enumerate(step.uses_of.expressions):
                key = f"expression:{number}:{at}"
                self.expressions[key] = step, use, follow(step.value, use.where)[0]
                expressions.append(ExpressionQuestion(key, use.sql, use.predicate))
        schemas: list[SchemaQuestion] = []
        for number, step in enumerate(self.draft.every_step()):
            for regex in step.uses_of.patterns:
                node = follow(step.value, regex.where)[0]
                self.regexes.setdefault(regex.pattern, []).append((step, node))
            for at, schema in enumerate(step.uses_of.schemas):
                key = f"schema:{number}:{at}"
                self.schemas[key] = step, follow(step.value, schema.where)[0]
                schemas.append(SchemaQuestion(key, schema.text))
        for rule in self.draft.rules:
            if rule.model.tagger:
                self.taggers.setdefault(rule.model.tagger, []).append(rule)
            for pattern in rule.model.content:
                self.patterns.setdefault(pattern, []).append(rule)
        names = self.draft.settings.worker_environment
        return Question(
            self.draft.root,
            tuple(steps),
            tuple(expressions),
            tuple(self.taggers),
            tuple(self.patterns),
            environment=None if names is None else tuple(names),
            secrets=tuple(sorted(secret_names(self.draft.tree))),
            regexes=tuple(self.regexes),
            schemas=tuple(schemas),
        )

    def ask(self, describe: Describe) -> None:
        """Ask, and turn what is wrong into problems; a step's own description and options are kept."""
        question = self.question()
        if question.is_empty:
            return
        try:
            answers = describe(question)
        except FilemillError as error:
            message = f"users' steps and expressions could not be judged: {error.message}"
            self.problems.error("describe", message, None, error.help)
            return
        for answer in answers.steps:
            self._step(answer)
        for answer in answers.expressions:
            self._expression(answer)
        for answer in answers.taggers:
            self._rules("tagger", self.taggers, answer)
        for answer in answers.patterns:
            self._rules("content", self.patterns, answer)
        for answer in answers.regexes:
            for step, node in self.regexes.get(answer.key, []) if answer.error else []:
                message = f"{answer.error} ({step.where})"
                self.problems.error("bad-pattern", message, node.place, answer.help)
        for answer in answers.schemas:
            self._schema(answer)

    def _schema(self, answer: Answer) -> None:
        """Point at the schema's path in the configuration, and name the place in the schema."""
        step, node = self.schemas[answer.key]
        name = node.text if isinstance(node, Text) else ""
        at = answer.where[0] if answer.where else ""
        inside = f"{name}{at}" if at.startswith("#") else f"{name}:{at}"
        message = f"{inside}: {answer.error} ({step.where})"
        self.problems.error("bad-schema", message, node.place, answer.help)

    def _rules(self, key: str, asked: dict[str, list[Rule]], answer: Answer) -> None:
        for rule in asked.get(answer.key, []) if answer.error else []:
            node = rule.node.get(key)
            place = rule.key.place if node is None else place_of_text(node, answer.key, node.place)
            message = f"{answer.error} (tag {rule.tag})"
            self.problems.error(f"bad-{key}", message, place, answer.help)

    def _step(self, answer: Answer) -> None:
        step = self.steps[answer.key]
        if answer.spec is not None:
            step.spec = answer.spec
        if not answer.error:
            if answer.options is not None:
                step.options = answer.options
            return
        place = step.key.place
        code = "user-step"
        if answer.where and isinstance(step.value, Map):
            code = "bad-option"
            node, key, rest = follow(step.value, tuple(answer.where))
            place = key.place if key is not None and not rest else place
            if key is not None and not rest and isinstance(node, Text):
                place = node.place
            if answer.where[0] in step.value.entries and "no option" in answer.error:
                place = step.value.place_of(answer.where[0])
        self.problems.error(code, f"{answer.error} ({step.where})", place, answer.help)

    def _expression(self, answer: Answer) -> None:
        if not answer.error:
            return
        step, use, node = self.expressions[answer.key]
        place = _place_in(node, use.sql, answer.offset, step.key.place)
        self.problems.error("expression", f"{answer.error} ({step.where})", place, answer.help)


def _place_in(node: Node, sql: str, offset: int | None, otherwise: Place) -> Place:
    if not isinstance(node, Text):
        found = [text for text in texts_in(node) if text.text == sql]
        if not found:
            return otherwise
        node = found[0]
    return node.place if offset is None else node.at(min(offset, max(len(node.text) - 1, 0)))
