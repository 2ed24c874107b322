"""A trial, drawn: what each step made of a file, and what would be published."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from filemill.cli.output import Output
from filemill.cli.reading import STYLES, mark_of, said_of
from filemill.telemetry.wording import (
    cut,
    duration,
    number,
    plural,
    printable,
    size,
    width,
    wrapped,
)

if TYPE_CHECKING:
    from filemill.model.runs import Failure
    from filemill.model.trials import ShownBad, ShownBranch, ShownRecord, StepTrial, Trial
    from filemill.service.trying import Attempted, Attempts, WouldBe, WouldEmit

_INDENT = "      "
_PRINTED = 20
"""Lines of what steps printed that are shown without -v."""
_OUTPUT_LINES = 5
_CHILDREN = 20
"""Files that would be emitted that are shown."""
_KEPT = 14
"""Characters kept at each end of what a step did not change, in a record that is too wide to be shown."""
_TOKEN = re.compile(r"\w+|\W")
_WORST = ("dead", "held", "retrying", "done", "skipped")


def draw(output: Output, tried: Attempts, *, root: str, verbose: bool = False) -> None:
    """Print it; paths below `root` are shown relative to it."""
    _head(output, tried)
    for each in tried.pipelines:
        output.print()
        _pipeline(output, each, root, verbose=verbose)
    output.print(f"\n{_verdict(output, tried)}   (nothing written)")


def _head(output: Output, tried: Attempts) -> None:
    told = tried.explanation
    facts, file = told.facts, told.file
    what = "  ".join(each for each in (size(file.size), facts.media, f"from {file.source}") if each)
    output.print(f"{output.paint('strong', printable(file.relative))}  {what}")
    rows = [(hit.tag, printable(hit.why)) for hit in facts.tags] or [("no tags", "")]
    for line in output.lines_of(("", ""), rows, styles={0: "help", 1: "dim"})[1:]:
        output.print(f"  {line}")


def _verdict(output: Output, tried: Attempts) -> str:
    told = tried.explanation
    if told.facts.error:
        return f"{mark_of(output, 'held')} It cannot be read: {printable(told.facts.error)}."
    if tried.refused:
        why = printable(tried.refused)
        return f"{mark_of(output, 'rejected')} It would be rejected before any pipeline: {why}."
    states = [each.state for each in tried.pipelines if each.state != "skipped"]
    if not states:
        if tried.pipelines:
            return f"{mark_of(output, 'held')} No pipeline it matches has that step."
        why = told.held or "unreadable"
        hint = "filemill explain says why; -p NAME tries a pipeline all the same"
        return f"{mark_of(output, 'held')} It would be held: {why}. {output.paint('dim', hint)}"
    if len(states) == 1:
        words = _words(tried.pipelines[states.index(states[0])].stopped, states[0])
        return f"{mark_of(output, states[0])} It {words}."
    counts = [f"{states.count(state)} {state}" for state in _WORST if state in states]
    worst = next(state for state in _WORST if state in states)
    return f"{mark_of(output, worst)} Pipelines: {', '.join(counts)}."


def _words(stopped: bool, state: str) -> str:
    if stopped and state == "done":
        return "went that far"
    return {
        "done": "would be done",
        "dead": "would be dead",
        "held": "would be held",
        "retrying": "would be tried again",
    }.get(state, state)


def _pipeline(output: Output, tried: Attempted, root: str, *, verbose: bool) -> None:
    name = output.paint("strong", printable(tried.pipeline))
    when = output.paint("dim", f"when: {printable(tried.when)}")
    if tried.trial is None:
        output.print(f"- {name}  skipped: {tried.why}  {when}")
        return
    result = tried.trial.result
    state = output.paint(STYLES.get(tried.state, "dim"), _words(tried.stopped, tried.state))
    parts = [plural(result.records, "record")] if result.records else []
    parts += [duration(result.took_ns)] if result.took_ns else []
    facts = [f"{mark_of(output, tried.state)} {name}", state, ", ".join(parts), when]
    output.print("  ".join(fact for fact in facts if fact))
    _remarks(output, tried, tried.trial)
    for step in tried.trial.steps:
        _step(output, step, result.failure)
    if result.hold:
        where = f" at {result.hold_step}" if result.hold_step else ""
        output.print(f"  {mark_of(output, 'held')} held{where}: {printable(result.hold)}")
        if result.choices:
            output.print(
                f"{_INDENT}a person may choose: {', '.join(map(printable, result.choices))}"
            )
    if result.failure is not None:
        _failure(output, tried, result.failure)
    if tried.printed:
        _printed(output, tried.printed, verbose=verbose)
    _results(output, tried, root)


def _results(output: Output, tried: Attempted, root: str) -> None:
    """Outputs, and files that would come out of this one."""
    if tried.outputs:
        output.print(f"  {output.paint('strong', 'outputs')}")
    elif tried.state == "done" and not tried.stopped and not tried.children:
        output.print("  no output")
    for each in tried.outputs:
        _output(output, each, root)
    _children(output, tried.children)


def _remarks(output: Output, tried: Attempted, trial: Trial) -> None:
    """What should be known before the steps are read."""
    if not tried.matches:
        why = f"{printable(tried.why)}; tried because of -p"
        output.print(f"  {output.paint('wait', 'it does not match')}: {why}")
    if trial.read_to is not None:
        read = f"only its first {size(trial.read_to)} were looked at; --whole reads to the end"
        output.print(f"  {output.paint('wait', read)}")


def _step(output: Output, step: StepTrial, failure: Failure | None) -> None:
    name = output.paint("strong", step.step)
    failed = failure is not None and failure.step == step.step and not step.bad
    name = f"{mark_of(output, 'dead')} {name}" if failed else name
    notes = [f"in {step.inside}"] if step.inside else []
    notes += [f"if {step.guard}"] if step.guard else []
    told = output.paint("dim", printable(" ".join(f"({note})" for note in notes)))
    if not step.begun:
        lost = failure is not None and failure.kind == "crash"
        why = "not known" if lost else "not run" if failure else "nothing came here"
        output.print(f"  {name}  {output.paint('dim', why)}  {told}".rstrip())
        return
    count = step.count
    parts = [
        f"{number(value)} {word}"
        for value, word in (
            (count.taken, "in"),
            (count.given, "out"),
            (count.added, "added"),
            (count.filtered, "filtered"),
            (count.bad, "bad"),
        )
        if value or (word == "out" and not failed)
    ]
    parts += [f"{number(records)} tagged {printable(tag)}" for tag, records in step.tags.items()]
    parts += ["failed"] if failed else []
    took = f"  {duration(count.took_ns)}" if count.took_ns else ""
    output.print(f"  {name}  {', '.join(parts)}{output.paint('dim', took)}  {told}".rstrip())
    if step.header and step.shown:
        header = printable(step.header)
        if output.columns is not None:
            header = _middle(header, max(output.columns - len(_INDENT), 20))
        output.print(f"{_INDENT}{output.paint('dim', header)}")
    for record in step.shown:
        output.print(_record(output, record, changes=bool(count.taken)))
    if step.file is not None:
        output.print(f"{_INDENT}{printable(step.file.name)}  {size(step.file.size)}")
        _text(output, step.file.head, _OUTPUT_LINES, more=step.file.size > len(step.file.head))
    for way in step.branches:
        output.print(f"{_INDENT}{_way(output, way)}")
    for bad in step.bad:
        _bad(output, bad)
    if count.bad > len(step.bad):
        output.print(f"{_INDENT}... {number(count.bad - len(step.bad))} more bad")


def _record(output: Output, record: ShownRecord, *, changes: bool) -> str:
    """One record's line; what the step changed in it is marked `~`, and coloured."""
    tags = (
        output.paint("help", "  [" + " ".join(map(printable, record.tags)) + "]")
        if record.tags
        else ""
    )
    taken = sum(map(len, record.tags)) + len(record.tags) + 3 if record.tags else 0
    sign = "~" if changes and record.before is not None and record.before != record.text else " "
    room = None if output.columns is None else max(output.columns - len(_INDENT) - taken, 20)
    pieces = _pieces(record.before, record.text) if sign == "~" else [(record.text, False)]
    if sign == "~" and room is not None and width(printable(record.text)) > room:
        pieces = [
            (text if changed else _middle(text, 2 * _KEPT), changed) for text, changed in pieces
        ]
    shown, left = [], room
    for text, changed in pieces:
        part = printable(text)
        if left is not None:
            part = cut(part, left)
            left -= width(part)
        shown.append(output.paint("good", part) if changed else part)
        if left is not None and left <= 0:
            break
    more = "..." if record.cut and (left is None or left > 0) else ""
    return f"{_INDENT[:-2]}{sign} {''.join(shown)}{more}{tags}"


def _middle(text: str, room: int) -> str:
    """The text with what is too much left out of its middle: what steps add stands at the end."""
    if len(text) <= room:
        return text
    kept = (room - len("...")) // 2
    return f"{text[:kept]}...{text[-kept:]}"


def _pieces(before: str | None, after: str) -> list[tuple[str, bool]]:
    """The text in pieces, with whether each is new against the text before."""
    old, new = _TOKEN.findall(before or ""), _TOKEN.findall(after)
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    return [
        ("".join(new[start:end]), kind != "equal")
        for kind, _, _, start, end in matcher.get_opcodes()
        if end > start
    ]


def _way(output: Output, way: ShownBranch) -> str:
    arrow = "→" if output.marks.done == "✓" else "->"
    to = ", ".join(way.sinks) or ("" if way.steps else "dropped")
    to = "a file of their own" if way.emitted else to
    path = f" {arrow} ".join(each for each in (", ".join(way.steps), to) if each)
    label = f"{printable(way.when)}: " if way.when else ""
    return f"{label}{number(way.records)} {arrow} {path}"


def _bad(output: Output, shown: ShownBad) -> None:
    bad = shown.bad
    said = f"line {bad.line:,}  {said_of(bad)}"
    output.print(f"{_INDENT}{mark_of(output, 'dead')} {said}")
    if shown.text:
        output.print(f"{_INDENT}  {output.paint('dim', _fit(output, printable(shown.text)))}")


def _failure(output: Output, tried: Attempted, failure: Failure) -> None:
    where = f" at {failure.step}" if failure.step else ""
    kind = {
        "dead": f"({failure.kind}, not retried)",
        "retrying": f"({failure.kind}: in earnest tried again, then dead)",
    }.get(tried.state, f"({failure.kind})")
    output.print(f"  {mark_of(output, 'dead')} {output.paint('bad', f'failed{where}')} {kind}")
    room = output.columns and output.columns - len(_INDENT)
    for line in f"{failure.error}: {failure.message}".splitlines():
        for part in wrapped(printable(line), room):
            output.print(_INDENT + part)
    if failure.help:
        for place, part in enumerate(wrapped(printable(failure.help), room and room - 6)):
            head = output.paint("help", "help:") if place == 0 else "     "
            output.print(f"{_INDENT}{head} {part}")
    for line in failure.traceback.splitlines():
        output.print(_INDENT + output.paint("dim", printable(line)))


def _printed(output: Output, printed: str, *, verbose: bool) -> None:
    lines = printed.splitlines()
    output.print(f"  {output.paint('strong', 'printed')}")
    if not verbose and len(lines) > _PRINTED:
        output.print(f"{_INDENT}... {number(len(lines) - _PRINTED)} lines before (-v shows them)")
        lines = lines[-_PRINTED:]
    for line in lines:
        output.print(f"{_INDENT}{output.paint('dim', '| ' + printable(line))}")


def _output(output: Output, made: WouldBe, root: str) -> None:
    base = os.fsencode(root) + b"/"
    shown = made.path.removeprefix(base) if made.path.startswith(base) else made.path or made.name
    counted = f"{plural(made.records, 'record')}, " if made.records else ""
    taken = {
        "replaced": "  (replaces the one there)",
        "numbered": "  (the name is taken)",
        "fails": "  (the name is taken: collision: fail)",
    }.get(made.taken, "")
    name = output.paint("help", printable(made.sink))
    output.print(
        f"    {name}  {printable(shown)}  {counted}{size(made.size)}{output.paint('wait', taken)}"
    )
    if made.head:
        _text(output, made.head, _OUTPUT_LINES, more=made.more)
    elif made.size:
        output.print(f"{_INDENT}  {output.paint('dim', '(not text)')}")


def _children(output: Output, children: Sequence[WouldEmit]) -> None:
    """The files that would be emitted, each to go its own way."""
    if not children:
        return
    arrow = "→" if output.marks.done == "✓" else "->"
    output.print(f"  {output.paint('strong', 'files of their own')}")
    for child in children[:_CHILDREN]:
        to = ", ".join(map(printable, child.runs)) if child.asked else "(not asked)"
        to = output.paint("wait", f"held: {child.held}") if child.held else to
        tags = output.paint("help", " ".join(map(printable, child.tags)))
        output.print(f"    {printable(child.name)}  {size(child.size)}  {tags} {arrow} {to}")
    if len(children) > _CHILDREN:
        output.print(f"    ... {number(len(children) - _CHILDREN)} more")


def _text(output: Output, text: str, most: int, *, more: bool) -> None:
    lines = text.splitlines()
    for line in lines[:most]:
        output.print(f"{_INDENT}  {_fit(output, printable(line))}")
    if more or len(lines) > most:
        output.print(f"{_INDENT}  {output.paint('dim', '...')}")


def _fit(output: Output, text: str) -> str:
    return text if output.columns is None else cut(text, max(output.columns - len(_INDENT) - 2, 20))
