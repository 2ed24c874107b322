"""One line a file while people can read along, one summed line a second when they cannot."""

from __future__ import annotations

from collections.abc import Hashable

from filemill.model import events as e
from filemill.telemetry.lines import Lines, results
from filemill.telemetry.wording import duration, plural, printable

_SECOND = 1_000_000_000


class _Sum:
    """What is left to say of the events of one kind in one second."""

    def __init__(self, first: e.Event) -> None:
        self.first = first
        self.last = first
        self.count = 0
        self.longest = 0
        self.bad = 0
        self.children = 0
        self.outputs: dict[str, int] = {}

    def add(self, event: e.Event) -> None:
        self.count += 1
        self.last = event
        if isinstance(event, e.RunFinished):
            self.longest = max(self.longest, event.took_ns)
            self.bad += event.bad
            self.children += event.children
            for sink, records, _target in event.outputs:
                self.outputs[sink] = self.outputs.get(sink, 0) + records


class Throttle:
    """Lines of events, at most `rate` single ones a second for each kind of thing that can come in masses.

    What comes above the rate in one second is told in one line when the second is over. While a kind keeps
    coming faster than the rate, it has summed lines only. Seconds are those of the events' own times.
    """

    def __init__(self, lines: Lines, rate: int = 25) -> None:
        self._lines = lines
        self._rate = rate
        self._second = 0
        self._seen: dict[Hashable, int] = {}
        self._flooding: set[Hashable] = set()
        self._sums: dict[Hashable, _Sum] = {}

    @property
    def pending(self) -> bool:
        """True when `flush` has something to say."""
        return bool(self._sums)

    def take(self, event: e.Event) -> list[str]:
        """The lines to print now; perhaps none, because they will be summed."""
        told: list[str] = []
        if (second := event.at_ns // _SECOND) != self._second:
            told = self.flush()
            self._second = second
        key = _kind(event)
        if key is None:
            return told + self._lines.of(event)
        seen = self._seen[key] = self._seen.get(key, 0) + 1
        if seen <= self._rate and key not in self._flooding:
            return told + self._lines.of(event)
        if (total := self._sums.get(key)) is None:
            total = self._sums[key] = _Sum(event)
        total.add(event)
        return told

    def flush(self) -> list[str]:
        """The summed lines of the second so far."""
        told = [line for total in self._sums.values() for line in self._tell(total)]
        self._flooding = {key for key, seen in self._seen.items() if seen > self._rate}
        self._seen.clear()
        self._sums.clear()
        return told

    def _tell(self, total: _Sum) -> list[str]:
        event, lines = total.last, self._lines
        if total.count == 1:
            return lines.of(event)
        files = plural(total.count, "file")
        if isinstance(event, e.RunFinished):
            given = results(
                tuple((s, n, b"") for s, n in total.outputs.items()), total.bad, total.children
            )
            took = f"up to {duration(total.longest)}"
            return [lines.head(event, lines.marks.done, "good", files, event.pipeline, took, given)]
        if isinstance(event, e.RunFailed):
            what = "dead" if event.state == "dead" else "failed"
            mark, style = (
                (lines.marks.dead, "bad") if event.state == "dead" else (lines.marks.again, "wait")
            )
            head = lines.head(event, mark, style, files, event.pipeline, f"{what} at {event.step}")
            return [
                head,
                *lines.more(f"{event.error}: {event.message}"),
                *lines.helping(event.help),
            ]
        if isinstance(event, e.FileHeld):
            where = f"held: {event.reason}"
            head = lines.head(event, lines.marks.held, "wait", files, where)
            return [head, *lines.helping("filemill held ls")]
        if isinstance(event, e.FileRejected):
            where = f"rejected: {printable(event.reason)}"
            return [lines.head(event, lines.marks.dead, "bad", files, where)]
        word = {
            e.FileIngested: "taken",
            e.FileRouted: "routed",
            e.FileDisposed: "disposed of",
            e.FileVanished: "vanished before they were taken",
            e.FileIgnored: "not taken",
        }.get(type(event), "more")
        return [lines.head(event, lines.marks.note, "dim", files, word)] if lines.of(event) else []


def _kind(event: e.Event) -> Hashable:
    """What an event is summed with; None for what is always said."""
    match event:
        case e.RunFinished():
            return (e.RunFinished, event.pipeline)
        case e.RunFailed():
            return (e.RunFailed, event.pipeline, event.state, event.step, event.error)
        case e.FileHeld():
            return (e.FileHeld, event.reason)
        case e.FileRejected():
            return (e.FileRejected, event.unsafe)
        case (
            e.FileIngested()
            | e.FileRouted()
            | e.FileDisposed()
            | e.FileVanished()
            | e.FileIgnored()
        ):
            return type(event)
        case _:
            return None
