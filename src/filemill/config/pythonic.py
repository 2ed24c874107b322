"""Pipelines written in Python (`pipelines: {orders: flows.orders}`): read by a worker, judged here like any other.

A worker imports the module and answers with what the pipeline is written down as: a tree of texts with the places of
the Python that made them. In the document it takes the place of its dotted path, before anything is judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from filemill.config.locating import shown
from filemill.config.positions import Entry, List, Map, Node, Place, Text
from filemill.config.problems import Problems
from filemill.model.errors import FilemillError
from filemill.ports.describe import Describe, Question

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+\Z")
_UNUSABLE = re.compile("[\0\ud800-\udfff]")


def replace_paths(
    tree: Map, root: str, describe: Describe | None, problems: Problems
) -> dict[str, Any]:
    """Put what stands at each dotted path below `pipelines` in its place; answers with that, by path."""
    section = tree.get("pipelines")
    if not isinstance(section, Map):
        return {}
    paths = {name: entry.value for name, entry in _paths(section)}
    if not paths:
        return {}
    wanted = tuple(dict.fromkeys(path.text for path in paths.values()))
    if describe is None:
        for path in paths.values():
            message = f"the pipeline `{path.text}` is Python, which only a worker may read"
            problems.error("describe", message, path.place, "filemill check asks one")
        return {}
    try:
        answers = {each.key: each for each in describe(Question(root, pipelines=wanted)).pipelines}
    except FilemillError as error:
        message = f"users' pipelines could not be read: {error.message}"
        problems.error("describe", message, next(iter(paths.values())).place, error.help)
        answers = {}
    found: dict[str, Any] = {}
    for name, path in paths.items():
        answer = answers.get(path.text)
        key = section.entries[name].key
        if answer is not None and answer.written is not None:
            found[path.text] = answer.written
            section.entries[name] = Entry(key, node_of(answer.written, problems))
            continue
        if answer is not None:
            problems.error("user-pipeline", answer.error, path.place, answer.help)
        del section.entries[name]  # said; nothing more is to be said of it
    return found


def _paths(section: Map) -> Iterator[tuple[str, Any]]:
    for name, entry in section.entries.items():
        if isinstance(entry.value, Text) and _DOTTED.match(entry.value.text):
            yield name, entry


def node_of(written: list[Any], problems: Problems) -> Node:
    """A tree as `pipeline_api` writes it down; the lines it stands on are known to `problems` from here on."""
    kind, value, at = written
    place = _place(at, problems)
    if kind == "list":
        return List([node_of(each, problems) for each in value], place, flow=True)
    if kind == "map":
        entries = {
            name: Entry(Text(name, _place(where, problems)), node_of(each, problems))
            for name, where, each in value
        }
        return Map(entries, place, flow=True)
    if value is None:
        return Text("", place)
    if odd := _UNUSABLE.search(value):
        message = f"the character U+{ord(odd[0]):04X} cannot stand in a configuration"
        problems.error("encoding", message, place, "remove it")
        return Text("", place, '"')
    return Text(value, place, '"')


def _place(at: list[Any], problems: Problems) -> Place:
    file, line, column, length = at
    name = shown(file)
    if name not in problems.lines:
        try:
            with open(file, encoding="utf-8", errors="replace") as source:
                problems.lines[name] = source.read().split("\n")
        except OSError:
            problems.lines[name] = []  # made by no file: a problem is shown without its line
    return Place(name, line, column, length)
