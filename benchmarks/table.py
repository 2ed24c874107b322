"""Results as tables, for the terminal and for docs/performance.md."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from contestants import Contestant
from measuring import Result

YARDSTICKS = {"W1": "bare Python loop", "W2": "bare Python loop", "W3": "watchdog + threads"}
MB = 1e6


def table(workload: str, contestants: Sequence[Contestant], results: Sequence[Result]) -> list[str]:
    """A Markdown table of one workload: medians over the rounds, and ratios taken within each round."""
    mine = [result for result in results if result.workload == workload]
    yardstick = [result for result in mine if result.contestant == YARDSTICKS[workload]]
    columns: list[tuple[str, Callable[[Sequence[Result]], str]]] = {
        "W1": [("files/s", _over(lambda result: result.rate, "{:,.0f}"))],
        "W2": [("MB/s", _over(lambda result: result.rate / MB, "{:,.0f}"))],
        "W3": [
            ("p50 ms", _over(lambda result: result.percentile(50) * 1000, "{:,.1f}")),
            ("p99 ms", _over(lambda result: result.percentile(99) * 1000, "{:,.1f}")),
        ],
    }[workload]
    if yardstick:
        columns.append(
            (f"to {YARDSTICKS[workload]}", lambda rows: _ratio(workload, rows, yardstick))
        )
    columns += [
        ("peak RSS MB", _over(lambda result: result.peak / MB, "{:,.0f}", spread=False)),
        ("CPU s", _over(lambda result: result.cpu, "{:.1f}", spread=False)),
        ("start s", _over(lambda result: result.start, "{:.2f}", spread=False)),
    ]
    lines = [
        _row(["Who", *(head for head, _ in columns), "What survives"]),
        _row(["---", *("--:" for _ in columns), "---"]),
    ]
    troubles = []
    for contestant in contestants:
        rows = [result for result in mine if result.contestant == contestant.name]
        if not rows:
            continue
        sound = [result for result in rows if result.done]
        cells = [cell(sound) if sound else "-" for _, cell in columns]
        lines.append(_row([contestant.name, *cells, contestant.survives]))
        for number, result in enumerate(rows, 1):
            troubles += [
                f"- {contestant.name}, round {number}: {problem}." for problem in result.problems
            ]
    return [*lines, *([""] if troubles else []), *troubles]


def _over(
    value: Callable[[Result], float], form: str, *, spread: bool = True
) -> Callable[[Sequence[Result]], str]:
    """The median of a value, with its range where there are several rounds."""

    def cell(rows: Sequence[Result]) -> str:
        values = [value(row) for row in rows]
        text = form.format(median(values))
        if spread and len(values) > 1:
            text += f" ({form.format(min(values))} - {form.format(max(values))})"
        return text

    return cell


def _ratio(workload: str, rows: Sequence[Result], yardstick: Sequence[Result]) -> str:
    """The median of the rounds' ratios: neighbours in time share the machine's mood."""
    key: Callable[[Result], float] = (
        (lambda result: result.percentile(50)) if workload == "W3" else (lambda result: result.rate)
    )
    pairs = [(key(one), key(other)) for one, other in zip(rows, yardstick, strict=False)]
    ratios = [one / other for one, other in pairs if other]
    return f"{median(ratios):.2f}" if ratios else "-"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write_section(page: Path, name: str, lines: Sequence[str]) -> None:
    """Replace what stands between `<!-- bench NAME -->` and `<!-- end NAME -->` in a page.

    Raises:
        ValueError: the page has no such section.
    """
    text = page.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- bench {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{page} has no section `{name}`")
    body = "\n".join(lines) + "\n"
    page.write_text(pattern.sub(lambda found: found[1] + body + found[2], text), encoding="utf-8")
