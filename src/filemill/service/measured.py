"""What a running server measures of itself: what it counted since its start, and how its parts stand now."""

from __future__ import annotations

import functools

from filemill.durable import Durable
from filemill.ports.scanner import Outcome
from filemill.service import replies
from filemill.service.parts import Parts
from filemill.telemetry.metering import Meter


def measured(
    parts: Parts, counted: Meter, durable: Durable, seen: replies.Seen
) -> replies.Measured:
    """All of it, at one moment."""
    now = Meter()
    now.set("filemill_build_info", _version(), to=1)
    now.set("filemill_config_revision", to=parts.revisions.current.number)
    now.set("filemill_files_waiting", "scan", to=parts.scans.pending)
    now.set("filemill_files_waiting", "inspection", to=parts.desk.pending)
    now.set("filemill_intake_open", to=int(not parts.gate.waits))
    busy = sum(worker.busy for worker in seen.workers)
    now.set("filemill_workers", "busy", to=busy)
    now.set("filemill_workers", "idle", to=len(seen.workers) - busy)
    broken = {each.sink for each in parts.breakers.broken}
    for sink in parts.revisions.current.plan.sinks:
        now.set("filemill_sink_broken", sink.name, to=int(sink.name in broken))
    for trouble in seen.troubles:
        now.set("filemill_trouble", trouble.what, to=1)
    for outcome, files in parts.scans.outcomes.items():
        now.set("filemill_scans_total", _WORDS[outcome], to=files)
    for action, times in list(durable.failpoints.counts.items()):
        now.set("filemill_durable_actions_total", action, to=times)
    return replies.Measured(
        samples=(*counted.samples(), *now.samples()), spreads=counted.spreads(), seen=seen
    )


@functools.cache
def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415 -- slow to load, and rarely needed

    return version("filemill")


_WORDS = {outcome: outcome.value.replace(" ", "_") for outcome in Outcome}
