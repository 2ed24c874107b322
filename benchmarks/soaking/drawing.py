"""A soak as an SVG: one panel below the other, with the time in common and every kill of a server marked.

It brings its own background, light or dark as the reader's system is, and needs no scripts and no fonts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from soaking.running import Outcome
from soaking.sampling import Sample

WIDTH = 960
LEFT, RIGHT, TOP = 70, 24, 74
TALL, GAP = 92, 40
MB = 1e6
STYLE = """
text{font:12px system-ui,sans-serif;fill:#1f2328}.page{fill:#fff}.title{font-size:17px;font-weight:600}
.muted{fill:#59636e}.end{text-anchor:end}.middle{text-anchor:middle}.grid{stroke:#e4e8ec}
.kill{stroke:#c2410c;stroke-dasharray:2 3;opacity:.6}.line{fill:none;stroke-width:1.6;stroke-linejoin:round}
.a{stroke:#0a7d5a}.b{stroke:#b45309}.ka{fill:#0a7d5a}.kb{fill:#b45309}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.page{fill:#0d1117}.muted{fill:#9198a1}.grid{stroke:#21262d}
.kill{stroke:#fb923c}.a{stroke:#2fbf8f}.b{stroke:#f59e0b}.ka{fill:#2fbf8f}.kb{fill:#f59e0b}}
"""
Value = Callable[[Sample], float | None]


@dataclass(frozen=True)
class Panel:
    """Up to two lines on one axis; on a `log` axis 0 is not drawn."""

    title: str
    lines: Sequence[tuple[str, Value]]
    log: bool = False


def _part(name: str) -> Value:
    return lambda sample: None if (found := getattr(sample, name)) is None else found / MB


def _ms(share: int) -> Value:
    return lambda sample: None if (found := sample.percentile(share)) is None else found * 1000


def _ledger(sample: Sample) -> float:
    """With its log."""
    return (sample.ledger + sample.log) / MB


PANELS = (
    Panel("files out, in thousands", [("", lambda sample: sample.done / 1000)]),
    Panel("latency of small files, ms", [("p50", _ms(50)), ("p99", _ms(99))], log=True),
    Panel(
        "memory, MB", [("server (RSS)", _part("server")), ("all processes (PSS)", _part("tree"))]
    ),
    Panel(
        "open files",
        [("server", lambda s: s.server_files), ("all processes", lambda s: s.tree_files)],
    ),
    Panel("on disk, MB", [("ledger with log", _ledger), ("content", _part("content"))]),
)


def draw(outcome: Outcome, words: str) -> str:
    """The whole chart; `words` stand below its title."""
    seconds = max((sample.at for sample in outcome.samples), default=1.0)
    kills = [at for at, what in outcome.events if what in ("server", "tree")]
    height = TOP + len(PANELS) * (TALL + GAP) + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}">',
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}"/>',
        _text(LEFT, 30, "Soak", "title"),
        _text(LEFT, 50, words, "muted"),
    ]

    def across(at: float) -> float:
        return LEFT + at / seconds * (WIDTH - LEFT - RIGHT)

    for number, panel in enumerate(PANELS):
        top = TOP + number * (TALL + GAP) + 16
        parts += _panel(panel, top, outcome.samples, across)
        parts += [_rule(across(at), top, across(at), top + TALL, "kill") for at in kills]
    below = height - 12
    parts += [
        _text(across(minute * 60), below, f"{minute:g}", "muted middle")
        for minute in _steps(seconds / 60, 8)
        if minute * 60 <= seconds
    ]
    parts.append(_text(LEFT - 10, below, "minutes", "muted end"))
    return "\n".join([*parts, "</svg>", ""])


def _panel(
    panel: Panel, top: float, samples: Sequence[Sample], across: Callable[[float], float]
) -> list[str]:
    drawn = [
        [(s.at, v) for s in samples if (v := value(s)) is not None and (v > 0 or not panel.log)]
        for _, value in panel.lines
    ]
    values = [v for line in drawn for _, v in line] or [1.0]
    if panel.log:
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        ticks = [10.0**power for power in range(low, max(high, low + 1) + 1)]
    else:
        ticks = _steps(max(values) or 1.0, 3)

    def place(value: float) -> float:
        return math.log10(value) if panel.log else value

    span = place(ticks[-1]) - place(ticks[0])

    def up(value: float) -> float:
        return top + TALL - (place(value) - place(ticks[0])) / span * TALL

    parts = [_text(LEFT, top - 7, panel.title)]
    for tick in ticks:
        parts.append(_rule(LEFT, up(tick), WIDTH - RIGHT, up(tick), "grid"))
        parts.append(_text(LEFT - 8, up(tick) + 4, f"{tick:,g}", "muted end"))
    for place_, ((name, _), line) in enumerate(zip(panel.lines, drawn, strict=True)):
        kind = "ab"[place_]
        points = " ".join(f"{across(at):.1f},{up(value):.1f}" for at, value in line)
        parts.append(f'<polyline class="line {kind}" points="{points}"/>')
        if name:
            parts.append(_text(WIDTH - RIGHT - 170 * (1 - place_), top - 7, name, f"end k{kind}"))
    return parts


def _steps(most: float, about: int) -> list[float]:
    """Round numbers from 0 to at least `most`, some `about` of them."""
    rough = most / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in (1, 2, 5, 10) if each * power >= rough)
    return [number * step for number in range(math.ceil(most / step) + 1)]


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
