"""Charts as SVG: horizontal bars of several measures side by side.

A chart is one string without scripts or foreign fonts, so that it can stand in a Markdown page as an image. It brings
its own background, light or dark as the reader's system is, so that it can be read on any page. Numbers stand
beside their bars: nobody has to measure a bar with a ruler.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH = 960
MARGIN = 24
LABELS = 330
"""Pixels for the names of bars."""
ROW = 25
BAR = 15
HEAD = 74
NUMBER = 62
"""Pixels kept free behind the longest bar for its number."""
GAP = 18
STYLE = """
text{font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;font-size:13px;fill:#1f2328}
.page{fill:#ffffff;stroke:#d0d7de}
.title{font-size:17px;font-weight:600}
.small,.muted{fill:#59636e}
.small{font-size:12px}
.strong{font-weight:600}
.middle{text-anchor:middle}
.ours{fill:#0a7d5a}
.peer{fill:#aeb8c4}
.reach{stroke:#59636e;stroke-width:1.5;fill:none}
.grid{stroke:#e4e8ec;stroke-width:1}
.mark{fill:#ffffff;stroke:#59636e;stroke-width:1.4}
.full{fill:#59636e}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}
.page{fill:#0d1117;stroke:#30363d}
.small,.muted{fill:#9198a1}
.ours{fill:#2fbf8f}
.peer{fill:#4b5563}
.reach{stroke:#9198a1}
.grid{stroke:#21262d}
.mark{fill:#0d1117;stroke:#9198a1}
.full{fill:#9198a1}
}
"""


@dataclass(frozen=True)
class Column:
    """One measure of a bar chart; `share` of the width in proportion to the other columns'."""

    title: str
    share: float = 1.0
    log: bool = False
    """From a dot (the value) to the end of a line (`Value.high`) on a logarithmic axis, instead of a bar."""


@dataclass(frozen=True)
class Value:
    """A number with its text; `high` is where its line ends in a logarithmic column."""

    number: float
    text: str
    high: float = 0.0


@dataclass(frozen=True)
class Bar:
    """One row. `mark` is 2 for a filled circle before the name, 1 for a half, 0 for an empty one."""

    name: str
    values: Sequence[Value | None]
    ours: bool = False
    mark: int | None = None


def bars(
    title: str,
    subtitle: str,
    columns: Sequence[Column],
    rows: Sequence[Bar],
    *,
    legend: Sequence[str] = (),
    footer: str = "",
) -> str:
    """An SVG of horizontal bars; `legend` explains the marks 2, 1 and 0 in this order."""
    bottom = HEAD + 26 + ROW * len(rows)
    height = bottom + 20 + 22 * (bool(legend) + bool(footer))
    parts = _heading(title, subtitle)
    room = WIDTH - 2 * MARGIN - LABELS - GAP * len(columns)
    left = MARGIN + LABELS
    for place, column in enumerate(columns):
        left += GAP
        width = room * column.share / sum(one.share for one in columns)
        values = [row.values[place] for row in rows]
        parts.append(_text(left, HEAD + 6, column.title, "small strong"))
        draw = _log_column if column.log else _bar_column
        parts += draw(left, width, rows, values, bottom)
        left += width
    for number, row in enumerate(rows):
        middle = HEAD + 26 + ROW * number + ROW / 2
        if row.mark is not None:
            parts += _mark(MARGIN + 6, middle, row.mark)
        weight = "strong" if row.ours else ""
        parts.append(_text(MARGIN + 20, middle + 4.5, row.name, weight))
    at = float(MARGIN)
    for mark, words in zip((2, 1, 0), legend, strict=False):
        parts += _mark(at + 6, bottom + 22, mark)
        parts.append(_text(at + 18, bottom + 26, words, "small"))
        at += 34 + 6.3 * len(words)
    if footer:
        parts.append(_text(MARGIN, bottom + 26 + 22 * bool(legend), footer, "small"))
    return _svg(height, title, parts)


def _bar_column(
    left: float, width: float, rows: Sequence[Bar], values: Sequence[Value | None], bottom: float
) -> list[str]:
    most = max((value.number for value in values if value), default=0) or 1
    parts = [_rule(left, HEAD + 22, left, bottom)]
    for number, (row, value) in enumerate(zip(rows, values, strict=True)):
        middle = HEAD + 26 + ROW * number + ROW / 2
        if value is None:
            parts.append(_text(left + 6, middle + 4.5, "-", "muted"))
            continue
        long = max(1.5, value.number / most * (width - NUMBER))
        colour, weight = ("ours", "strong") if row.ours else ("peer", "")
        parts.append(
            f'<rect class="{colour}" x="{left:.1f}" y="{middle - BAR / 2:.1f}" width="{long:.1f}" '
            f'height="{BAR}" rx="2"/>'
        )
        parts.append(_text(left + long + 6, middle + 4.5, value.text, weight))
    return parts


def _log_column(
    left: float, width: float, rows: Sequence[Bar], values: Sequence[Value | None], bottom: float
) -> list[str]:
    numbers = [value.number for value in values if value and value.number > 0] or [1.0]
    reaches = [max(value.number, value.high) for value in values if value] or [1.0]
    low, high = math.floor(math.log10(min(numbers))), math.ceil(math.log10(max(reaches)) + 1e-9)
    scale = (width - 2 * NUMBER) / max(1, high - low)

    def place(number: float) -> float:
        return left + (math.log10(max(number, 10.0**low)) - low) * scale

    parts = []
    for power in range(low, high + 1):
        x = place(10.0**power)
        parts.append(_rule(x, HEAD + 24, x, bottom))
        parts.append(_text(x, HEAD + 20, f"{10.0**power:,g}", "small middle"))
    for number, (row, value) in enumerate(zip(rows, values, strict=True)):
        middle = HEAD + 26 + ROW * number + ROW / 2
        if value is None:
            parts.append(_text(left + 6, middle + 4.5, "-", "muted"))
            continue
        start, end = place(value.number), place(max(value.high, value.number))
        parts.append(_rule(start, middle, end, middle, "reach"))
        parts.append(_rule(end, middle - 5, end, middle + 5, "reach"))
        colour, weight = ("ours", "strong") if row.ours else ("peer", "")
        parts.append(f'<circle class="{colour}" cx="{start:.1f}" cy="{middle:.1f}" r="6"/>')
        parts.append(_text(end + 8, middle + 4.5, value.text, weight))
    return parts


def _mark(x: float, y: float, mark: int) -> list[str]:
    """A circle, filled by what survives."""
    parts = [f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="5"/>']
    if mark == 2:
        parts.append(f'<circle class="full" cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
    elif mark == 1:
        parts.append(
            f'<path class="full" d="M{x:.1f} {y - 5:.1f}A5 5 0 0 0 {x:.1f} {y + 5:.1f}Z"/>'
        )
    return parts


def _heading(title: str, subtitle: str) -> list[str]:
    return [
        _text(MARGIN, 34, title, "title"),
        *([_text(MARGIN, 54, subtitle, "small")] if subtitle else []),
    ]


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    """One line of text."""
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float, kind: str = "grid") -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}"',
            f'width="{WIDTH}" height="{height:.0f}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:.0f}" rx="8"/>',
            *parts,
            "</svg>\n",
        ]
    )
