"""What is measured: each workload with its numbers, and what it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from measuring import Size
from results import Result

MB = 1e6
GB = 1_000_000_000
FULL = Size(files=10_000, events=int(1.08 * GB), drops=200, settled=1000, calm=4.0)
QUICK = Size(files=400, events=GB // 25, drops=20, settled=50, calm=0.5)


@dataclass(frozen=True)
class Measure:
    """One number of a run."""

    head: str
    """Over its column of a table."""
    value: Callable[[Result], float]
    form: str = "{:,.0f}"
    spread: bool = False
    """Show the lowest and the highest as well."""
    share: float = 0.0
    """The part of a chart's width that it gets; none where it is not drawn."""


@dataclass(frozen=True)
class Workload:
    """One kind of work."""

    key: str
    title: str
    says: str
    """Below the title of its chart: what is measured, and what is better."""
    measures: Sequence[Measure]
    """The first orders the rows of its chart."""
    size: Callable[[Size], str]
    yardstick: str = ""
    """Whom ratios are taken to."""
    rising: bool = True
    """More is better."""

    @property
    def main(self) -> Measure:
        """What it is about."""
        return self.measures[0]


_MEMORY = Measure("peak PSS MB", lambda result: result.peak / MB, share=0.5)
_COMMON = (
    _MEMORY,
    Measure("peak RSS MB", lambda result: result.peak_resident / MB),
    Measure("CPU s", lambda result: result.cpu, "{:,.1f}"),
    Measure("start s", lambda result: result.start, "{:.2f}"),
)
_BYTES = Measure("MB/s", lambda result: result.rate / MB, spread=True, share=1.0)


_ROUTED = "MB a second through one new field and three outputs (longer is better), and the memory that it took"


def _big(size: Size) -> str:
    return f"{size.events / GB:.2f} GB" if size.events >= GB // 2 else f"{size.events / MB:.0f} MB"


WORKLOADS: dict[str, Workload] = {
    one.key: one
    for one in (
        Workload(
            "W1",
            "Many small files at once",
            "Files of 4 KB finished a second (longer is better), and the memory that it took",
            (
                Measure("files/s", lambda result: result.rate, spread=True, share=1.0),
                *_COMMON,
            ),
            lambda size: f"{size.files:,} log files",
            "bare Python loop",
        ),
        Workload(
            "W2",
            "One big file of JSON lines",
            _ROUTED,
            (_BYTES, *_COMMON),
            lambda size: f"{_big(size)} of JSON lines",
            "orjson loop",
        ),
        Workload(
            "W2-csv",
            "The same big file as CSV",
            _ROUTED,
            (_BYTES, *_COMMON),
            lambda size: f"CSV of {_big(size)} of JSON lines",
            "bare Python loop",
        ),
        Workload(
            "W2-function",
            "The big file, with a Python function for each record",
            "MB a second through a function of one record (longer is better), and the memory that it took",
            (_BYTES, *_COMMON),
            lambda size: f"{_big(size)} of JSON lines",
            "orjson loop",
        ),
        Workload(
            "W3",
            "One file at a time: latency",
            "From a file's rename into the folder to its output: half of them by the dot, 99 of 100 by the line's end",
            (
                Measure(
                    "p50 ms",
                    lambda result: result.percentile(50) * 1000,
                    "{:,.1f}",
                    spread=True,
                    share=1.0,
                ),
                Measure(
                    "p99 ms",
                    lambda result: result.percentile(99) * 1000,
                    "{:,.1f}",
                    spread=True,
                ),
                *_COMMON,
            ),
            lambda size: f"{size.drops} log files, one each 50 ms",
            "watchdog + threads",
            rising=False,
        ),
        Workload(
            "W4",
            "Starting, and standing still",
            "Shorter is better in each",
            (
                Measure(
                    "first file s",
                    lambda result: result.first,
                    "{:.2f}",
                    spread=True,
                    share=1.0,
                ),
                Measure(
                    "idle % of a core",
                    lambda result: result.idle_cpu * 100,
                    "{:.2f}",
                    share=1.0,
                ),
                Measure("wake-ups/s", lambda result: result.wakeups, "{:,.0f}"),
                Measure("idle PSS MB", lambda result: result.idle_memory / MB, share=0.8),
                Measure("start s", lambda result: result.start, "{:.2f}"),
            ),
            lambda size: f"{size.calm:g} s after {size.settled:,} files",
            rising=False,
        ),
    )
}
