"""Counting what happens, in memory: from events, and from whoever sees what no event tells."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Any

from filemill.model import events as e
from filemill.telemetry.metrics import FAMILIES, Sample, Spread

_NS = 1e-9


class Meter:
    """Counters, gauges and histograms of one process, by the names of `telemetry.metrics`. In one event loop."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, tuple[str, ...]], float] = {}
        self._spreads: dict[tuple[str, tuple[str, ...]], tuple[list[int], list[float]]] = {}

    def add(self, name: str, *labels: str, by: float = 1) -> None:
        """Count so much more."""
        key = (name, labels)
        self._values[key] = self._values.get(key, 0) + by

    def set(self, name: str, *labels: str, to: float) -> None:
        """Say how much it is now."""
        self._values[name, labels] = to

    def observe(self, name: str, *labels: str, value: float) -> None:
        """Put a value into its bucket."""
        key = (name, labels)
        bounds = FAMILIES[name].bounds
        if key not in self._spreads:
            self._spreads[key] = ([0] * (len(bounds) + 1), [0.0])
        counts, total = self._spreads[key]
        counts[bisect_left(bounds, value)] += 1
        total[0] += value

    def samples(self) -> tuple[Sample, ...]:
        """What was counted and set."""
        return tuple(Sample(*key, value) for key, value in self._values.items())

    def spreads(self) -> tuple[Spread, ...]:
        """What was observed."""
        return tuple(
            Spread(*key, tuple(counts), total[0]) for key, (counts, total) in self._spreads.items()
        )

    def hear(self, event: e.Event) -> None:
        """Count what an event tells. Never raises."""
        counted = _COUNTED.get(type(event))
        if counted is not None:
            counted(self, event)


def _finished(meter: Meter, event: e.RunFinished) -> None:
    meter.add("filemill_attempts_total", event.pipeline, "done")
    meter.observe("filemill_run_duration_seconds", event.pipeline, value=event.took_ns * _NS)
    for sink, records, _ in event.outputs:
        meter.add("filemill_outputs_published_total", sink)
        meter.add("filemill_records_published_total", sink, by=records)
    if event.bad:
        meter.add("filemill_bad_records_total", event.pipeline, by=event.bad)


def _failed(meter: Meter, event: e.RunFailed) -> None:
    outcome = "interrupted" if event.state == "queued" else event.state
    meter.add("filemill_attempts_total", event.pipeline, outcome)
    meter.add("filemill_errors_total", event.pipeline, event.kind)


def _retained(meter: Meter, event: e.RetentionApplied) -> None:
    meter.add("filemill_retention_freed_files_total", by=event.files)
    meter.add("filemill_retention_freed_bytes_total", by=event.bytes)


_COUNTED: dict[type[e.Event], Callable[[Meter, Any], None]] = {
    e.RunFinished: _finished,
    e.RunFailed: _failed,
    e.RunHeld: lambda m, event: m.add("filemill_attempts_total", event.pipeline, "held"),
    e.OutputUnverified: lambda m, event: m.add("filemill_outputs_unverified_total", event.sink),
    e.FileVanished: lambda m, event: m.add("filemill_files_vanished_total", event.source),
    e.FileIgnored: lambda m, event: m.add("filemill_files_ignored_total", event.source),
    e.EventsMissed: lambda m, event: m.add(
        "filemill_source_missed_files_total", event.source, by=event.found
    ),
    e.WorkerStarted: lambda m, _: m.add("filemill_worker_starts_total"),
    e.WorkerLost: lambda m, _: m.add("filemill_worker_losses_total"),
    e.WebLost: lambda m, _: m.add("filemill_web_losses_total"),
    e.ConfigReloaded: lambda m, _: m.add("filemill_config_reloads_total", "taken"),
    e.ConfigUnchanged: lambda m, _: m.add("filemill_config_reloads_total", "unchanged"),
    e.ConfigRefused: lambda m, _: m.add("filemill_config_reloads_total", "refused"),
    e.RetentionApplied: _retained,
}
