"""Lines about the machine and its places: what work waits for, and that it goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from filemill.model import events as e
from filemill.telemetry.wording import age, duration, plural, printable

if TYPE_CHECKING:
    from filemill.telemetry.lines import Lines


def _lost(lines: Lines, event: e.WorkerLost) -> list[str]:
    held = f"; {plural(event.held, 'run')} affected" if event.held else ""
    return lines.note(
        event, f"worker {event.worker} (pid {event.pid}) lost: {printable(event.reason)}{held}"
    )


def _missing(lines: Lines, event: e.SourceMissing) -> list[str]:
    text = f"source {event.source}: {printable(event.path)} is gone; watched again when it returns"
    return lines.note(event, text)


def _returned(lines: Lines, event: e.SourceReturned) -> list[str]:
    return lines.note(event, f"source {event.source}: {printable(event.path)} is back")


def _notice(lines: Lines, event: e.SourceNotice) -> list[str]:
    return lines.note(event, f"source {event.source}: {printable(event.message)}", event.help)


def _missed(lines: Lines, event: e.EventsMissed) -> list[str]:
    if not event.overflow and not lines.verbose:  # a scan's ordinary find; a metric counts it
        return []
    why = "the event queue overflowed" if event.overflow else "no event announced them"
    return lines.note(
        event, f"source {event.source}: a scan found {plural(event.found, 'file')} ({why})"
    )


def _uncopied(lines: Lines, event: e.CopiesTrouble) -> list[str]:
    text = f"failed folder {printable(event.folder)}: {printable(event.message)}; tried again, nothing else waits"
    return lines.note(event, text, event.help)


def _copied(lines: Lines, event: e.CopiesRecovered) -> list[str]:
    return lines.note(event, f"failed folder {printable(event.folder)}: kept again")


def _trouble(lines: Lines, event: e.SystemTrouble) -> list[str]:
    text = f"{event.what}: {printable(event.message)}"
    first = lines.head(event, lines.marks.note, "bad", text, "work waits, nothing is lost")
    return [first, *lines.helping(event.help)]


def _over(lines: Lines, event: e.SystemRecovered) -> list[str]:
    return lines.note(event, f"{event.what}: works again, work goes on")


def _intake_waits(lines: Lines, event: e.IntakeWaits) -> list[str]:
    return lines.note(event, f"intake waits: {printable(event.message)}", event.help)


def _intake_resumed(lines: Lines, event: e.IntakeResumed) -> list[str]:
    what = "the queue" if event.what == "queue" else "the disk"
    return lines.note(event, f"intake: {what} has room again, files are taken")


def _broken(lines: Lines, event: e.SinkBroken) -> list[str]:
    text = f"sink {event.sink}: {printable(event.message)}"
    waits = (
        f"runs of {', '.join(event.pipelines)} wait, the rest goes on" if event.pipelines else ""
    )
    return [lines.head(event, lines.marks.note, "bad", text, waits), *lines.helping(event.help)]


def _mended(lines: Lines, event: e.SinkMended) -> list[str]:
    return lines.note(event, f"sink {event.sink}: works again, work goes on")


def _web_lost(lines: Lines, event: e.WebLost) -> list[str]:
    again = duration(int(event.again_in * 1e9))
    return lines.note(
        event,
        f"what answers HTTP ended ({event.reason}); it is begun again in {again}, files go on",
        "uploads that were not answered have to be sent again",
    )


def _web_noted(lines: Lines, event: e.WebNoted) -> list[str]:
    if event.help:
        return lines.note(event, printable(event.message), printable(event.help))
    return [lines.head(event, " ", "dim", printable(event.message))]


def _retention_waits(lines: Lines, event: e.RetentionWaits) -> list[str]:
    words = f"nothing was done here for {age(event.away_ns)}, or the clock is wrong"
    return lines.note(
        event,
        f"retention waits: {words}",
        f"set the clock if it is wrong; nothing is removed within the next {age(event.waits_ns)}",
    )


TROUBLES: dict[type[e.Event], Callable[[Lines, Any], list[str]]] = {
    e.WorkerLost: _lost,
    e.SourceMissing: _missing,
    e.SourceReturned: _returned,
    e.SourceNotice: _notice,
    e.EventsMissed: _missed,
    e.CopiesTrouble: _uncopied,
    e.CopiesRecovered: _copied,
    e.SystemTrouble: _trouble,
    e.SystemRecovered: _over,
    e.IntakeWaits: _intake_waits,
    e.IntakeResumed: _intake_resumed,
    e.SinkBroken: _broken,
    e.SinkMended: _mended,
    e.RetentionWaits: _retention_waits,
    e.WebLost: _web_lost,
    e.WebNoted: _web_noted,
}
"""One entry for each of these events."""
