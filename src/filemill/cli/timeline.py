"""A file's whole history, drawn: what it is, why it has its tags, and what happened when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from filemill.cli.output import GAP, Output
from filemill.cli.reading import STYLES, mark_of, short
from filemill.cli.results import kept, left_of, results
from filemill.model.files import TagHit
from filemill.model.runs import StepCount
from filemill.ports.reading import AuditRow
from filemill.queries import Attempt, FileHistory, RunHistory, balance_of, group_name
from filemill.telemetry.wording import (
    duration,
    moment,
    number,
    of_how_many,
    plural,
    printable,
    size,
    width,
    wrapped,
)

_BAR = 24
"""Columns of the longest step's bar."""
_MARGIN = 15
"""Columns left of what stands below an entry."""
_LAST_PRINTED = 10
"""Lines of a failed step's own output that are shown without -v."""


class Entry(msgspec.Struct, frozen=True):
    """One thing that happened."""

    at_ns: int
    state: str
    """The state whose sign it bears."""
    what: str
    detail: str = ""
    more: tuple[str, ...] = ()
    order: int = 0
    """Tells apart what happened in the same instant."""


def draw(output: Output, file: FileHistory, *, verbose: bool = False) -> None:
    """Print a file's history; `verbose` adds tracebacks, digests and every bad record kept."""
    _head(output, file)
    if file.tags:
        output.print()
        output.print(output.paint("strong", "Tags"))
        rows = [(hit.tag, _why(hit)) for hit in file.tags]
        for line in output.lines_of(("", ""), rows, styles={0: "help"}, cut_last=False)[1:]:
            output.print(f"  {line}")
    output.print()
    began = file.summary.arrived_ns
    output.print(f"{output.paint('strong', 'Timeline')}  {output.paint('dim', moment(began))}")
    for line in _drawn(output, sorted(_entries(output, file, verbose), key=_when), began):
        output.print(line)
    for run in file.runs:
        kept(output, run)
        results(output, run, left_of(run, file.runs), several=len(file.runs) > 1, verbose=verbose)
    for advice in _advice(file):
        output.print(f"\n{output.paint('help', 'help:')} {advice}")


def _head(output: Output, file: FileHistory) -> None:
    summary = file.summary
    state = output.paint(STYLES.get(summary.state, "dim"), summary.state)
    name = output.paint("strong", printable(summary.name))
    output.print(
        f"{name}  {mark_of(output, summary.state)} {state}  {output.paint('dim', summary.file)}"
    )
    found = f"from {summary.source}"
    # A child was only ever staged where its path says; a mere sender is told none.
    if file.parent is None and file.path:
        found += f": {printable(file.path)}"
    if summary.principal:
        found += f", sent by {printable(summary.principal)}"
    facts = [size(summary.size), file.media, found]
    output.print("  " + "  ".join(fact for fact in facts if fact))
    if file.digest:
        output.print(f"  sha256 {file.digest}")
    for key, value in file.attributes.items():
        output.print(f"  {key}={printable(value)}")
    for label, other in (
        ("same content as", (file.duplicate_of,)),
        ("same content came again as", file.duplicates),
        ("made from", (file.parent,)),
        ("made", file.children),
    ):
        gone = " (removed by retention)"
        if known := [
            short(each) + (gone if each in file.forgotten else "") for each in other if each
        ]:
            shown = " ".join(known[:8]) + (
                f" and {len(known) - 8:,} more" if len(known) > 8 else ""
            )
            output.print(f"  {label} {shown}")


def _why(hit: TagHit) -> str:
    """Why a tag was given, with the rule that gave it unless that is of the same name."""
    rule = "" if hit.rule in {hit.tag, "source"} else f"{hit.rule}: "
    return rule + printable(hit.why)


def _when(entry: Entry) -> tuple[int, int]:
    return entry.at_ns, entry.order


def _entries(output: Output, file: FileHistory, verbose: bool) -> Iterator[Entry]:
    summary = file.summary
    how = "moved" if file.how == "rename" else "copied, the original stays"
    if file.parent is None:
        yield Entry(summary.arrived_ns, "", "seen", f"settled in {summary.source}; {how}", order=0)
    else:
        yield Entry(summary.arrived_ns, "", "made", f"emitted from {short(file.parent)}", order=0)
    if file.ingested_ns:
        yield Entry(
            file.ingested_ns, "done", "acknowledged", "content and row are durable", order=1
        )
    if not file.runs and summary.state != "live":
        at = file.ingested_ns or summary.arrived_ns
        # Given up later: a deed below tells when; at that time it was held.
        then = "held" if summary.state in {"discarded", "cancelled"} else summary.state
        yield Entry(at, then, then, printable(summary.reason), order=2)
    several = len(file.runs) > 1
    for number_, run in enumerate(file.runs):
        label = f" {run.summary.pipeline}" if several else ""
        base = 10 * (number_ + 1)
        revision = run.attempts[0].revision if run.attempts else run.summary.revision
        yield Entry(
            run.queued_ns,
            "",
            "queued",
            f"for {run.summary.pipeline} (rev {revision}), run {short(run.summary.run)}",
            order=base,
        )
        for attempt in run.attempts:
            named = f"{label} (rev {attempt.revision})" if attempt.revision != revision else label
            yield from _attempt(output, attempt, named, base, verbose=verbose)
        yield from _state_now(run, label, base)
    for deed in file.deeds:
        yield Entry(deed.at_ns, "", _DEEDS.get(deed.action, deed.action), _deed(deed), order=9_000)
    if file.freed_ns and file.freed_ns != file.disposed_ns:
        words = "the original bytes are gone"
        yield Entry(file.freed_ns, "", "retention", words, order=20_000)
    if file.disposed_ns:
        yield Entry(file.disposed_ns, "", file.after, _AFTER.get(file.after, ""), order=10_000)


_DEEDS = {
    "redrive": "redriven",
    "release": "released",
    "readmit": "released",
    "discard": "discarded",
    "cancel": "cancelled",
    "replay": "replayed",
}


def _deed(deed: AuditRow) -> str:
    """Who did it, how, and why in their own words."""
    detail = deed.detail
    parts = [f"by {printable(deed.principal)}"]
    if detail.get("from"):
        parts.append(f"from {printable(str(detail['from']))}")
    if detail.get("choice"):
        parts.append(f"answer: {printable(str(detail['choice']))}")
    if detail.get("run"):
        parts.append(f"as run {short(str(detail['run']))}")
    if detail.get("supersede"):
        parts.append("in the places of what was published")
    if detail.get("reason"):
        parts.append(f"“{printable(str(detail['reason']))}”")
    return ", ".join(parts)


_AFTER = {
    "archive": "the original is kept in the data directory",
    "delete": "the original is deleted: every run is done",
    "keep": "the original stays in its folder",
}


def _attempt(
    output: Output, attempt: Attempt, label: str, base: int, *, verbose: bool
) -> Iterator[Entry]:
    steps = (*_steps(output, attempt.steps), *_balance(attempt))
    worked = f"{duration(attempt.took_ns)}, {plural(attempt.records, 'record')}"
    if attempt.began_at:
        worked += f"; began at {attempt.began_at}, with its kept input"
        place = next((n for n, s in enumerate(attempt.steps) if s.step == attempt.began_at), 0)
        if place:
            before = output.paint("dim", "as counted by the attempt before:")
            now = output.paint("dim", f"from {attempt.began_at} on:")
            steps = (before, *steps[:place], now, *steps[place:])
    if attempt.fell_back:
        words = f"began with the file: {printable(attempt.fell_back)}"
        steps = (output.paint("wait", words), *steps)
    if attempt.blank:
        worked += f", {plural(attempt.blank, 'blank line')} skipped"
    what = f"attempt {attempt.number}{label}"
    if not attempt.failure:
        state = "held" if attempt.hold else ""
        yield Entry(
            attempt.began_ns, state, what, worked, (*steps, *_asked(output, attempt)), base + 1
        )
        return
    yield Entry(attempt.began_ns, "", what, worked, steps, base + 1)
    failure = attempt.failure
    where = f" at {failure.step}" if failure.step else ""
    room = output.columns and output.columns - _MARGIN
    said = f"{failure.error}: {failure.message}".splitlines()
    more = [part for line in said for part in wrapped(printable(line), room)]
    if failure.help:
        first, *rest = wrapped(printable(failure.help), room and room - len("help: "))
        more.append(f"{output.paint('help', 'help:')} {first}")
        more += [f"      {line}" for line in rest]
    if verbose:
        more += [output.paint("dim", printable(line)) for line in failure.traceback.splitlines()]
    printed = failure.output.splitlines()
    if not verbose:
        # Of the last try the end of what it printed: there the reason often stands.
        printed = printed[-_LAST_PRINTED:] if attempt.outcome == "dead" else []
    more += [output.paint("dim", f"| {printable(line)}") for line in printed]
    more += _unkept(attempt)
    verdict = {
        "dead": f"dead{where}",
        "retrying": f"failed{where}, to be retried",
        "queued": f"given back{where}",
    }.get(attempt.outcome, f"{attempt.outcome}{where}")
    kind = (
        f"{failure.kind}, {group_name(failure.fingerprint)}"
        if failure.fingerprint
        else failure.kind
    )
    yield Entry(attempt.ended_ns, attempt.outcome, f"{verdict}{label}", kind, tuple(more), base + 2)


def _asked(output: Output, attempt: Attempt) -> Iterator[str]:
    """What a person is asked who has to decide."""
    if attempt.hold:
        by = f"held at {attempt.hold_step}: " if attempt.hold_step else ""
        yield output.paint("wait", by + printable(attempt.hold))
        if attempt.choices:
            yield f"choices: {', '.join(map(printable, attempt.choices))}"
        yield from _unkept(attempt)


def _unkept(attempt: Attempt) -> Iterator[str]:
    """Why the run cannot go on where it ended."""
    if attempt.unkept:
        yield f"nothing is kept, the next try begins with the file: {printable(attempt.unkept)}"


def _balance(attempt: Attempt) -> Iterator[str]:
    """Where the records are that went in: `20 read = 17 out + 2 filtered + 1 bad`."""
    balance = balance_of(attempt)
    if balance is None:
        return
    came = f"{number(balance.read)} read"
    if balance.added:
        came += f" + {number(balance.added)} added"
    went = [f"{number(balance.out)} out"]
    for count, word in ((balance.filtered, "filtered"), (balance.bad, "bad")):
        if count:
            went.append(f"{number(count)} {word}")
    yield f"{came} = {' + '.join(went)}"


def _state_now(run: RunHistory, label: str, base: int) -> Iterator[Entry]:
    """What no attempt tells: published, waiting, given up."""
    summary = run.summary
    if summary.state == "done":
        count = plural(len(run.outputs), "output")
        detail = f"{count} published, exactly once" if run.outputs else "nothing to publish"
        yield Entry(summary.state_ns, "done", f"done{label}", detail, order=base + 3)
    elif summary.state == "retrying" and summary.due_ns:
        yield Entry(
            summary.due_ns,
            "retrying",
            f"try {of_how_many(summary.attempt + 1, summary.tries)}{label}",
            "waits until then",
            order=base + 3,
        )
    elif summary.state in {"running", "publishing", "cancelled", "discarded"}:
        detail = f"mended: {short(summary.mended)} is in its place" if summary.mended else ""
        yield Entry(
            summary.state_ns, summary.state, f"{summary.state}{label}", detail, order=base + 3
        )


def _steps(output: Output, steps: Sequence[StepCount]) -> list[str]:
    """One line a step: counts, time, a bar in proportion to the longest."""
    if not steps:
        return []
    longest = max(*(step.took_ns for step in steps), 1)
    full = "█" if output.marks.done == "✓" else "#"
    rows = [(step.step, duration(step.took_ns), _flow(step)) for step in steps]
    taken = sum(max(width(row[i]) for row in rows) for i in range(3)) + 3 * len(GAP) + _MARGIN
    room = _BAR if output.columns is None else min(_BAR, output.columns - taken)
    bars = [
        full * max(round(room * step.took_ns / longest), 1) if step.took_ns and room > 3 else ""
        for step in steps
    ]
    drawn = [(*row, bar) for row, bar in zip(rows, bars, strict=True)]
    return output.lines_of(("",) * 4, drawn, right=(1,), styles={3: "good"}, cut_last=False)[1:]


def _flow(step: StepCount) -> str:
    """What went in and out of a step, in words."""
    counts = (
        (step.taken, "in"),
        (step.added, "added"),
        (step.filtered, "filtered"),
        (step.bad, "bad"),
    )
    parts = [f"{number(count)} {word}" for count, word in counts if count]
    parts.insert(1 if step.taken else 0, f"{number(step.given)} out")
    return ", ".join(parts)


def _drawn(output: Output, entries: Sequence[Entry], began: int) -> Iterator[str]:
    unicode = output.marks.done == "✓"
    stem, node = ("│", "●") if unicode else ("|", "o")
    rule = output.paint("dim", stem)
    label = max((width(entry.what) for entry in entries), default=0)
    for place, entry in enumerate(entries):
        sign = mark_of(output, entry.state) if entry.state in STYLES else output.paint("dim", node)
        offset = f"+{duration(entry.at_ns - began)}" if place else "0"
        what = entry.what + " " * (label - width(entry.what))
        if entry.state in STYLES:
            what = output.paint(STYLES[entry.state], what)
        yield f"  {output.paint('dim', offset.rjust(8))} {sign} {what}  {entry.detail}".rstrip()
        last = place == len(entries) - 1
        for line in entry.more:
            yield f"  {' ' * 8} {rule if not last else ' '}   {line}".rstrip()


def _advice(file: FileHistory) -> Iterator[str]:
    if file.summary.reason == "unrouted" and file.summary.state == "held":
        mine = short(file.summary.file)
        yield (
            f"no pipeline's `when:` holds for its tags; rule by rule: filemill explain {mine}\n"
            f"      once the rules fit: filemill held release {mine}   or give it up: filemill held discard {mine}"
        )
