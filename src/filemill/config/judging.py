"""A model's verdict on a part of the document, as problems at the right places and in our words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from filemill.config.mistakes import quoted
from filemill.config.positions import Map, Node, Place, Text, describe, follow
from filemill.config.problems import Problems, closest, did_you_mean
from filemill.config.secrets import MASK, secret_name

Model = TypeVar("Model", bound=BaseModel)
_HELP_BEGINS = ("write ", "use ", "did you ", "remove ", "there are ", "set ", "add ", "see ")
_WANTED = {
    "string_type": "a text",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a map",
    "model_type": "a map",
    "mapping_type": "a map",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "none_required": "nothing",
}
_UNREADABLE = {
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number of that size",
    "float_parsing": "a number",
    "bool_parsing": "true or false",
    "decimal_parsing": "a number",
    "date_parsing": "a date",
    "date_from_datetime_parsing": "a date",
    "url_parsing": "a URL",
}
_LIMITS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}


def judge(
    model: type[Model],
    value: Any,
    *,
    node: Node,
    place: Place,
    problems: Problems,
    what: str,
    root: str | None = None,
    example: str = "",
    hidden: Iterable[str] = (),
    by_section: bool = False,
) -> Model | None:
    """The validated model, or None with every reason among the problems.

    `node` is what `value` was made of, `place` where to point when a key is missing, `what` names the part for
    people; what is wrong further in is said of that section, as `web.oidc`, where `by_section` says so. `root` is
    handed to path options, `example` is the help when a value is missing, `hidden` are keys not to be offered as
    alternatives.
    """
    try:
        return model.model_validate(value, context={"root": root})
    except ValidationError as error:
        issues = error.errors(include_url=False, include_input=False)
    _Judge(
        model,
        node=node,
        place=place,
        problems=problems,
        what=what,
        example=example,
        hidden=frozenset(hidden),
        by_section=by_section,
    ).report(issues)
    return None


def keys_of(model: type[BaseModel]) -> dict[str, str]:
    """Key as written -> field's name, in the model's order."""
    return {field.alias or name: name for name, field in model.model_fields.items()}


class _Judge:
    def __init__(
        self,
        model: type[BaseModel],
        *,
        node: Node,
        place: Place,
        problems: Problems,
        what: str,
        example: str,
        hidden: frozenset[str],
        by_section: bool,
    ) -> None:
        self.model = model
        self.node = node
        self.place = place
        self.problems = problems
        self.whole = self.what = what
        self.by_section = by_section
        self.example = example
        self.hidden = hidden

    def report(self, issues: Iterable[Any]) -> None:
        """Issues at one value are branches of a union: they become one problem."""
        groups: dict[int, list[Any]] = {}
        for issue in self.without_echoes(list(issues)):
            node, _, rest = follow(self.node, issue["loc"])
            alone = issue["type"] in ("missing", "extra_forbidden")
            groups.setdefault(id(issue) if alone else id(node), []).append((issue, node, rest))
        for group in groups.values():
            self.what = self.named(group[0][0]["loc"])
            if len(group) == 1:
                self.one(*group[0])
            else:
                self.several(group)

    def named(self, loc: tuple[str | int, ...]) -> str:
        """The part an issue is in, for people."""
        keys: list[str] = []
        node = self.node
        for part in loc[:-1]:
            if not isinstance(node, Map) or part not in node.entries:
                break
            keys.append(str(part))
            node = node.entries[str(part)].value
        return f"`{'.'.join(keys)}`" if keys and self.by_section else self.whole

    def without_echoes(self, issues: list[Any]) -> list[Any]:
        """Without the missing keys that are there, misspelt: the unknown key is told, with its right name."""
        misspelt = {
            (
                *issue["loc"][:-1],
                closest(str(issue["loc"][-1]), _keys_at(self.model, issue["loc"][:-1])),
            )
            for issue in issues
            if issue["type"] == "extra_forbidden"
        }
        return [
            i
            for i in issues
            if i["type"] != "missing" or (*i["loc"][:-1], self.written(i)) not in misspelt
        ]

    def written(self, issue: Any) -> str:
        """The key of an issue as people write it."""
        key = str(issue["loc"][-1])
        fields = self.model.model_fields
        return next((f.alias or n for n, f in fields.items() if key in (n, f.alias)), key)

    def several(self, group: list[Any]) -> None:
        node = group[0][1]
        wanted = [_WANTED[issue["type"]] for issue, _, _ in group if issue["type"] in _WANTED]
        if len(wanted) == len(group):
            self.wrong_shape(node, list(dict.fromkeys(wanted)))
            return
        told = [g for g in group if g[0]["type"] not in _WANTED]
        last = next((g for g in told if g[0]["type"] == "value_error"), told[-1])
        self.one(*last)

    def one(self, issue: Any, node: Node, rest: tuple[str | int, ...]) -> None:
        kind, context = issue["type"], issue.get("ctx", {})
        if kind == "missing":
            self.missing(self.written(issue), node)
        elif kind == "extra_forbidden":
            self.unknown_key(issue["loc"])
        elif kind in _WANTED:
            self.wrong_shape(node, [_WANTED[kind]])
        elif isinstance(node, Text) and node.empty:
            self.problems.error(
                "empty-value", f"nothing stands here ({self.what})", self.at(node),
                self.example or "write a value, or remove the key",
            )  # fmt: skip
        elif kind in ("value_error", "assertion_error"):
            self.said(str(context.get("error", issue["msg"])), node)
        elif kind in _UNREADABLE:
            self.wrong(f"`{_shown(node)}` is not {_UNREADABLE[kind]}", node)
        elif kind in ("literal_error", "enum"):
            self.not_one_of(node, context["expected"])
        elif kind in _LIMITS:
            word, key = _LIMITS[kind]
            self.wrong(f"`{_shown(node)}` must be {word} {context[key]}", node)
        elif kind in ("too_short", "string_too_short"):
            few = (
                f"at least {context['min_length']}" if context["min_length"] > 1 else "at least one"
            )
            unit = "character" if kind.startswith("string") else "entry"
            self.wrong(f"{few} {unit} is needed here ({self.what})", node, self.example)
        else:
            message = issue["msg"]
            self.wrong(f"{message[:1].lower()}{message[1:]} ({self.what})", node)
        del rest

    def at(self, node: Node) -> Place:
        return self.place if node is self.node else node.place

    def wrong(self, message: str, node: Node, advice: str = "") -> None:
        self.problems.error("bad-value", message, self.at(node), advice)

    def said(self, message: str, node: Node) -> None:
        """A validator's own words; what tells how to write it becomes the help."""
        head, colon, tail = message.rpartition(": ")
        if colon and tail.startswith(_HELP_BEGINS):
            self.wrong(head, node, tail)
        else:
            self.wrong(message, node)

    def not_one_of(self, node: Node, expected: str) -> None:
        choices = [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]
        shown = _shown(node)
        close = closest(shown, choices)
        advice = f"did you mean `{close}`?" if close else ""
        if len(choices) == 1:
            message = f"only `{choices[0]}` is possible here, not `{shown}` ({self.what})"
            self.wrong(message, node, f"write {choices[0]}")
            return
        self.wrong(f"`{shown}` is not {_either(choices)}", node, advice)

    def missing(self, name: str, node: Node) -> None:
        place = self.place if node is self.node or isinstance(node, Text) else node.place
        message = f"{self.what} needs `{name}`"
        self.problems.error("missing-key", message, place, self.example or self.about(name))

    def about(self, name: str) -> str:
        """What to write where a key is missing, in the words of its description."""
        fields = self.model.model_fields
        field = next((f for n, f in fields.items() if name in (n, f.alias)), None)
        said = (field.description or "") if field else ""
        return f"write `{name}: ...`" + (
            f", {said[:1].lower()}{said[1:].rstrip('.')}" if said else ""
        )

    def unknown_key(self, loc: tuple[str | int, ...]) -> None:
        parent, _, _ = follow(self.node, loc[:-1])
        key = str(loc[-1])
        place = parent.place_of(key) if isinstance(parent, Map) else self.at(parent)
        known = _keys_at(self.model, loc[:-1])
        told = [name for name in known if name not in self.hidden]
        message = f"no key `{key}` ({self.what})"
        advice = did_you_mean(key, told) or (
            f"keys: {', '.join(told)}" if told else "it has no keys"
        )
        self.problems.error("unknown-key", message, place, advice)

    def wrong_shape(self, node: Node, wanted: list[str]) -> None:
        place = node.place
        if isinstance(node, Text) and node.empty:
            place = self.at(node)
            self.problems.error(
                "empty-value", f"nothing stands here ({self.what})", place,
                self.example or "write a value, or remove the key",
            )  # fmt: skip
            return
        message = f"{_either(wanted)} is expected here, not {describe(node)} ({self.what})"
        self.problems.error("bad-value", message, place, _shape_help(node, wanted))


def _shape_help(node: Node, wanted: list[str]) -> str:
    if isinstance(node, Map) and "a text" in wanted and len(node.entries) == 1:
        (key, entry), = node.entries.items()  # fmt: skip
        if isinstance(entry.value, Text) and entry.value.style in ("'", '"'):
            meant = f"{key} = '{entry.value.text}'"
            return f"for a condition write {quoted(meant)}"
    if isinstance(node, Text) and "a list" in wanted:
        return f"write [{node.raw or node.text}]"
    if isinstance(node, Map) and node.raw and "a text" in wanted:
        return f"quote it: {quoted(node.raw)}"
    return ""


def _keys_at(model: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    """Keys of the model that stands at a place within another one."""
    for part in loc:
        field = next((f for n, f in model.model_fields.items() if part in (n, f.alias)), None)
        inner = None if field is None else _model_in(field.annotation)
        if inner is not None:
            model = inner
    return list(keys_of(model))


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        if (found := _model_in(argument)) is not None:
            return found
    return None


def _shown(node: Node) -> str:
    if isinstance(node, Text):
        return node.text
    return MASK if secret_name(node) is not None else describe(node)


def _either(words: list[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last
