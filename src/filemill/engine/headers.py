"""What a pipeline says of its outputs before any record is read: the columns of each sink's csv files.

Which columns `derive`, `select` and the branches of a route make is written in the configuration, so the header of an
output follows from its own file's header alone, whatever other files it is processed with and in however many pieces.
Only the columns that users' functions make, and those of NDJSON, are known by reading; they count per file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from filemill.records.layout import LINE, Layout, text_layout

if TYPE_CHECKING:
    from filemill.engine.chain import Node

_KEPT = 1_000
"""Answers kept; files come with few headers."""


class Header(msgspec.Struct, frozen=True):
    """The header of one file's csv output in one sink: the columns of `layout`."""

    layout: Layout
    more: bool
    """Records may bring further columns, which come before those of `layout` that no record has."""


class _Found(msgspec.Struct):
    names: dict[str, None]
    more: bool


class Headers:
    """The headers of one pipeline's outputs. Pure, but for the answers it keeps."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        reader = next((n for n, node in enumerate(nodes) if node.reads), len(nodes))
        self._nodes = nodes[reader + 1 :]
        self._known: dict[object, dict[str, Header]] = {}

    def of(self, layout: Layout, made: Mapping[int, tuple[str, ...]]) -> Mapping[str, Header]:
        """By sink: the header of a file that was read with this layout.

        `made` are the columns that functions gave this file's csv records, by their step's index; a function that
        has seen none of its records yet is taken to keep what it is given.
        """
        key = (layout, tuple(made.items()))
        headers = self._known.get(key)
        if headers is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            found: dict[str, _Found] = {}
            names = {"csv": layout.columns, "lines": (LINE,)}.get(layout.format, ())
            self._walk(self._nodes, _Passage(names, layout.format, made), found)
            headers = self._known[key] = {
                sink: Header(text_layout(layout, {"columns": tuple(each.names)}), each.more)
                for sink, each in found.items()
            }
        return headers

    def _walk(self, nodes: Sequence[Node], passage: _Passage, found: dict[str, _Found]) -> _Passage:
        for node in nodes:
            if node.transforms:
                passage = passage.through(node)
                continue
            if not node.plan.routes:
                _note(node.refers.sinks, passage, found)
            for route, branch in zip(node.plan.routes, node.branches, strict=True):
                _note(route.sinks, self._walk(branch, passage, found), found)
        return passage


class _Passage:
    """The columns of records at one place of the pipeline."""

    def __init__(
        self,
        names: tuple[str, ...],
        format: str,  # noqa: A002
        made: Mapping[int, tuple[str, ...]],
        *,
        more: bool | None = None,
    ) -> None:
        self.names = names
        self.format = format
        self.made = made
        self.more = format == "jsonl" if more is None else more

    def through(self, node: Node) -> _Passage:
        """The columns behind a step."""
        names, more = node.after(self.names), self.more
        if node.dynamic and self.format == "csv":
            names = self.made.get(node.index, names)
        elif node.dynamic:
            names, more = (), True
        elif node.refers.selects is not None:
            more = False
        if node.plan.guard is not None:
            names, more = tuple(dict.fromkeys((*self.names, *names))), more or self.more
        return _Passage(names, self.format, self.made, more=more)


def _note(sinks: Sequence[str], passage: _Passage, found: dict[str, _Found]) -> None:
    for sink in sinks:
        each = found.setdefault(sink, _Found({}, more=False))
        each.names |= dict.fromkeys(passage.names)
        each.more |= passage.more
