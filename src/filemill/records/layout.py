"""How a batch's records are written, and what a second reading of a file must know beforehand.

Column types are words: `integer` (64 bits), `float`, `boolean`, `text`; the empty word means that no record has a
value there, so nothing speaks against any type.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

LINE = "line"
"""The one column of the lines format."""
PLACELESS = frozenset({"parquet", "xml"})
"""What was read so has no bytes of its own in the file, and its byte ranges are empty; a line of parquet is a row."""
UNKNOWN = ""
"""The type of a column without a single value."""
TYPES = ("integer", "float", "boolean", "text")
_NUMBERS = {"integer", "float"}


class Dialect(msgspec.Struct, frozen=True):
    """How cells and lines are marked. `quote` None: quoting is off."""

    separator: str = ","
    quote: str | None = '"'
    crlf: bool = False
    """Lines end in CR LF (as the first line of the file does)."""


class Layout(msgspec.Struct, frozen=True):
    """What the text of a batch's records looks like, and which columns are not in it yet.

    A record's *text* is its `_text` cell where the frame has that column (a step rewrote the batch), else
    its `_raw`. The text holds the columns `base` (csv); `added` are derived columns that are written
    behind it only when the record is encoded, from their `_cell:` columns.
    """

    format: str
    """`lines`, `csv` or `jsonl`: what the text is now."""
    read_as: str
    """The reader's format, which a sink without `format:` uses (jsonl for `json`, `parquet` and `xml`)."""
    columns: tuple[str, ...] = ()
    """csv, lines: every column, in order: `base`, then `added`. jsonl: those known so far."""
    base: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    dialect: Dialect = Dialect()
    header: str = ""
    """csv: the header as it was received, without its line ending; empty if the file has none."""
    received: tuple[str, ...] = ()
    """csv: the columns `header` names."""
    returns: bool = True
    """False when no record's text ends in CR: saves a look at each."""
    braced: bool = False
    """jsonl: True when every record as received begins with `{"` and ends with `}`: saves a look at each."""
    escapes: bool = True
    """jsonl: False when no record as received has a backslash: its members' names stand in it as they are."""
    kinds: tuple[tuple[str, str], ...] = ()
    """parquet: what type each column has in the file (`formats.kinds`), where that is no text."""
    around: tuple[str, str] = ("", "")
    """json: what opens and what closes the array in its file, such as `{"data":{"items":[` and `]}}`."""


class Hints(msgspec.Struct, frozen=True):
    """What an earlier reading of the same files found out too late."""

    types: dict[int, dict[str, str]] = {}
    """By order index and column: the type to begin with, widened if need be."""
    headers: dict[str, dict[int, tuple[str, ...]]] = {}
    """By sink and order index: the columns that output's csv header begins with."""
    columns: dict[str, dict[int, tuple[str, ...]]] = {}
    """By step and order index: the columns a user's function gives that file's csv records."""

    def merge(self, other: Hints) -> Hints:
        """Both together; types widen, columns become the union, the other's first."""
        types = {index: dict(columns) for index, columns in self.types.items()}
        for index, columns in other.types.items():
            mine = types.setdefault(index, {})
            for column, word in columns.items():
                mine[column] = widen(mine.get(column, UNKNOWN), word)
        headers = _union(self.headers, other.headers)
        return Hints(types, headers, _union(self.columns, other.columns))


def _union(
    one: Mapping[str, Mapping[int, tuple[str, ...]]],
    other: Mapping[str, Mapping[int, tuple[str, ...]]],
) -> dict[str, dict[int, tuple[str, ...]]]:
    both = {key: dict(columns) for key, columns in one.items()}
    for key, columns in other.items():
        mine = both.setdefault(key, {})
        for index, names in columns.items():
            # The later one knows where in the input's order its columns stand.
            mine[index] = tuple(dict.fromkeys((*names, *mine.get(index, ()))))
    return both


class Restart(Exception):
    """Run these files again with `hints` merged in. Safe, because nothing of them is published yet.

    Raised by a reader when a later chunk widens an inferred type, and by a sink's stager when a later batch
    has columns that the csv header it has written lacks. Every restart widens something, so they end.
    """

    def __init__(self, hints: Hints) -> None:
        super().__init__("a later batch changed what an earlier one was taken for")
        self.hints = hints


class Drifted(Exception):
    """A chunk does not end where a record does: it was cut by a guess that the records do not bear out.

    Raised by a reader; the file is then read in sequence, which is always right.
    """


def widen(one: str, other: str) -> str:
    """The narrowest type that takes the values of both."""
    if other in (one, UNKNOWN):
        return one
    if one == UNKNOWN:
        return other
    return "float" if {one, other} == _NUMBERS else "text"


def text_layout(layout: Layout, changes: Mapping[str, object]) -> Layout:
    """The layout with some fields replaced."""
    return msgspec.structs.replace(layout, **changes)
