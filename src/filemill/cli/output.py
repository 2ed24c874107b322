"""What commands print: data to stdout, talk to stderr, tables that never wrap in a pipe."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from filemill.telemetry.painting import Paint, marks_for
from filemill.telemetry.wording import cut, harmless_json, width

GAP = "  "
Styles = dict[int, str] | Callable[[Sequence[str]], dict[int, str]] | None
"""Styles of columns, by number: the same for every row, or asked for each."""


def wants_color(choice: str, stream: TextIO) -> bool:
    """Say whether to colour: `always`, `never`, or `auto`: a real terminal and no NO_COLOR."""
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


class OutputLost(OSError):
    """Stdout cannot be written, though somebody may read it: a full disk behind `> file`."""


class Output:
    """One command's way to print. `json` tells commands to print data instead of text."""

    def __init__(
        self, stdout: TextIO, stderr: TextIO, *, color: bool, json: bool, columns: int | None
    ) -> None:
        self.stdout = stdout
        self.stderr = stderr
        self.json = json
        self.paint = Paint(on=color)
        self.marks = marks_for(getattr(stdout, "encoding", None))
        self.columns = columns
        """Room in one line of the terminal; None when it is no terminal."""

    @classmethod
    def for_process(cls, color: str, json: bool) -> Output:
        """For this process's own streams."""
        terminal = sys.stdout.isatty()
        return cls(
            sys.stdout,
            sys.stderr,
            color=wants_color(color, sys.stdout),
            json=json,
            columns=shutil.get_terminal_size().columns if terminal else None,
        )

    def print(self, text: str = "") -> None:
        """One line (or more) of data."""
        encoding = getattr(self.stdout, "encoding", None) or "utf-8"
        try:
            self.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputLost(error.errno, error.strerror) from error

    def say(self, text: str) -> None:
        """One line of talk, beside the data."""
        self.stderr.write(f"{text}\n")

    def document(self, schema: str, **fields: Any) -> None:
        """One JSON document: `{"schema": "filemill.files/1", ...}`."""
        import msgspec

        data = msgspec.json.encode({"schema": schema, **fields}, enc_hook=_plain)
        self.print(harmless_json(data.decode()))

    def items(self, schema: str, items: Sequence[Any], next_: str | None = None) -> None:
        """One JSON list: `{"schema": ..., "items": [...], "next": null}`."""
        self.document(schema, items=list(items), next=next_)

    def table(
        self,
        heads: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        right: Sequence[int] = (),
        styles: Styles = None,
        indent: str = "",
    ) -> None:
        """Columns as wide as their widest cell; on a terminal the last one is cut, never wrapped.

        Cells are printable text (escaped by the caller). `right` aligns columns, `styles` colours them.
        """
        for line in self.lines_of(heads, rows, right=right, styles=styles):
            self.print(indent + line)

    def lines_of(
        self,
        heads: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        right: Sequence[int] = (),
        styles: Styles = None,
        cut_last: bool = True,
    ) -> list[str]:
        """The lines of `table`. `cut_last` False lets the terminal wrap what must be readable whole (a path)."""
        widths = [max(width(str(row[i])) for row in (heads, *rows)) for i in range(len(heads))]
        room = self.columns if cut_last else None
        dim = dict.fromkeys(range(len(heads)), "dim")
        told = [self._row(heads, widths, right, dim, room)]
        style_of = styles if callable(styles) else lambda _row: styles or {}
        told += [self._row(row, widths, right, style_of(row), room) for row in rows]
        return told

    def _row(
        self,
        cells: Sequence[str],
        widths: Sequence[int],
        right: Sequence[int],
        styles: dict[int, str],
        room: int | None,
    ) -> str:
        parts: list[str] = []
        taken = 0
        for i, cell in enumerate(cells):
            last = i == len(cells) - 1
            shown = cell
            if last and room is not None:
                shown = cut(cell, max(room - taken, 1))
            gap = " " * max(widths[i] - width(shown), 0)
            taken += widths[i] + len(GAP)
            colored = self.paint(styles[i], shown) if i in styles else shown
            if i in right:
                parts.append(gap + colored)
            else:
                parts.append(colored if last else colored + gap)
        return GAP.join(parts).rstrip()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, frozenset | set):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
