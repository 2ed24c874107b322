"""docs/performance.md: each workload's table, what it was measured on, and its chart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from catalogue import WORKLOADS, Workload
from charts import Bar, Column, Value, bars
from contestants import Contestant, Survival
from results import Record, Result
from table import middle, sound, table, write_section

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
SURVIVES = ("a power cut is survived", "kill -9 is survived", "neither: files are lost")
LOGARITHMIC = frozenset({"W3"})


def draw(record: Record, contestants: Sequence[Contestant], page: Path = PAGE) -> Path:
    """Write a workload's sections into the page and its chart beside the page; where the chart is."""
    lines = table(record.workload, contestants, record.results)
    write_section(page, record.workload, lines)
    write_section(page, f"{record.workload} machine", notes(record))
    path = page.with_name(f"performance-{record.workload}.svg")
    path.write_text(chart(record, contestants), encoding="utf-8")
    return path


def notes(record: Record) -> list[str]:
    """What was measured on, when, how much the numbers are worth, and who is not there."""
    worth = f"Medians of {record.rounds} rounds, in brackets the lowest and the highest; who took long ran once."
    if record.quick:
        worth = "**A quick run of small workloads, once each: it shows that everything works, not how fast it is.**"
    if record.disturbed:
        most = max(one.strangers for one in record.disturbed)
        worth += f" In {len(record.disturbed)} of {len(record.results)} runs other programs took part of the machine,"
        worth += f" up to {most:.1f} cores."
    lines = [f"{record.machine} {record.made}; {record.size}.", worth]
    if record.versions:
        lines.append(f"{', '.join(record.versions)}.")
    absent = [f"- {name} did not take part: {reason}." for name, reason in record.absent.items()]
    return [*lines, *([""] if absent else []), *absent]


def chart(record: Record, contestants: Sequence[Contestant]) -> str:
    """A workload's chart: best first, ours in another colour."""
    work = WORKLOADS[record.workload]
    drawn = [measure for measure in work.measures if measure.share]
    rows = []
    for contestant in contestants:
        runs = sound([one for one in record.results if one.contestant == contestant.name])
        if not runs:
            continue
        lost = any("lost" in problem for run in runs for problem in run.problems)
        if record.workload in LOGARITHMIC:
            values = [
                _reach(work, runs),
                *(_value(one.form, middle(one, runs)) for one in drawn[1:]),
            ]
        else:
            values = [_value(one.form, middle(one, runs)) for one in drawn]
        bar = Bar(
            contestant.name + (" (lost files!)" if lost else ""),
            values,
            ours=contestant.name.startswith("filemill"),
            mark=int(contestant.survival),
        )
        rows.append((middle(work.main, runs), bar))
    rows.sort(key=lambda row: row[0], reverse=work.rising)
    quick = "QUICK RUN, says little.  " if record.quick else ""
    return bars(
        f"{record.workload.partition('-')[0]}: {work.title}",
        f"{work.says}.",
        [
            Column(
                "ms, p50 to p99" if record.workload in LOGARITHMIC and not place else one.head,
                one.share,
                log=record.workload in LOGARITHMIC and not place,
            )
            for place, one in enumerate(drawn)
        ],
        [bar for _, bar in rows],
        legend=[SURVIVES[2 - mark] for mark in sorted(Survival, reverse=True)],
        footer=f"{quick}{record.size}. {record.machine}",
    )


def _value(form: str, number: float) -> Value:
    return Value(number, form.format(number))


def _reach(work: Workload, runs: Sequence[Result]) -> Value:
    """From p50 to p99."""
    low, high = (middle(measure, runs) for measure in work.measures[:2])
    form = "{:,.1f}" if high < 100 else "{:,.0f}"
    return Value(low, f"{form.format(low)} - {form.format(high)}", high)
