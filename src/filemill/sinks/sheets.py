"""Csv outputs in the making: what is known of one file's header, and what waits for the rest of it."""

from __future__ import annotations

from filemill.formats.encoding import header_line
from filemill.records.batch import Batch
from filemill.records.layout import Layout
from filemill.sinks.formulas import escape_one

Stretch = tuple[int, int, int]
"""(order, first row, one past the last row)."""


class Sheet:
    """One file's csv output: its header as it is known so far, and the records that wait for it."""

    __slots__ = ("begun", "columns", "held", "layout", "more", "said", "size")

    def __init__(self, layout: Layout, hinted: tuple[str, ...]) -> None:
        self.layout = layout
        self.columns = dict.fromkeys(hinted)
        """Those that records brought."""
        self.said: tuple[str, ...] = ()
        """Those that were expected."""
        self.more = True
        """Records may bring further columns."""
        self.held: list[Batch] = []
        self.size = 0
        """Bytes of what waits."""
        self.begun: tuple[str, ...] | None = None
        """The header under which records were encoded already."""

    def header(self) -> tuple[str, ...]:
        """All columns as far as they are known."""
        if not self.columns:
            return self.said
        return tuple(dict.fromkeys((*self.columns, *self.said)))


def header_text(layout: Layout, columns: tuple[str, ...], *, escaped: bool) -> bytes:
    """The first line of a csv output; `escaped`: without what a spreadsheet may take for a formula."""
    line = header_line(layout, columns)
    return (f"{escape_one(line, layout.dialect) if escaped else line}\n").encode()


def closed_up(stretches: list[Stretch]) -> list[Stretch]:
    """The same stretches one behind the other."""
    at, moved = 0, []
    for index, start, stop in stretches:
        moved.append((index, at, at + stop - start))
        at += stop - start
    return moved
