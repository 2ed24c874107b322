"""Tags in a configuration: expressions at their places, rules, and who makes and who uses each tag."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from filemill.config.components import named
from filemill.config.elements import Draft, Expression, PipelineParts, Rule, Step, steps_in
from filemill.config.judging import judge
from filemill.config.models import TagRule
from filemill.config.positions import List, Map, Node, Place, Text, describe, plain
from filemill.config.problems import Problems, closest, did_you_mean
from filemill.model.tags import TagSyntaxError, check_tag, parse_tag_expression

FROM_COMMAND_LINE = "from:cli"
"""The tag of files named on the command line that lie in no source's folder."""
_ODD = (
    (re.compile(r"&&?|,"), "join tags with `and`"),
    (re.compile(r"\|\|?"), "join tags with `or`"),
    (re.compile(r"!"), "write `not TAG`"),
    (re.compile(r"[A-Z]"), "tags are lower case"),
)
_PLACEHOLDER = re.compile(r"\{tag:([^{}]*)\}")


def read_expression(node: Node, problems: Problems, what: str) -> Expression | None:
    """A tag expression, or None with the reason among the problems, at the character that does not fit."""
    if not isinstance(node, Text):
        message = f"a tag expression is a text, not {describe(node)} ({what})"
        advice = "join tags with `and` or `or`" if isinstance(node, List) else ""
        problems.error("tag-expression", message, node.place, advice)
        return None
    try:
        return Expression(node, parse_tag_expression(node.text))
    except TagSyntaxError as error:
        head, _, advice = error.message.partition(": ")
        behind = node.text[error.offset : error.offset + 2] or " "
        for pattern, say in _ODD:
            if pattern.match(behind):
                advice = say
                break
        problems.error("tag-expression", f"{head} ({what})", node.at(error.offset), advice)
        return None


def read_rules(tree: Map, problems: Problems) -> list[Rule]:
    """The rules of the section `tags`."""
    found: list[Rule] = []
    for tag, key, node in named("tags", tree, problems):
        try:
            check_tag(tag)
        except TagSyntaxError as error:
            head, _, advice = error.message.partition(": ")
            code = "reserved-tag" if "reserved" in head else "bad-tag"
            problems.error(code, head, key.at(error.offset), advice or "rename it")
            problems.shadow(key.place)
        for number, item in enumerate(node.items if isinstance(node, List) else [node], 1):
            what = f"tag {tag}" + (f", rule {number}" if isinstance(node, List) else "")
            if not isinstance(item, Map):
                message = f"a tag rule is a map, not {describe(item)} ({what})"
                problems.error("bad-value", message, item.place, 'write {name: "*.csv"}')
                continue
            judged = judge(
                TagRule, plain(item), node=item, place=key.place, problems=problems, what=what
            )
            if judged is not None:
                found.append(Rule(tag, key, item, judged))
    return found


class _Made:
    """Tags that something makes; those ending in `*` stand for all with that beginning."""

    def __init__(self, names: Iterable[str], *, unknown: bool = False) -> None:
        self.names = set(names)
        self.unknown = unknown
        """True when tags may be made that nobody can know: a user's function makes them."""

    def has(self, used: str) -> bool:
        return self.unknown or any(_meet(used, made) for made in self.names)

    def told(self) -> list[str]:
        return sorted(self.names)


def _meet(one: str, other: str) -> bool:
    """Say whether two tags, either of which may end in `*`, can be the same."""
    a, b = one.removesuffix("*"), other.removesuffix("*")
    if one != a and other != b:
        return a.startswith(b) or b.startswith(a)
    if one != a:
        return other.startswith(a)
    return one.startswith(b) if other != b else one == other


def _made_by_source(tag: str) -> str:
    head, placeholder, _ = tag.partition("{dir}")
    return f"{head}*" if placeholder else tag


class TagCheck:
    """Warns of tags that nobody makes, and of tags that nobody uses."""

    def __init__(self, draft: Draft, problems: Problems) -> None:
        self.draft = draft
        self.problems = problems
        self.used: set[str] = set()
        self.unmade: set[str] = set()
        section = draft.tree.get("tags")
        rules = set(section.entries) if isinstance(section, Map) else set()
        sources = {_made_by_source(tag) for source in draft.sources for tag, _ in source.tags}
        odd = any(rule.model.tagger for rule in draft.rules) or any(
            source.cls is None for source in draft.sources
        )
        children = {tag for step in draft.every_step() for tag in step.uses_of.children or ()}
        self.of_files = _Made(rules | sources | children | {FROM_COMMAND_LINE}, unknown=odd)

    def run(self) -> None:
        """All of it."""
        for pipeline in self.draft.pipelines:
            self._pipeline(pipeline)
        self._names_of_outputs()
        self._unused()

    def _pipeline(self, pipeline: PipelineParts) -> None:
        of_records = {tag for step in steps_in(pipeline.steps) for tag in step.uses_of.tags}
        if pipeline.when is not None:
            for name, place in _names(pipeline.when):
                self.used.add(name)
                if self.of_files.has(name):
                    continue
                if any(_meet(name, tag) for tag in of_records):
                    message = f"`when` sees tags of files; `{name}` is one of records (pipeline {pipeline.name})"
                    advice = "use it in `if:` or `route`, or make a rule below `tags:`"
                    self.problems.warn("unmade-tag", message, place, advice)
                else:
                    self._say_unmade(name, place, f"pipeline {pipeline.name}", self.of_files)
        made = _Made(self.of_files.names, unknown=self.of_files.unknown)
        self._steps(pipeline.steps, made, of_records)

    def _steps(self, steps: list[Step], made: _Made, later: set[str]) -> None:
        for step in steps:
            for expression in (step.guard, *(branch.when for branch in step.branches)):
                if expression is None:
                    continue
                for name, place in _names(expression):
                    self.used.add(name)
                    if made.has(name):
                        continue
                    if any(_meet(name, tag) for tag in later):
                        message = f"tag `{name}` is made only by a later step ({step.where})"
                        advice = "move the step that makes it up"
                        self.problems.warn("unmade-tag", message, place, advice)
                    else:
                        self._say_unmade(name, place, step.where, made)
            made.names |= set(step.uses_of.tags)
            # A user's function may give any tag, and so may a step that is not there to be asked.
            made.unknown |= step.cls is None
            for branch in step.branches:
                self._steps(branch.steps, _Made(made.names, unknown=made.unknown), later)

    def _say_unmade(self, name: str, place: Place, where: str, made: _Made) -> None:
        self.unmade.add(name)
        message = f"nothing makes the tag `{name}` ({where})"
        advice = did_you_mean(name, made.told()) or "make a rule for it below `tags:`"
        self.problems.warn("unmade-tag", message, place, advice)

    def _names_of_outputs(self) -> None:
        for sink in self.draft.sinks:
            template = sink.node.get("name")
            if not isinstance(template, Text):
                continue
            for match in _PLACEHOLDER.finditer(template.text):
                name = f"{match[1]}:*"
                self.used.add(name)
                if not self.of_files.has(name):
                    self._say_unmade(
                        name, template.at(match.start()), f"sink {sink.name}", self.of_files
                    )

    def _unused(self) -> None:
        if any(pipeline.when is None for pipeline in self.draft.pipelines):
            return  # what it would have used is not known; the problem with its `when` is told
        seen: set[str] = set()
        for rule in self.draft.rules:
            if rule.tag not in seen and not any(_meet(rule.tag, used) for used in self.used):
                seen.add(rule.tag)
                self._say_unused(rule.tag, rule.key.place)
        for step in self.draft.every_step():
            for tag in (*step.uses_of.tags, *(step.uses_of.children or ())):
                if not any(_meet(tag, used) for used in self.used):
                    place = step.key.place
                    if isinstance(step.value, Map) and tag in step.value.entries:
                        place = step.value.place_of(tag)
                    self._say_unused(tag, place)

    def _say_unused(self, tag: str, place: Place) -> None:
        close = closest(tag, self.unmade)
        message = f"nothing uses the tag `{tag}`"
        advice = (
            f"did you mean `{close}`?"
            if close
            else "use it in `when:`, `if:` or `route`, or remove it"
        )
        self.problems.warn("unused-tag", message, place, advice)


def _names(expression: Expression) -> Iterator[tuple[str, Place]]:
    """Every tag an expression names, with its place."""
    text, at = expression.text.text, 0
    for name in expression.parsed.names():
        found = re.compile(rf"(?<![^\s()]){re.escape(name)}(?![^\s()])").search(text, at)
        offset = found.start() if found else 0
        at = found.end() if found else at
        place = expression.text.at(offset)
        if place.length == 1:
            place = Place(place.file, place.line, place.column, len(name))
        yield name, place
