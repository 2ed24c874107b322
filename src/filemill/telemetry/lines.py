"""Events as lines for people: what the console prints for each, as plain text and in colour.

A line is `12:00:07 ✓ name  pipeline  0.21s  407 warehouse`; what explains it follows, indented to the name.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from filemill.model import events as e
from filemill.telemetry.painting import ASCII, Marks, Paint
from filemill.telemetry.troubles import TROUBLES
from filemill.telemetry.wording import (
    clock,
    duration,
    number,
    of_how_many,
    plural,
    printable,
    size,
    wrapped,
)

SHORT = 8
"""Characters of an id that people see: 40 random bits, and any unique prefix is accepted."""
INDENT = " " * 11


def results(outputs: tuple[tuple[str, int, bytes], ...], bad: int = 0, children: int = 0) -> str:
    """What a run gave: `407 warehouse, 9 crm, 2 files, 5 bad`, most first; a sink that got the file itself says so."""
    sums: dict[str, int] = {}
    for sink, records, _target in outputs:
        sums[sink] = sums.get(sink, 0) + records
    parts = [
        f"{number(records)} {sink}" if records else f"whole to {sink}"
        for sink, records in sorted(sums.items(), key=lambda each: (-each[1], each[0]))
    ]
    if children:
        parts.append(plural(children, "file"))
    if bad:
        parts.append(f"{number(bad)} bad")
    return ", ".join(parts) or "no output"


class Lines:
    """Turns one event into its lines; none for what needs no person's eye. Remembers only when draining began."""

    def __init__(
        self,
        *,
        marks: Marks = ASCII,
        paint: Paint | None = None,
        zone: dt.tzinfo | None = None,
        verbose: bool = False,
        columns: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.marks = marks
        self.columns = columns
        """Room in one line now; None where nothing is wrapped (a pipe, a file)."""
        self.paint = paint or Paint(on=False)
        self.zone = zone
        self.verbose = verbose
        self.draining_ns = 0

    def of(self, event: e.Event) -> list[str]:
        """The event's lines, without line ends."""
        tell = _TELL.get(type(event))
        return tell(self, event) if tell else []

    def head(self, event: e.Event, mark: str, style: str, *parts: str) -> str:
        """The first line of an event: time, sign, parts two spaces apart."""
        sign = self.paint(style, mark)
        when = self.paint("dim", clock(event.at_ns, self.zone))
        return f"{when} {sign} {'  '.join(part for part in parts if part)}"

    def note(self, event: e.Event, text: str, help: str = "") -> list[str]:  # noqa: A002
        """A notice that is about no single file."""
        return [self.head(event, self.marks.note, "wait", text), *self.helping(help)]

    def more(self, text: str) -> list[str]:
        """Explaining lines under a head."""
        parts = [printable(part) for part in text.splitlines() if part.strip()]
        return [INDENT + line for part in parts for line in wrapped(part, self.room(len(INDENT)))]

    def helping(self, text: str) -> list[str]:
        """A `help:` line (or more, on a narrow terminal), if there is help."""
        if not text:
            return []
        first, *more = wrapped(printable(text), self.room(len(INDENT) + len("help: ")))
        told = [f"{INDENT}{self.paint('help', 'help:')} {first}"]
        return told + [f"{INDENT}      {line}" for line in more]

    def room(self, taken: int) -> int | None:
        """Columns left behind so many taken ones."""
        columns = self.columns()
        return None if columns is None else columns - taken

    def pointer(self, file: str, command: str = "files show") -> str:
        """Where the rest of the story is."""
        return INDENT + self.paint("dim", f"filemill {command} {file[:SHORT]}")


def _finished(lines: Lines, event: e.RunFinished) -> list[str]:
    given = results(event.outputs, event.bad, event.children)
    text = (printable(event.relative), event.pipeline, duration(event.took_ns), given)
    return [lines.head(event, lines.marks.done, "wait" if event.bad else "good", *text)]


def _progressed(lines: Lines, event: e.RunProgressed) -> list[str]:
    share = f"{100 * event.done // event.chunks}%, {event.done} of {event.chunks} chunks"
    so_far = f"goes on at {share}" if event.resumed else share
    text = (printable(event.relative), event.pipeline, so_far)
    return [lines.head(event, lines.marks.again if event.resumed else " ", "dim", *text)]


def _why(event: e.RunFailed) -> str:
    if event.kind == "permanent":
        return "permanent, not retried"
    if event.kind == "crash":
        what = "its worker died" if event.error == "WorkerDied" else "a crash"
        return f"{what}, {plural(event.attempt, 'try', 'tries')}"
    if event.kind == "interrupted":
        return "interrupted too often"
    if event.gave_up:
        return f"{event.kind}, {plural(event.attempt, 'try', 'tries')}: {event.gave_up}"
    return f"{event.kind}, {plural(event.attempt, 'try', 'tries')}"


def _failed(lines: Lines, event: e.RunFailed) -> list[str]:
    name = printable(event.relative)
    error = (
        event.message
        if event.message.startswith(event.error)
        else f"{event.error}: {event.message}"
    )
    if event.state == "dead":
        where = f"dead at {event.step} ({_why(event)})" if event.step else f"dead ({_why(event)})"
        return [
            lines.head(event, lines.marks.dead, "bad", name, event.pipeline, where),
            *lines.more(error),
            *lines.helping(event.help),
            lines.pointer(event.file, "dead show"),
        ]
    if event.state == "retrying":
        when = f", again at {clock(event.retry_at_ns, lines.zone)}" if event.retry_at_ns else ""
        where = f"failed at {event.step}, try {of_how_many(event.attempt, event.tries)}{when}"
        first = lines.head(event, lines.marks.again, "wait", name, event.pipeline, where)
        return [first, *lines.more(error)]
    if not lines.verbose:  # queued again, nothing charged: the engine's own affair
        return []
    where = f"queued again ({event.kind})"
    return [
        lines.head(event, lines.marks.again, "dim", name, event.pipeline, where),
        *lines.more(error),
    ]


_HELD = {
    "unrouted": "no pipeline wants it",
    "duplicate": "the same content came before",
}


def _held(lines: Lines, event: e.FileHeld) -> list[str]:
    why = _HELD.get(event.reason, "")
    tags = f"tags {' '.join(event.tags)}" if event.tags else "no tags"
    where = f"held: {event.reason}" + (f", {why} ({tags})" if why else "")
    first = lines.head(event, lines.marks.held, "wait", printable(event.relative), where)
    return [
        first,
        lines.pointer(event.file, "explain" if event.reason == "unrouted" else "files show"),
    ]


def _run_held(lines: Lines, event: e.RunHeld) -> list[str]:
    where = f"held at {event.step}"
    first = lines.head(
        event, lines.marks.held, "wait", printable(event.relative), event.pipeline, where
    )
    return [first, *lines.more(event.message), lines.pointer(event.file, "held show")]


def _rejected(lines: Lines, event: e.FileRejected) -> list[str]:
    where = f"{'quarantined' if event.unsafe else 'rejected'}: {printable(event.reason)}"
    first = lines.head(event, lines.marks.dead, "bad", printable(event.relative), where)
    return [first, lines.pointer(event.file)]


def _ignored(lines: Lines, event: e.FileIgnored) -> list[str]:
    where = f"not taken from {event.source}: {printable(event.reason)}"
    return [lines.head(event, lines.marks.note, "wait", printable(event.relative), where)]


def _started(lines: Lines, event: e.ServerStarted) -> list[str]:
    taken = (
        [f"took over {plural(event.recovered, 'file')} from the last run"]
        if event.recovered
        else []
    )
    ready = f"Ready in {event.took_ns / 1e9:.1f}s. Ctrl-C drains, twice stops now."
    return [*taken, lines.paint("strong", ready)]


def _draining(lines: Lines, event: e.ServerDraining) -> list[str]:
    lines.draining_ns = event.at_ns
    if not event.running and not event.queued:
        return []
    return [f"draining: {number(event.running)} running, {number(event.queued)} queued (kept)"]


def _stopped(lines: Lines, event: e.ServerStopped) -> list[str]:
    took = max(event.at_ns - lines.draining_ns, 0)
    done = f"done in {took / 1e9:.1f}s" if lines.draining_ns else "stopped"
    kept = f", {plural(event.kept, 'run')} kept for the next start" if event.kept else ""
    return [done + kept]


def _unverified(lines: Lines, event: e.OutputUnverified) -> list[str]:
    text = f"output {printable(event.name)} of {event.sink} cannot be verified: its consumer took it, or it is lost"
    return lines.note(event, text, f"filemill files show {event.run}")


def _reloaded(lines: Lines, event: e.ConfigReloaded) -> list[str]:
    took = f"reloaded in {event.took_ns / 1e9:.1f}s"
    first = lines.head(event, lines.marks.done, "good", f"config rev {event.revision}", took)
    return [first, *lines.more(", ".join(event.changes))]


def _unchanged(lines: Lines, event: e.ConfigUnchanged) -> list[str]:
    return [lines.head(event, " ", "dim", f"config rev {event.revision}", "unchanged")]


def _refused(lines: Lines, event: e.ConfigRefused) -> list[str]:
    kept = f"the running one (rev {event.revision}) is kept"
    first = lines.head(event, lines.marks.dead, "bad", "config not reloaded", kept)
    # Carets point at columns, so these lines are neither indented nor wrapped.
    return [first, *(printable(line) for line in event.problems.splitlines())]


def _routable(lines: Lines, event: e.HeldRoutable) -> list[str]:
    many = f"{'at least ' if event.capped else ''}{plural(event.count, 'held file')}"
    return lines.note(
        event,
        f"{many} would be routed now",
        "filemill held release --held-for unrouted takes them up again",
    )


def _ingested(lines: Lines, event: e.FileIngested) -> list[str]:
    return _quiet(lines, event, printable(event.relative), f"taken from {event.source}")


def _routed(lines: Lines, event: e.FileRouted) -> list[str]:
    text = (
        printable(event.relative),
        f"tags {' '.join(event.tags)}",
        f"to {', '.join(event.pipelines)}",
    )
    return _quiet(lines, event, *text)


def _disposed(lines: Lines, event: e.FileDisposed) -> list[str]:
    return _quiet(lines, event, event.file, event.how)


def _tidied(lines: Lines, event: e.RetentionApplied) -> list[str]:
    freed = f"{size(event.bytes)} of {plural(event.files, 'file')} freed"
    forgot = f"{plural(event.forgotten, 'file')} forgotten ({plural(event.rows, 'row')})"
    return lines.note(event, f"retention: {freed}, {forgot}")


def _vanished(lines: Lines, event: e.FileVanished) -> list[str]:
    return _quiet(lines, event, printable(event.relative), "vanished before it was taken")


def _worker(lines: Lines, event: e.WorkerStarted) -> list[str]:
    return _quiet(lines, event, f"worker {event.worker} (pid {event.pid}) up")


def _web(lines: Lines, event: e.WebListening) -> list[str]:
    host = f"[{event.host}]" if ":" in event.host else event.host
    scheme = "https" if event.tls else "http"
    return [lines.head(event, " ", "dim", f"web {scheme}://{host}:{event.port}")]


def _quiet(lines: Lines, event: e.Event, *parts: str) -> list[str]:
    return [lines.head(event, " ", "dim", *parts)] if lines.verbose else []


_TELL: dict[type[e.Event], Callable[[Lines, Any], list[str]]] = {
    e.RunFinished: _finished,
    e.RunProgressed: _progressed,
    e.RunFailed: _failed,
    e.FileHeld: _held,
    e.RunHeld: _run_held,
    e.FileRejected: _rejected,
    e.FileIgnored: _ignored,
    e.ServerStarted: _started,
    e.ServerDraining: _draining,
    e.ServerStopped: _stopped,
    e.OutputUnverified: _unverified,
    e.ConfigReloaded: _reloaded,
    e.ConfigUnchanged: _unchanged,
    e.ConfigRefused: _refused,
    e.HeldRoutable: _routable,
    e.FileIngested: _ingested,
    e.FileRouted: _routed,
    e.FileDisposed: _disposed,
    e.RetentionApplied: _tidied,
    e.FileVanished: _vanished,
    e.WorkerStarted: _worker,
    e.WebListening: _web,
    **TROUBLES,
}
"""One entry for every event; a test holds it complete."""
