"""The layers of a configuration: the main file, `conf.d/*.yaml` beside it, and the environment over both.

Sections (`sources`, `tags`, `pipelines`, `sinks`) grow by name; a name, or another top-level key, that is there twice
is an error naming both places. An environment variable `FILEMILL__SECTION__KEY` replaces or adds one value that
the language knows at that path: letter case does not count, and `_` stands for `-` and `.` in names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from pydantic import BaseModel

from filemill.config.judging import keys_of
from filemill.config.locating import FOLDER, shown
from filemill.config.models import (
    SECTIONS,
    Defaults,
    Failed,
    Pipeline,
    Queue,
    Retention,
    Retry,
    Settings,
    TagRule,
)
from filemill.config.positions import Entry, List, Map, Node, Place, Text
from filemill.config.problems import Problems, did_you_mean
from filemill.config.reading import read, read_value
from filemill.config.web import Web
from filemill.model.errors import NotFound
from filemill.ports.registry import Registry

PREFIX = "FILEMILL__"
_TOP: dict[str, type[BaseModel]] = {
    "defaults": Defaults,
    "failed": Failed,
    "queue": Queue,
    "retention": Retention,
    "web": Web,
}
_ENTRIES: dict[str, type[BaseModel]] = {"pipelines": Pipeline, "tags": TagRule}
_PART = re.compile(r"[-.]")


class FileText(msgspec.Struct, frozen=True):
    """One file that was read. `name` is relative to the main file's folder."""

    name: str
    data: bytes


class Layers(msgspec.Struct):
    """All layers merged into one tree, and what they were made of."""

    tree: Map
    files: list[FileText]
    overrides: dict[str, str]
    """Environment variables that changed something."""
    python: dict[str, Any] = {}
    """By dotted path: what pipelines in Python were written down as."""


def gather(
    path: str, environ: Mapping[str, str], registry: Registry, problems: Problems
) -> Layers | None:
    """Read and merge every layer; None, with the reasons among the problems, when a file cannot be read."""
    files: list[FileText] = []
    trees: list[Map] = []
    for each in [path, *_more(os.path.join(os.path.dirname(path), FOLDER), problems)]:
        try:
            with open(each, "rb") as file:
                data = file.read()
        except OSError as error:
            message = f"{shown(each)} cannot be read: {error.strerror}"
            problems.error("unreadable", message, Place(shown(each)))
            continue
        files.append(FileText(os.path.relpath(each, os.path.dirname(path)), data))
        if each != path and not data.strip():
            problems.lines[shown(each)] = []
            continue
        tree = read(data, shown(each), problems)
        if tree is not None:
            trees.append(tree)
    if len(trees) < len(files) and problems.failed:
        return None
    if not trees:
        return None
    merged = _merged(trees, problems)
    overrides = _Environment(merged, registry, problems).apply(environ)
    return Layers(merged, files, overrides)


def _more(folder: str, problems: Problems) -> list[str]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    for name in names:
        if name.endswith(".yml") and not name.startswith("."):
            place = Place(shown(os.path.join(folder, name)))
            problems.warn("ignored-file", f"{place.file} is not read", place, "name it *.yaml")
    return [
        os.path.join(folder, name)
        for name in names
        if name.endswith(".yaml") and not name.startswith(".")
    ]


def _merged(trees: list[Map], problems: Problems) -> Map:
    first, *others = trees
    merged: dict[str, Entry] = dict(first.entries)
    for tree in others:
        for key, entry in tree.entries.items():
            if key not in merged:
                merged[key] = entry
            elif key == "version":
                _same_version(merged[key], entry, problems)
            elif key in SECTIONS:
                merged[key] = Entry(merged[key].key, _section(key, merged[key], entry, problems))
            else:
                message = f"`{key}` is set twice, first at {merged[key].key.place}"
                problems.error("duplicate-key", message, entry.key.place, "remove one")
    return Map(merged, first.place)


def _same_version(one: Entry, other: Entry, problems: Problems) -> None:
    a, b = one.value, other.value
    if isinstance(a, Text) and isinstance(b, Text) and a.text == b.text:
        return
    problems.error("bad-value", f"not the version of {one.key.place}", other.value.place)


def _section(section: str, one: Entry, other: Entry, problems: Problems) -> Node:
    if not isinstance(one.value, Map):
        return other.value if isinstance(one.value, Text) and one.value.empty else one.value
    if not isinstance(other.value, Map):
        if not (isinstance(other.value, Text) and other.value.empty):
            problems.error("bad-value", f"`{section}` is a map of names", other.value.place)
        return one.value
    entries = dict(one.value.entries)
    singular = section.removesuffix("s")
    for name, entry in other.value.entries.items():
        if name in entries:
            message = f"{singular} `{name}` is there twice, first at {entries[name].key.place}"
            problems.error(f"duplicate-{singular}", message, entry.key.place, "rename one")
        else:
            entries[name] = entry
    return Map(entries, one.value.place)


class _Environment:
    """Applies variables to a tree, one at a time."""

    def __init__(self, tree: Map, registry: Registry, problems: Problems) -> None:
        self.tree = tree
        self.registry = registry
        self.problems = problems

    def apply(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Set what the variables say; answers with those that named something."""
        applied: dict[str, str] = {}
        for name in sorted(name for name in environ if name.startswith(PREFIX)):
            parts = [part.lower() for part in name.removeprefix(PREFIX).split("__")]
            value = environ[name]
            if self.set(parts, name, value):
                applied[name] = value
        return applied

    def set(self, parts: list[str], name: str, value: str) -> bool:
        place = Place(f"${name}")
        node: Map = self.tree
        model: type[BaseModel] | None = Settings
        kind = ""
        made: list[tuple[Map, Entry]] = []
        for depth, part in enumerate(parts):
            known = self.known(node, model, kind, depth)
            key = next((each for each in known if _folded(each) == part), None)
            if key is None:
                self.unknown(name, part, known, place)
                return False
            if depth == len(parts) - 1:
                if self.holds_more(key, node, model, depth):
                    self.unknown(name, "", [], place)
                    return False
                for above, entry in made:
                    above.entries[entry.key.text] = entry
                node.entries[key] = Entry(
                    Text(key, place), read_value(value, place.file, self.problems)
                )
                return True
            kind = kind or (key if depth == 0 and key in SECTIONS else "")
            model = self.model_below(model, kind, key, depth)
            below = node.entries.get(key)
            if below is None or (isinstance(below.value, Text) and below.value.empty):
                below = Entry(Text(key, place), Map({}, place))
                made.append((node, below))
            if not isinstance(below.value, Map):
                self.unknown(name, part, [], place)
                return False
            node = below.value
        return False

    def known(self, node: Map, model: type[BaseModel] | None, kind: str, depth: int) -> list[str]:
        """Keys that a variable may name here."""
        if depth == 0:
            return [*keys_of(Settings), *SECTIONS]
        if kind and depth == 1:
            return list(node.entries)
        if kind in ("sources", "sinks") and depth == 2:
            return list(dict.fromkeys([*node.entries, *self.options(kind, node)]))
        known = [] if model is None else [k for k in keys_of(model) if k != "steps"]
        return list(dict.fromkeys([*node.entries, *known]))

    def options(self, kind: str, node: Map) -> list[str]:
        for key in node.entries:
            try:
                return list(keys_of(self.registry.get(kind, key).Options))
            except (NotFound, ImportError):
                continue
        return []

    def holds_more(self, key: str, node: Map, model: type[BaseModel] | None, depth: int) -> bool:
        """Say whether this names a whole part rather than one value."""
        existing = node.entries.get(key)
        if existing is not None and isinstance(existing.value, Map) and len(existing.value.entries):
            return "secret" not in existing.value.entries
        if depth == 0:
            return key in SECTIONS or key in _TOP
        if existing is not None and isinstance(existing.value, List) and key == "steps":
            return True
        return depth == 1 and model is None

    def model_below(
        self, model: type[BaseModel] | None, kind: str, key: str, depth: int
    ) -> type[BaseModel] | None:
        if depth == 0:
            return _TOP.get(key)
        if key == "retry" and model in (Defaults, Pipeline):
            return Retry
        if depth == 1:
            return _ENTRIES.get(kind)
        return None

    def unknown(self, name: str, part: str, known: list[str], place: Place) -> None:
        names = [_folded(each).upper() for each in known]
        what = f"`{part.upper()}` in it" if part else "it"
        advice = did_you_mean(part.upper(), names) if part else "name one value below it"
        message = f"{name} is ignored: {what} names {'nothing' if part else 'a whole part'}"
        self.problems.warn("unknown-override", message, place, advice)


def _folded(name: str) -> str:
    return _PART.sub("_", name).lower()
