"""A workload's runs as a table, for the terminal and for docs/performance.md."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from catalogue import WORKLOADS, Measure
from contestants import Contestant
from results import Result


def table(workload: str, contestants: Sequence[Contestant], results: Sequence[Result]) -> list[str]:
    """A Markdown table of one workload: medians over the rounds, and ratios taken within each round."""
    work = WORKLOADS[workload]
    mine = [result for result in results if result.workload == workload]
    yardstick = sound([result for result in mine if result.contestant == work.yardstick])
    heads = [measure.head for measure in work.measures]
    if yardstick:
        heads.insert(1, f"to {work.yardstick}")
    lines = [
        _row(["Who", *heads, "What survives"]),
        _row(["---", *("--:" for _ in heads), "---"]),
    ]
    troubles = []
    for contestant in contestants:
        rows = [result for result in mine if result.contestant == contestant.name]
        if not rows:
            continue
        if good := sound(rows):
            cells = [_cell(measure, good) for measure in work.measures]
            if yardstick:
                cells.insert(1, _ratio(work.main, good, yardstick))
        else:
            cells = ["-" for _ in heads]
        lines.append(_row([contestant.name, *cells, contestant.survives]))
        troubles += [
            f"- {contestant.name}, round {result.round + 1}: {problem}."
            for result in rows
            for problem in result.problems
        ]
    return [*lines, *([""] if troubles else []), *troubles]


def sound(results: Sequence[Result]) -> list[Result]:
    """Those that came to an end."""
    return [result for result in results if result.done]


def middle(measure: Measure, rows: Sequence[Result]) -> float:
    """The median of a number over the rounds."""
    return median(measure.value(row) for row in rows)


def _cell(measure: Measure, rows: Sequence[Result]) -> str:
    """The median of a number, with its range where there are several rounds."""
    values = [measure.value(row) for row in rows]
    text = measure.form.format(median(values))
    if measure.spread and len(values) > 1:
        text += f" ({measure.form.format(min(values))} - {measure.form.format(max(values))})"
    return text


def _ratio(measure: Measure, rows: Sequence[Result], yardstick: Sequence[Result]) -> str:
    """The median of the rounds' ratios: neighbours in time share the machine's mood."""
    others = {other.round: measure.value(other) for other in yardstick}
    pairs = [(measure.value(one), others.get(one.round, 0.0)) for one in rows]
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
