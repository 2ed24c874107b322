"""Metrics as Prometheus reads them: what the ledger keeps, what the server measured, what this process counted."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

from prometheus_client import ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder

from filemill.intake.gate import free_and_reserved
from filemill.ports.standing import MoveRow
from filemill.queries import Standing
from filemill.service import replies
from filemill.service.face_frames import Opening
from filemill.telemetry.metering import Meter
from filemill.telemetry.metrics import FAMILIES, Kind, Sample, Spread

_PAGE = os.sysconf("SC_PAGE_SIZE")
_LIVE = ("", "live", "retrying")
"""From here something comes to an end; what goes from one end to another one was counted."""


class Scrape:
    """One answer: a registry of prometheus-client's kind."""

    def __init__(
        self, samples: Iterable[Sample], spreads: Iterable[Spread], processes: dict[str, int]
    ) -> None:
        self._samples: dict[str, list[Sample]] = {}
        self._spreads: dict[str, list[Spread]] = {}
        for sample in samples:
            self._samples.setdefault(sample.name, []).append(sample)
        for spread in spreads:
            self._spreads.setdefault(spread.name, []).append(spread)
        self._processes = processes

    def collect(self) -> Iterator[Metric]:
        """Every metric there is, with its values, if it has any."""
        for name, family in FAMILIES.items():
            if family.kind is Kind.HISTOGRAM:
                histogram = HistogramMetricFamily(name, family.help, labels=family.labels)
                for spread in self._spreads.get(name, ()):
                    histogram.add_metric(
                        spread.labels, _buckets(family.bounds, spread.counts), spread.sum
                    )
                yield histogram
                continue
            shape = CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily
            metric = shape(name, family.help, labels=family.labels)
            for sample in self._samples.get(name, ()):
                metric.add_metric(sample.labels, sample.value)
            yield metric
        for name, pid in self._processes.items():
            process = ProcessCollector(
                f"filemill_{name}", pid=functools.partial(int, pid), registry=None
            )
            yield from process.collect()

    def encoded(self, accept: str) -> tuple[bytes, str]:
        """The answer and its content type: Prometheus' text, or OpenMetrics where that is asked for."""
        encode, kind = choose_encoder(accept)
        return encode(cast("Any", self)), kind


def of_ledger(standing: Standing, opening: Opening) -> list[Sample]:
    """What the ledger keeps, and how much room it takes."""
    now = Meter()
    for source, pipeline, state, many in standing.runs:
        now.set("filemill_runs", source, pipeline, state, to=many)
    for source, pipeline, arrived_ns in standing.oldest:
        age = max(0, standing.at_ns - arrived_ns) / 1e9
        now.set("filemill_oldest_queued_age_seconds", source, pipeline, to=age)
    for pipeline in dict.fromkeys((*opening.pipelines, *standing.paused)):
        now.set("filemill_pipeline_paused", pipeline, to=int(pipeline in standing.paused))
    for move in standing.moves:
        _MOVES.get(move.kind, _no_metric)(now, move)
    return [*now.samples(), *_room(opening)]


def _file(now: Meter, move: MoveRow) -> None:
    for place, sign in ((move.after, 1), (move.before, -1)):
        if place:
            now.add("filemill_files", move.source, place, by=sign * move.count)
            now.add("filemill_files_bytes", move.source, place, by=sign * move.bytes)
    if not move.before:
        now.add("filemill_files_received_total", move.source, by=move.count)
        now.add("filemill_received_bytes_total", move.source, by=move.bytes)
        now.add("filemill_content_files", move.source, by=move.count)
        now.add("filemill_content_bytes", move.source, by=move.bytes)
    if move.before in _LIVE and move.after not in _LIVE:
        now.add("filemill_files_ended_total", move.source, move.after, by=move.count)


def _run(now: Meter, move: MoveRow) -> None:
    if move.after == "retrying":
        now.add("filemill_runs_retried_total", move.source, move.pipeline, by=move.count)
    if move.before in _LIVE and move.after not in _LIVE:
        labels = (move.source, move.pipeline, move.after)
        now.add("filemill_runs_ended_total", *labels, by=move.count)


def _freed(now: Meter, move: MoveRow) -> None:
    now.add("filemill_content_files", move.source, by=-move.count)
    now.add("filemill_content_bytes", move.source, by=-move.bytes)


def _no_metric(now: Meter, move: MoveRow) -> None:
    """What the ledger keeps for itself."""


_MOVES: dict[str, Callable[[Meter, MoveRow], None]] = {"file": _file, "run": _run, "freed": _freed}


def _room(opening: Opening) -> list[Sample]:
    """The ledger's size and its disk's; what cannot be said is left out, so that nobody takes it for zero."""
    found: list[Sample] = []
    ledger = os.path.join(opening.data, "ledger.db")
    try:
        free, reserved = free_and_reserved(os.fsencode(opening.data), opening.reserve)
        sizes = [_size(each) for each in (ledger, f"{ledger}-wal")]
    except OSError:
        return found
    found.append(Sample("filemill_ledger_bytes", (), sum(sizes)))
    found.append(Sample("filemill_disk_free_bytes", (), free))
    found.append(Sample("filemill_disk_reserve_bytes", (), reserved))
    return found


def of_workers(seen: replies.Seen) -> list[Sample]:
    """What all workers hold in memory."""
    resident = sum(_resident(worker.pid) for worker in seen.workers)
    return [Sample("filemill_workers_resident_memory_bytes", (), resident)]


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0  # it has just ended


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0


def _buckets(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """The buckets as Prometheus has them: each with all that is below its end."""
    ends = (*(str(bound) for bound in bounds), "+Inf")
    return list(zip(ends, itertools.accumulate(counts), strict=True))
