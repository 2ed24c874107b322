"""What came of a run, as tables in its file's history: outputs, bad records, and what is kept of its input."""

from __future__ import annotations

from collections.abc import Sequence

from filemill.cli.output import Output
from filemill.cli.reading import said_of, short
from filemill.model.runs import BadRecord
from filemill.queries import Output as Published
from filemill.queries import RunHistory
from filemill.telemetry.wording import (
    plural,
    printable,
    size,
)

_BAD_SHOWN = 10


def kept(output: Output, run: RunHistory) -> None:
    """What a run that waits for a person can go on with, and how."""
    kept = run.kept
    if kept is None:
        return
    which = short(run.summary.run)
    choices = run.attempts[-1].choices
    how = (
        f"filemill dead redrive {which} --from input"
        if run.summary.state == "dead"
        else f"filemill held release {which}" + (f" --choice {choices[0]}" if choices else "")
    )
    records = f", {plural(kept.records, 'record')}" if kept.records else ""
    output.print(
        f"\n{output.paint('strong', 'Kept')}  input of {kept.step}, {size(kept.size)}{records}: {how}"
    )


def left_of(run: RunHistory, runs: Sequence[RunHistory]) -> dict[str, str]:
    """By publication of a run whose outputs' places a later one took: what became of it."""
    mine = run.summary.run
    later = next(
        (
            each
            for each in runs
            if each.summary.replays == mine
            and each.summary.supersede
            and each.summary.state == "done"
        ),
        None,
    )
    if later is None:
        return {}
    taken = {(each.sink, each.path) for each in later.outputs}
    by = short(later.summary.run)
    return {
        each.publication: f"(replaced by {by})"
        if (each.sink, each.path) in taken
        else f"(left: {by} has none)"
        for each in run.outputs
        if each.state == "published"
    }


def results(
    output: Output, run: RunHistory, left: dict[str, str], *, several: bool, verbose: bool
) -> None:
    """Print what a run published and which of its records are bad. `left` says what later became of an output."""
    title = f" of {run.summary.pipeline}, run {short(run.summary.run)}" if several else ""
    if run.outputs:
        output.print()
        output.print(output.paint("strong", f"Outputs{title}"))
        rows = [_output_row(each, left.get(each.publication, "")) for each in run.outputs]
        for line in output.lines_of(("",) * 5, rows, right=(1, 2), cut_last=False)[1:]:
            output.print(f"  {line}")
    if run.bad:
        output.print()
        output.print(output.paint("strong", f"Bad records{title}"))
        shown = run.bad if verbose else run.bad[:_BAD_SHOWN]
        rows = [_bad_row(bad) for bad in shown]
        for line in output.lines_of(("",) * 4, rows, styles={3: "bad"}, cut_last=False)[1:]:
            output.print(f"  {line}")
        if (rest := max(run.summary.bad, len(run.bad)) - len(shown)) > 0:
            output.print(f"  ... {rest:,} more (-v shows up to {len(run.bad):,})")
        if waiting := _waiting(run):
            output.print(f"  {output.paint('help', waiting)}")


def _waiting(run: RunHistory) -> str:
    """What became of the bad records of a run that is done, or what to do with them."""
    if run.summary.state != "done":
        return ""
    if run.summary.mended:
        return f"sent anew as {short(run.summary.mended)}"
    return f"they wait to be mended: filemill dead resubmit {short(run.summary.run)}"


def _output_row(each: Published, became: str) -> tuple[str, ...]:
    records = plural(each.records, "record") if each.records else "whole file"
    state = became if each.state == "published" else f"({each.state})"
    return each.sink, records, size(each.size), state, printable(each.path or each.relative)


def _bad_row(bad: BadRecord) -> tuple[str, ...]:
    return f"line {bad.line:,}", f"bytes {bad.start:,}-{bad.end:,}", bad.step, said_of(bad)
