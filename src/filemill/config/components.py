"""Sources and sinks: which component each one is, and whether it accepts its keys."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from enum import Enum
from typing import Any

from pydantic import BaseModel, SecretStr

from filemill.config.elements import Component
from filemill.config.judging import judge, keys_of
from filemill.config.models import NAME
from filemill.config.positions import List, Map, Node, Text, describe
from filemill.config.problems import Problems, closest
from filemill.config.secrets import Secrets
from filemill.model.errors import NotFound
from filemill.model.tags import TagSyntaxError, check_tag
from filemill.ports.registry import PLANNED, NotInstalled, Registry

SCAN_EXAMPLE = "scan: {clamd: unix:/run/clamav/clamd.ctl}"
RESERVED_NAMES = {"sinks": ("drop",), "sources": ("cli",)}
"""`drop` is where `route` counts and drops; `cli` is the source of files named on the command line."""


class ComponentReader:
    """Reads the sections `sources` and `sinks`."""

    def __init__(self, root: str, registry: Registry, secrets: Secrets, problems: Problems) -> None:
        self.root = root
        self.registry = registry
        self.secrets = secrets
        self.problems = problems

    def read(self, section: str, tree: Map) -> list[Component]:
        """Every entry of one section that has a kind, installed or not."""
        found: list[Component] = []
        for name, key, node in named(section, tree, self.problems):
            if name in RESERVED_NAMES[section]:
                message = f"`{name}` is reserved and cannot name a {section[:-1]}"
                self.problems.error("reserved-name", message, key.place, "rename it")
                self.problems.shadow(key.place)
            component = self._one(section, name, key, node)
            if component is not None:
                found.append(component)
        return found

    def _one(self, section: str, name: str, key: Text, node: Node) -> Component | None:
        singular = section[:-1]
        if not isinstance(node, Map):
            value = node.text if isinstance(node, Text) and node.text else "PATH"
            message = f"{singular} `{name}` is a map, not {describe(node)}"
            self.problems.error("bad-value", message, node.place, f"write {{folder: {value}}}")
            return None
        component = Component(name, key, node)
        component.kind = self._kind(section, name, key, node)
        if not component.kind:
            return component
        component.cls = self._component(
            section, name, node.entries[component.kind].key, component.kind
        )
        if section == "sources":
            component.tags = self._source_tags(node)
        if component.cls is not None:
            component.options = self._options(singular, component)
        return component

    def _kind(self, section: str, name: str, key: Text, node: Map) -> str:
        """The one key that names the kind; empty, with a problem, when there is none."""
        singular = section[:-1]
        installed = self.registry.names(section)
        known = {*installed, *PLANNED.get(section, {})}
        kinds = [each for each in node.entries if each in known]
        if len(kinds) > 1:
            first = kinds[0]
            own = self._keys(section, first)
            others = [each for each in kinds[1:] if each not in own]
            if others:
                message = f"{singular} `{name}` is both `{first}` and `{others[0]}`"
                advice = f"make it two {section}, or remove one key"
                self.problems.error("two-kinds", message, node.place_of(others[0]), advice)
                self.problems.shadow(node.place_of(others[0]))
        if kinds:
            return kinds[0]
        for each in node.entries:
            if (close := closest(each, known)) is not None:
                message = f"no kind of {singular} `{each}` ({singular} {name})"
                advice = f"did you mean `{close}`?"
                self.problems.error("unknown-kind", message, node.place_of(each), advice)
                return ""
        message = f"{singular} `{name}` has no kind"
        advice = f"one key names it: {', '.join(sorted(installed))}"
        self.problems.error("unknown-kind", message, key.place, advice)
        return ""

    def _keys(self, section: str, kind: str) -> list[str]:
        if kind not in self.registry.names(section):
            return []
        return list(keys_of(self.registry.get(section, kind).Options))

    def _component(self, section: str, name: str, key: Text, kind: str) -> Any:
        singular = section[:-1]
        try:
            return self.registry.get(section, kind)
        except NotInstalled as error:
            message = f"{singular} `{name}` needs `{kind}`, which is not installed"
            self.problems.error("not-installed", message, key.place, error.help)
        except (NotFound, ImportError) as error:
            message = f"{singular} kind `{kind}` cannot be loaded: {error}"
            self.problems.error("broken-plugin", message, key.place, "reinstall its package")
        return None

    def _options(self, singular: str, component: Component) -> BaseModel | None:
        model: type[BaseModel] = component.cls.Options
        node = component.node
        if singular == "source":
            node = _read_exemption(component, node, self.problems)
        if "tags" in node.entries and singular == "source":
            if "tags" not in keys_of(model):
                node = node.without("tags")
            elif not component.tags:
                node = node.without("tags")  # what is wrong with them is said already
        return judge(
            model,
            self.secrets.resolved(node),
            node=node,
            place=node.place_of(component.kind),
            problems=self.problems,
            what=f"{singular} {component.name}",
            root=self.root,
        )

    def _source_tags(self, node: Map) -> list[tuple[str, Any]]:
        value = node.get("tags")
        if value is None:
            return []
        items = (
            [value] if isinstance(value, Text) else value.items if isinstance(value, List) else []
        )
        if not items:
            message = f"`tags` of a source is a list of texts, not {describe(value)}"
            self.problems.error("bad-value", message, value.place, 'write tags: ["partner:{dir}"]')
        found = []
        for item in items:
            if not isinstance(item, Text):
                message = f"a tag is a text, not {describe(item)}"
                self.problems.error("bad-value", message, item.place)
                continue
            try:
                check_tag(item.text.replace("{dir}", "x"))
            except TagSyntaxError as error:
                self._bad_tag(item, error)
                continue
            found.append((item.text, item.place))
        return found

    def _bad_tag(self, item: Text, error: TagSyntaxError) -> None:
        head, _, advice = error.message.partition(": ")
        if "reserved" in head:
            self.problems.error("reserved-tag", head, item.place, "rename it")
            return
        if "{" in item.text.replace("{dir}", ""):
            advice = "the only placeholder is {dir}, the first folder below the source's"
        self.problems.error("bad-tag", f"`{item.text}` is not a tag", item.place, advice)


def _read_exemption(component: Component, node: Map, problems: Problems) -> Map:
    """Note a source's `scan: off`; answers its keys without it."""
    value = node.get("scan")
    if value is None:
        return node
    if isinstance(value, Text) and value.text == "off":
        component.scan = False
    else:
        shown = value.text if isinstance(value, Text) else describe(value)
        message = f"`scan` of a source can only be `off`, not `{shown}`"
        advice = f"say which scanner at the top: {SCAN_EXAMPLE}"
        problems.error("bad-value", message, value.place, advice)
    return node.without("scan")


def named(section: str, tree: Map, problems: Problems) -> Iterator[tuple[str, Text, Node]]:
    """Every (name, its key, its value) of a section; names that no name may be are reported."""
    node = tree.get(section)
    if node is None:
        return
    if not isinstance(node, Map):
        message = f"`{section}` is a map of names, not {describe(node)}"
        advice = f"write a name and a colon below `{section}:`"
        problems.error("bad-value", message, node.place, advice)
        return
    for name, entry in node.entries.items():
        if section != "tags" and not NAME.match(name):
            message = f"`{name}` is not a name"
            advice = "use letters, digits and `_.-`, at most 64"
            problems.error("bad-name", message, entry.key.place, advice)
        yield name, entry.key, entry.value


def builtins_of(value: Any) -> Any:
    """What a validated model holds, as dicts, lists, texts, numbers: the form in which a plan carries options."""
    if isinstance(value, BaseModel):
        fields = {
            field.alias or name: getattr(value, name)
            for name, field in type(value).model_fields.items()
            if not field.exclude
        }
        return builtins_of(fields | (value.model_extra or {}))
    if isinstance(value, dict):
        return {str(key): builtins_of(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [builtins_of(each) for each in value]
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, (Enum, dt.timedelta)):
        return value.value if isinstance(value, Enum) else value.total_seconds()
    return value if isinstance(value, (bool, int, float, str, bytes, type(None))) else str(value)
