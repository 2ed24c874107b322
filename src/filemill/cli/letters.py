"""A dead letter on one screen: what failed, where, why, what to do; what is kept and what was delivered; what next."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from filemill.cli.output import Output
from filemill.cli.reading import mark_of, said_of, short
from filemill.model.errors import FilemillError
from filemill.model.runs import BadRecord
from filemill.queries import Attempt, DeadCause, FileHistory, RunHistory, group_name
from filemill.service import shape_types as t
from filemill.service.exporting import form_of
from filemill.service.originals import Originals, why_not_alone
from filemill.service.reasons import failure_of
from filemill.service.shapes import dead_item, path_text
from filemill.telemetry.wording import (
    age,
    cut,
    duration,
    moment,
    number,
    plural,
    printable,
    size,
    wrapped,
)

if TYPE_CHECKING:
    from filemill.model.runs import Failure

_BAD_SHOWN = 10
_TEXT = 200
"""Bytes of a bad record that are looked at."""
_PRINTED = 10
"""Lines of a step's own output that are shown without -v."""
_MEMBERS = 20
_FRAME = re.compile(r'^  File "(?P<path>.+)", line (?P<line>\d+), in (?P<name>.+)$')


class Frame(msgspec.Struct, frozen=True):
    """One place in a traceback, with its line of code."""

    path: str
    line: int
    name: str
    code: str
    own: bool
    """In the project's folder."""

    @property
    def place(self) -> str:
        """`steps.py:31 in add_vat`."""
        return f"{self.path}:{self.line} in {self.name}"


def frames_of(traceback: str, root: str) -> list[Frame]:
    """The places of a traceback, outermost first; those below `root` by their path from there."""
    lines = traceback.splitlines()
    found: list[Frame] = []
    for at, line in enumerate(lines):
        match = _FRAME.match(line)
        if match is None:
            continue
        path = match["path"]
        own = not os.path.isabs(path) or (bool(root) and path.startswith(root.rstrip("/") + "/"))
        shown = os.path.relpath(path, root) if own and os.path.isabs(path) else path
        code = lines[at + 1].strip() if at + 1 < len(lines) and lines[at + 1][:4] == "    " else ""
        found.append(Frame(shown, int(match["line"]), match["name"], code, own))
    return found


def text_of(originals: Originals, content: str, bad: BadRecord, run: RunHistory) -> str | None:
    """The beginning of a bad record as it stands in the original; None where nothing can be shown."""
    form = form_of(run)
    if form is None or not form.original or bad.end <= bad.start:
        return None
    try:
        raw = originals.piece(content, bad.start, bad.end, _TEXT)
    except (FilemillError, OSError):
        return None
    said = printable(raw.decode("utf-8", "surrogateescape"))
    return said + ("..." if bad.end - bad.start > _TEXT else "")


def dead_runs(history: FileHistory, wanted: str = "") -> list[RunHistory]:
    """The dead runs of a file; only the one whose id begins with `wanted`, if it is a run's."""
    dead = [run for run in history.runs if run.summary.state == "dead"]
    one = [run for run in dead if wanted and run.summary.run.startswith(wanted.lower())]
    return one if one and not history.summary.file.startswith(wanted.lower()) else dead


def draw_letter(
    output: Output,
    history: FileHistory,
    runs: list[RunHistory],
    originals: Originals,
    *,
    root: str,
    verbose: bool,
) -> None:
    """Print the dead runs of one file."""
    for at, run in enumerate(runs):
        if at:
            output.print()
        _head(output, history, run)
        _why(output, run, root, verbose=verbose)
        _bad(output, history, run, originals, verbose=verbose)
        _kept(output, history, run, originals)
        _next(output, history, run, originals)


def _head(output: Output, history: FileHistory, run: RunHistory) -> None:
    summary, file = run.summary, history.summary
    dead = output.paint("bad", f"DEAD at {summary.step}" if summary.step else "DEAD")
    failure = failure_of(run)
    tries = plural(summary.attempt, "try", "tries")
    how = f"{failure.kind}, {tries}" if failure else tries
    name = output.paint("strong", printable(file.name))
    output.print(f"{name}  {mark_of(output, 'dead')} {dead}  {how}  {moment(summary.state_ns)}")
    facts = [
        f"pipeline {summary.pipeline} (rev {summary.revision})",
        f"file {short(file.file)}",
        f"run {short(summary.run)}",
        f"group {group_name(summary.fingerprint)}" if summary.fingerprint else "",
    ]
    output.print("  " + "  ".join(fact for fact in facts if fact))
    came = "  ".join(
        part for part in (f"from {file.source}", size(file.size), history.media) if part
    )
    output.print(f"  {came}")
    if file.tags:
        output.print(f"  tags {' '.join(file.tags)}")


def _title(output: Output, text: str) -> None:
    output.print()
    output.print(output.paint("strong", text))


def _room(output: Output, taken: int) -> int | None:
    return output.columns and output.columns - taken


def _why(output: Output, run: RunHistory, root: str, *, verbose: bool) -> None:
    summary, failure = run.summary, failure_of(run)
    _title(output, "Why")
    said = summary.message
    if not said.startswith(summary.error):
        said = f"{summary.error}: {said}"
    for line in said.splitlines():
        for part in wrapped(printable(line), _room(output, 2)):
            output.print(f"  {output.paint('bad', part)}")
    if failure is None:
        return
    _help(output, failure)
    _frames(output, failure, root, verbose=verbose)
    _printed(output, failure, verbose=verbose)
    if len(run.attempts) > 1:
        _title(output, "Attempts")
        rows = [_attempt_row(each) for each in run.attempts]
        for line in output.lines_of(("",) * 4, rows, right=(0,))[1:]:
            output.print(f"  {line}")


def _help(output: Output, failure: Failure) -> None:
    if failure.help:
        first, *rest = wrapped(printable(failure.help), _room(output, 8))
        output.print(f"  {output.paint('help', 'help:')} {first}")
        for line in rest:
            output.print(f"        {line}")
    if failure.gave_up:
        for line in wrapped(f"gave up: {failure.gave_up}", _room(output, 2)):
            output.print(f"  {line}")


def _frames(output: Output, failure: Failure, root: str, *, verbose: bool) -> None:
    if not failure.traceback:
        return
    frames = frames_of(failure.traceback, root)
    own = [frame for frame in frames if frame.own]
    if own:
        _title(output, "Your code")
        for frame in reversed(own):  # where it was raised comes first
            output.print(f"  {printable(frame.place)}")
            if frame.code:
                output.print(f"      {output.paint('strong', printable(frame.code))}")
    if verbose:
        _title(output, "Traceback")
        for line in failure.traceback.splitlines():
            output.print(f"  {output.paint('dim', printable(line))}")
    elif not own or len(frames) > len(own):
        output.print(output.paint("dim", f"  {plural(len(frames) - len(own), 'other frame')}: -v"))


def _printed(output: Output, failure: Failure, *, verbose: bool) -> None:
    lines = failure.output.splitlines()
    if not lines:
        return
    _title(output, "Printed meanwhile")
    shown = lines if verbose else lines[-_PRINTED:]
    if len(shown) < len(lines):
        output.print(output.paint("dim", f"  {number(len(lines) - len(shown))} lines before: -v"))
    for line in shown:
        output.print(f"  {output.paint('dim', '| ' + printable(line))}")


def _attempt_row(attempt: Attempt) -> tuple[str, str, str, str]:
    failure = attempt.failure
    said = f"{failure.error}: {failure.message}".replace("\n", " ") if failure else attempt.hold
    where = failure.step if failure else attempt.hold_step
    took = duration(attempt.ended_ns - attempt.began_ns)
    return str(attempt.number), moment(attempt.began_ns), took, printable(f"{where}: {said}")


def _bad(
    output: Output,
    history: FileHistory,
    run: RunHistory,
    originals: Originals,
    *,
    verbose: bool,
) -> None:
    if not run.bad:
        return
    _title(output, f"Bad records ({number(run.summary.bad)})")
    shown = run.bad if verbose else run.bad[:_BAD_SHOWN]
    for bad in shown:
        where = f"line {bad.line:,}"
        output.print(f"  {where}  {bad.step}  {output.paint('bad', said_of(bad))}")
        text = text_of(originals, history.content, bad, run)
        if text is not None:
            shown_text = text if verbose else cut(text, max(_room(output, 6) or _TEXT, 20))
            output.print(f"      {shown_text}")
    if (rest := run.summary.bad - len(shown)) > 0:
        output.print(output.paint("dim", f"  ... {rest:,} more (-v shows up to {len(run.bad):,})"))


def _kept(output: Output, history: FileHistory, run: RunHistory, originals: Originals) -> None:
    _title(output, "Kept, and delivered")
    kept = originals.kept(history.content)
    original = f"the original, {size(history.summary.size)}" if kept else "the original is gone"
    rows = [("kept", original)]
    if run.input:
        step = run.kept.step if run.kept else run.summary.step
        rows.append(
            ("kept", f"what went into {printable(step)}{_extent(run)}: dead input, --from input")
        )
    staged = [each for each in run.outputs if each.state == "staged"]
    rows += [("kept", f"staged for {each.sink}: {printable(each.path)}") for each in staged]
    done = [each for each in run.outputs if each.state != "staged"]
    rows += [("delivered", f"{each.sink}: {printable(each.path)}") for each in done]
    if not done:
        rows.append(("delivered", "nothing: it is safe to do again"))
    for line in output.lines_of(("", ""), rows, cut_last=False)[1:]:
        output.print(f"  {line}")


def _extent(run: RunHistory) -> str:
    """How much is kept of what a step was given."""
    if run.kept is None:
        return ""
    records = f", {plural(run.kept.records, 'record')}" if run.kept.records else ""
    return f", {size(run.kept.size)}{records}"


def _next(output: Output, history: FileHistory, run: RunHistory, originals: Originals) -> None:
    _title(output, "Next")
    rows = list(commands_of(history, run, originals))
    for line in output.lines_of(("", ""), rows, styles={1: "dim"}, cut_last=False)[1:]:
        output.print(f"  {line}")


def commands_of(
    history: FileHistory, run: RunHistory, originals: Originals
) -> Iterator[tuple[str, str]]:
    """The commands that make sense now, each with what it does."""
    # The id that lists show, unless it would mean more than this run.
    mine = short(history.summary.file if len(dead_runs(history)) == 1 else run.summary.run)
    yield f"filemill dead redrive {mine}", "once the cause is mended: try again"
    if not originals.kept(history.content):
        yield f"filemill dead discard {mine}", "give it up"
        return
    if not why_not_alone(run.bad, form_of(run)):
        yield (
            f"filemill dead resubmit {mine}",
            "mend the bad records in your editor; they go back into a copy",
        )
        yield f"filemill dead export {mine} --records", "the bad records as a file to mend"
    else:
        yield f"filemill dead edit {mine}", "mend a copy in your editor, send that"
        yield f"filemill dead export {mine}", "the original and why it failed, as files"
    yield f"filemill dead discard {mine}", "give it up"


def letter_shape(
    history: FileHistory, run: RunHistory, originals: Originals, root: str
) -> dict[str, Any]:
    """What `dead show` tells beside the file's history, as in `filemill.letter/1`."""
    failure = failure_of(run)
    return {
        "run": run.summary.run,
        "group": group_name(run.summary.fingerprint),
        "frames": [
            {"path": f.path, "line": f.line, "name": f.name, "code": f.code, "own": f.own}
            for f in frames_of(failure.traceback if failure else "", root)
        ],
        "original_kept": originals.kept(history.content),
        "delivered": [path_text(each.path) for each in run.outputs if each.state != "staged"],
        "staged": [path_text(each.path) for each in run.outputs if each.state == "staged"],
        "bad_texts": [text_of(originals, history.content, bad, run) for bad in run.bad],
        "bad_alone": why_not_alone(run.bad, form_of(run)) or None,
        "next": [command for command, _ in commands_of(history, run, originals)],
    }


_STYLES = {"new": "wait", "ongoing": "dim", "regressed": "bad", "resolved": "good"}


def status_of(output: Output, status: str) -> str:
    """NEW, REGRESSED..., coloured."""
    return output.paint(_STYLES.get(status, "dim"), status.upper())


def draw_cause(output: Output, cause: DeadCause, now: int) -> None:
    """Print one group: why it is one, what its members have in common, the latest of them."""
    group = cause.group
    name = group_name(group.fingerprint)
    head = f"{output.paint('strong', name)}  {status_of(output, group.status)}"
    output.print(f"{head}  {plural(group.count, 'run')}  {group.pipeline} > {group.step}")
    first = f"{group.error}: {group.message}".splitlines()[0]
    for line in wrapped(printable(first), _room(output, 2)):
        output.print(f"  {output.paint('bad', line)}")
    output.print(
        f"  first {moment(group.first_ns)}, last {moment(group.last_ns)} ({age(now - group.last_ns)} ago)"
    )
    if (said := group.resolution) is not None:
        since = ", and it happened again" if group.status == "regressed" else ""
        reason = f": {printable(said.reason)}" if said.reason else ""
        output.print(
            f"  resolved {moment(said.at_ns)} by {printable(said.principal)} (rev {said.revision}){since}{reason}"
        )
    _title(output, "Why grouped")
    for line in output.lines_of(("", ""), list(_parts(cause)), cut_last=False)[1:]:
        output.print(f"  {line}")
    _title(output, f"In common ({plural(cause.looked_at, 'run')})")
    for tag, count in cause.tags[:10]:
        output.print(f"  {tag} {count}/{cause.looked_at}")
    for revision, count in cause.revisions[:5]:
        output.print(f"  rev {revision} {count}/{cause.looked_at}")
    _title(output, "Members")
    rows = [
        (short(i.file), printable(i.name), str(i.run.attempt), age(now - i.run.state_ns))
        for i in cause.items[:_MEMBERS]
    ]
    output.table(("ID", "NAME", "TRIES", "AGE"), rows, right=(2, 3), indent="  ")
    if group.count > len(rows):
        output.print(
            f"  ... {group.count - len(rows):,} more: filemill dead ls {name} --limit 1000"
        )
    _title(output, "Next")
    commands = [
        (f"filemill dead show {rows[0][0]}", "one of them in full"),
        (f"filemill dead redrive {name}", "once the cause is mended: try all again"),
        (f"filemill dead export {name}", "their originals, each with its reason"),
        (f"filemill dead resolve {name}", "call it mended; it comes back if it happens again"),
    ]
    for line in output.lines_of(("", ""), commands, styles={1: "dim"}, cut_last=False)[1:]:
        output.print(f"  {line}")


def _parts(cause: DeadCause) -> Iterator[tuple[str, str]]:
    """What the fingerprint is made of, in words."""
    yield "fingerprint", printable(cause.group.fingerprint)
    why = cause.why
    if why is None:
        yield "because", "its step said so: Reject(fingerprint=...)"
        return
    yield "pipeline", why.pipeline
    yield "step", printable(why.step) or "-"
    yield "error", printable(why.error)
    yield "own frames", printable("  ".join(why.frames)) or "none"
    yield "message", printable(why.message)


def cause_items(cause: DeadCause) -> list[t.DeadItem]:
    """The members that were looked at, as JSON."""
    return [dead_item(item) for item in cause.items]
