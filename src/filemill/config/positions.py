"""A configuration as a tree of texts, each with the place it stands at.

Nothing is converted here: a scalar is its text, whatever it looks like, until an option's type asks for
something else. So `on`, `no`, `1.10` and `12:30:00` are what they look like.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Place(msgspec.Struct, frozen=True):
    """Where something stands: lines and columns count characters from 1; line 0 is not in a file."""

    file: str
    """As shown to people: a path, or `$NAME` for an environment variable."""
    line: int = 0
    column: int = 0
    length: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


class Text:
    """One scalar. `style` is empty for a plain one, else the quote or block indicator."""

    __slots__ = ("place", "raw", "style", "text")

    def __init__(self, text: str, place: Place, style: str = "", raw: str = "") -> None:
        self.text = text
        self.place = place
        self.style = style
        self.raw = raw
        """As it is written, quotes included, when that is one line."""

    @property
    def empty(self) -> bool:
        """True of nothing at all behind a `:` or `-`; not of `""`."""
        return not self.style and not self.text

    def at(self, offset: int) -> Place:
        """The place of one character of the text, where what is written is what it means; else of the whole."""
        lead = 1 if self.style in ("'", '"') else 0
        written = self.raw[lead : len(self.raw) - lead]
        if written != self.text:
            return self.place
        return Place(self.place.file, self.place.line, self.place.column + lead + offset)


class Entry:
    """One key of a map with its value."""

    __slots__ = ("key", "value")

    def __init__(self, key: Text, value: Node) -> None:
        self.key = key
        self.value = value


class Map:
    """A map in reading order; of a key that is there twice, the first counts. `raw` as for Text."""

    __slots__ = ("entries", "flow", "place", "raw")

    def __init__(
        self, entries: dict[str, Entry], place: Place, *, flow: bool = False, raw: str = ""
    ) -> None:
        self.entries = entries
        self.place = place
        self.flow = flow
        self.raw = raw

    def get(self, key: str) -> Node | None:
        """The value at a key; None when it is not there or nothing stands behind it."""
        entry = self.entries.get(key)
        if entry is None or (isinstance(entry.value, Text) and entry.value.empty):
            return None
        return entry.value

    def place_of(self, key: str) -> Place:
        """Where the key stands; the map's own place when it is not there."""
        entry = self.entries.get(key)
        return self.place if entry is None else entry.key.place

    def without(self, *keys: str) -> Map:
        """The same map lacking some keys."""
        kept = {key: entry for key, entry in self.entries.items() if key not in keys}
        return Map(kept, self.place, flow=self.flow, raw=self.raw)


class List:
    """A list. `raw` as for Text."""

    __slots__ = ("flow", "items", "place", "raw")

    def __init__(
        self, items: list[Node], place: Place, *, flow: bool = False, raw: str = ""
    ) -> None:
        self.items = items
        self.place = place
        self.flow = flow
        self.raw = raw


Node = Text | Map | List
Path = tuple[str | int, ...]


def plain(node: Node) -> Any:
    """The tree as dicts, lists and texts; None where nothing stands."""
    if isinstance(node, Text):
        return None if node.empty else node.text
    if isinstance(node, List):
        return [plain(item) for item in node.items]
    return {key: plain(entry.value) for key, entry in node.entries.items()}


def follow(node: Node, path: Path) -> tuple[Node, Text | None, Path]:
    """(the deepest node on the path, the key it stands behind, what of the path was not found).

    Parts that name nothing are stepped over while a later one still leads on, since validation errors name
    the branch of a union as if it were a key.
    """
    key: Text | None = None
    rest: list[str | int] = []
    for part in path:
        if isinstance(node, Map) and part in node.entries:
            key = node.entries[str(part)].key
            node = node.entries[str(part)].value
            rest = []
        elif isinstance(node, List) and isinstance(part, int) and part < len(node.items):
            key, node = None, node.items[part]
            rest = []
        else:
            rest.append(part)
    return node, key, tuple(rest)


def describe(node: Node) -> str:
    """What a node is, for a sentence."""
    if isinstance(node, Map):
        return "a map"
    if isinstance(node, List):
        return "a list"
    return "nothing" if node.empty else "text"
