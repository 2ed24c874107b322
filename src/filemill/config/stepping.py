"""Steps as they are written: a name, its options or the one value behind it, and the siblings beside it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from filemill.config.components import builtins_of
from filemill.config.elements import Branch, Expression, Step
from filemill.config.judging import judge, keys_of
from filemill.config.models import SIBLINGS, StepSiblings
from filemill.config.models import Branch as BranchModel
from filemill.config.positions import Entry, List, Map, Node, Place, Text, describe, plain
from filemill.config.problems import Problems, did_you_mean, listed
from filemill.config.secrets import Secrets
from filemill.config.tagging import read_expression
from filemill.model.errors import NotFound
from filemill.ports.registry import PLANNED, NotInstalled, Registry
from filemill.ports.step import StepSpec, Uses

DROP = "drop"
"""In place of a sink: counted and dropped."""
ELSE = "else"
NO_SIBLINGS = StepSiblings.model_validate({})
MAP = "map"
ROUTE = "route"
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+\Z")
_LIST_OF_STEPS = "all steps: filemill steps ls"
_ROUTE_HELP = "write `- route: {TAG: SINK, else: SINK}`"


class StepReader:
    """Reads lists of steps. One reader a document, since ids are unique in a pipeline only."""

    def __init__(self, root: str, registry: Registry, secrets: Secrets, problems: Problems) -> None:
        self.root = root
        self.registry = registry
        self.secrets = secrets
        self.problems = problems
        self.installed = registry.names("steps")

    def read(self, nodes: List, where: str) -> list[Step]:
        """Every step that has a name; what is wrong is among the problems."""
        found = []
        for number, item in enumerate(nodes.items, 1):
            found += self._item(item, f"{where}, step {number}")
        return found

    def _item(self, item: Node, where: str) -> list[Step]:
        """One step; with a forgotten `-`, the two that were meant."""
        if isinstance(item, Text):
            if item.empty:
                message = f"no step stands here ({where})"
                self.problems.error("empty-value", message, item.place, _LIST_OF_STEPS)
                return []
            nothing = Map({}, item.place)
            step = Step(item.text, item, Text("", item.place), item, where, NO_SIBLINGS, nothing)
            return [self._judged(step)]
        if not isinstance(item, Map):
            what = describe(item)
            message = f"a step is a name, or a name with options, not {what} ({where})"
            self.problems.error("bad-value", message, item.place, "remove one `-`")
            return []
        found = []
        for key, entries in self._names(item, where):
            siblings = Map(entries, item.place)
            value = item.entries[key.text].value
            judged = self._siblings(siblings, key, where)
            found.append(self._judged(Step(key.text, key, value, item, where, judged, siblings)))
        return found

    def _judged(self, step: Step) -> Step:
        if step.uses == MAP:
            step = self._mapped(step)
        self._component(step)
        self._guard(step)
        if step.cls is not None and step.uses == ROUTE:
            self._route(step)
        self._options(step)
        return step

    # The name

    def _is_step(self, name: str) -> bool:
        return name in self.installed or name in PLANNED["steps"] or bool(_DOTTED.match(name))

    def _names(self, item: Map, where: str) -> list[tuple[Text, dict[str, Entry]]]:
        """Each key that names a step, with the siblings that follow it; keys that are neither are reported."""
        others = [entry.key for key, entry in item.entries.items() if key not in SIBLINGS]
        if not others:
            message = f"no step in this item ({where})"
            advice = f"`{listed(item.entries)}` belongs beside a step's name"
            self.problems.error(
                "no-step", message, item.place, advice if item.entries else _LIST_OF_STEPS
            )
            return []
        steps = [key for key in others if self._is_step(key.text)] or others[:1]
        for key in others:
            if key not in steps:
                self._unknown_key(key, steps[0], where)
        for key in steps[1:]:
            names = f"`{steps[0].text}` and `{key.text}`"
            message = f"two step names in one item: {names} ({where})"
            self.problems.error("two-steps", message, key.place, f"put `- ` before `{key.text}`")
        found: list[tuple[Text, dict[str, Entry]]] = [(key, {}) for key in steps]
        at = 0
        for name, entry in item.entries.items():
            if name in SIBLINGS:
                found[at][1][name] = entry
            elif entry.key in steps:
                at = steps.index(entry.key)
        return found

    def _unknown_key(self, key: Text, step: Text, where: str) -> None:
        message = f"no key `{key.text}` beside step `{step.text}` ({where})"
        advice = did_you_mean(key.text, SIBLINGS)
        if self._has_option(step.text, key.text):
            advice = f"`{key.text}` is an option of `{step.text}`: indent it below"
        elif not advice:
            beside = ", ".join(SIBLINGS)
            advice = f"options are indented below `{step.text}:`; beside it stand {beside}"
        self.problems.error("unknown-key", message, key.place, advice)

    def _has_option(self, uses: str, key: str) -> bool:
        if uses not in self.installed:
            return False
        try:
            return key in keys_of(self.registry.get("steps", uses).Options)
        except (NotFound, ImportError):
            return False

    def _siblings(self, node: Map, key: Text, where: str) -> StepSiblings:
        value = plain(node)
        given = {name: each for name, each in value.items() if each is not None}
        for name in value:
            if name not in given:
                message = f"nothing stands behind `{name}:` ({where})"
                self.problems.error(
                    "empty-value", message, node.place_of(name), "write a value, or remove the key"
                )
        judged = judge(
            StepSiblings, given, node=node, place=key.place, problems=self.problems, what=where
        )
        if judged is None:
            return NO_SIBLINGS
        if judged.mode is not None and key.text != ROUTE:
            message = f"`mode` stands beside `route` only ({where})"
            self.problems.error("bad-value", message, node.place_of("mode"), "remove it")
        if judged.retry is not None and judged.retry.min > judged.retry.max and {
            "min", "max",
        } <= judged.retry.model_fields_set:  # fmt: skip
            message = "`min` of a retry is longer than its `max`"
            self.problems.error("bad-value", message, node.place_of("retry"), "swap them")
        return judged

    def _component(self, step: Step) -> None:
        name = step.uses
        try:
            step.cls = (
                self.registry.get("steps", name)
                if not _DOTTED.match(name) or name in self.installed
                else None
            )
        except NotInstalled as error:
            message = f"step `{name}` is not installed ({step.where})"
            self.problems.error("not-installed", message, step.key.place, error.help)
        except NotFound:
            known = {*self.installed, *PLANNED["steps"]}
            message = f"no step `{name}` ({step.where})"
            advice = did_you_mean(name, known, _LIST_OF_STEPS)
            self.problems.error("unknown-step", message, step.key.place, advice)
        except ImportError as error:
            message = f"step `{name}` cannot be loaded: {error} ({step.where})"
            self.problems.error("broken-plugin", message, step.key.place, "reinstall its package")
        if step.cls is not None:
            step.spec = step.cls.spec

    def _guard(self, step: Step) -> None:
        value = step.sibling_nodes.get("if")
        if value is None:
            return
        step.guard = read_expression(value, self.problems, f"`if` of {step.where}")
        if step.cls is not None and hasattr(step.cls, "read"):
            message = f"a reader cannot have an `if:` ({step.where})"
            advice = "let a pipeline of its own subscribe to the files that are to be read so"
            self.problems.error("bad-value", message, step.sibling_nodes.place_of("if"), advice)

    def _mapped(self, step: Step) -> Step:
        """`map: {function: steps.add_vat, with: {rate: 0.2}}` as what it means: `steps.add_vat: {rate: 0.2}`."""
        value, function, options = step.value, step.value, None
        if isinstance(value, Map):
            for key in value.entries:
                if key not in ("function", "with"):
                    return step  # judged as its own options, which names the wrong key
            function, options = value.get("function") or value, value.get("with")
        if not isinstance(function, Text) or not _DOTTED.match(function.text):
            return step
        nothing = Text("", function.place)
        return replace(step, uses=function.text, key=function, value=options or nothing)

    # The options

    def _options(self, step: Step) -> None:
        if step.spec is None and not _DOTTED.match(step.uses):
            self._misplaced(step, frozenset(), only_if=True)
            return
        if step.spec is None:
            self._user_options(step)
            return
        model = step.cls.Options
        spec: StepSpec = step.spec
        own = frozenset(keys_of(model))
        if self._misplaced(step, own, only_if=spec.shorthand_only):
            return
        value: Any
        if isinstance(step.value, Text) and step.value.empty:
            value = {}
        elif isinstance(step.value, Map) and not spec.shorthand_only:
            value = self.secrets.resolved(step.value)
        elif spec.shorthand:
            # A map here names what the user makes up (columns, tags): `secret` is one of these names.
            value = (
                plain(step.value)
                if isinstance(step.value, Map)
                else self.secrets.resolved(step.value)
            )
            value = {spec.shorthand: value}
        else:
            message = f"`{step.uses}` takes options, not {describe(step.value)} ({step.where})"
            self.problems.error("bad-value", message, step.value.place, f"such as {spec.example}")
            return
        if step.uses == ROUTE and not isinstance(step.value, Map):
            return
        judged = judge(
            model,
            value,
            node=step.value,
            place=step.key.place,
            problems=self.problems,
            what=step.where,
            root=self.root,
            example=f"such as {spec.example}",
        )
        if judged is not None:
            step.options = builtins_of(judged)
            step.uses_of = step.cls.uses(judged) if hasattr(step.cls, "uses") else Uses()

    def _user_options(self, step: Step) -> None:
        """Of a user's function: options are what its signature says, which only a worker may ask."""
        if self._misplaced(step, frozenset(), only_if=False):
            return
        if isinstance(step.value, Text) and step.value.empty:
            step.options = {}
        elif isinstance(step.value, Map):
            step.options = self.secrets.resolved(step.value)
        else:
            message = (
                f"options of `{step.uses}` are a map, not {describe(step.value)} ({step.where})"
            )
            advice = f"write `- {step.uses}: {{name: value}}`"
            self.problems.error("bad-value", message, step.value.place, advice)

    def _misplaced(self, step: Step, own: frozenset[str], *, only_if: bool) -> bool:
        """Say, and report, whether siblings stand among the options."""
        if not isinstance(step.value, Map):
            return False
        wrong = [
            entry.key
            for name, entry in step.value.entries.items()
            if name in SIBLINGS
            and name not in own
            and not entry.key.style
            and (not only_if or name == "if" or (step.uses == ROUTE and name == "mode"))
        ]
        for key in wrong:
            message = f"`{key.text}` stands among the options of `{step.uses}` ({step.where})"
            advice = f"start `{key.text}:` in the column of `{step.uses}:`"
            self.problems.error("misplaced-key", message, key.place, advice)
        return bool(wrong)

    # Routes

    def _route(self, step: Step) -> None:
        if not isinstance(step.value, Map):
            what = describe(step.value)
            message = f"`route` is a map of tags to sinks, not {what} ({step.where})"
            self.problems.error(
                "bad-value",
                message,
                step.value.place if what != "nothing" else step.key.place,
                _ROUTE_HELP,
            )
            return
        for name, entry in step.value.entries.items():
            if name in ("if", "mode") and not entry.key.style:
                continue
            when = None
            if name != ELSE:
                when = read_expression(entry.key, self.problems, f"branch of {step.where}")
                if when is None:
                    continue
            branch = self._branch(step, entry.key, when, entry.value)
            if branch is not None:
                step.branches.append(branch)
        if ELSE not in step.value.entries:
            message = f"`route` has no `else` ({step.where})"
            advice = "add `else: SINK`, or `else: drop` to count and drop the rest"
            self.problems.error("route-no-else", message, step.key.place, advice)

    def _branch(self, step: Step, key: Text, when: Expression | None, value: Node) -> Branch | None:
        where = f"{step.where}, branch {key.text}"
        branch = Branch(key, when)
        if isinstance(value, Map):
            if not self._branch_steps(branch, value, where):
                return None
        else:
            branch.sinks = self._sinks(value, where)
        names = [sink.text for sink in branch.sinks]
        if DROP in names:
            at = branch.sinks[names.index(DROP)]
            if len(names) > 1:
                message = f"`drop` stands alone, not with sinks ({where})"
                self.problems.error("bad-value", message, at.place, "remove it, or the sinks")
            elif branch.steps:
                message = f"steps before `drop` do nothing that anybody sees ({where})"
                self.problems.warn(
                    "dead-steps", message, at.place, "name a sink, or remove the steps"
                )
            branch.sinks = [sink for sink in branch.sinks if sink.text != DROP]
        return branch

    def _branch_steps(self, branch: Branch, value: Map, where: str) -> bool:
        place = branch.key.place
        judged = judge(
            BranchModel,
            plain(value),
            node=value,
            place=place,
            problems=self.problems,
            what=where,
            example="write {steps: [...], to: SINK}",
        )
        if judged is None:
            return False
        steps, to = value.get("steps"), value.get("to")
        if isinstance(steps, List):
            branch.steps = self.read(steps, where)
        if to is not None:
            branch.sinks = self._sinks(to, where)
        return True

    def _sinks(self, node: Node, where: str) -> list[Text]:
        items = node.items if isinstance(node, List) else [node]
        found: list[Text] = []
        for item in items:
            if not isinstance(item, Text) or item.empty:
                message = f"a sink's name is expected here, not {describe(item)} ({where})"
                self.problems.error(
                    "bad-value", message, item.place, "write SINK, [SINK, SINK] or drop"
                )
            elif item.text not in [each.text for each in found]:
                found.append(item)
        if not items:
            message = f"at least one sink is needed here ({where})"
            self.problems.error("bad-value", message, node.place, "write SINK, or drop")
        return found


def texts_in(node: Node) -> list[Text]:
    """All texts of a tree, in reading order."""
    if isinstance(node, Text):
        return [node]
    children = node.items if isinstance(node, List) else [e.value for e in node.entries.values()]
    return [text for child in children for text in texts_in(child)]


def place_of_text(node: Node, text: str, otherwise: Place) -> Place:
    """Where a text stands within a tree."""
    return next((each.place for each in texts_in(node) if each.text == text), otherwise)
