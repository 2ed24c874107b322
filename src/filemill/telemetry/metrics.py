"""Every metric there is: its name, what it says, its labels. Nothing is counted under a name that is not here.

Names follow Prometheus: base units, counters end in `_total`. Values of labels are bounded: names of the configuration,
words of the product, routes. None is ever a file's name, a tag, a key or an error's text.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """What a metric is."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Since(StrEnum):
    """Since when a counter counts."""

    LEDGER = "ledger"
    """All there ever was in this data directory."""
    SERVER = "server"
    """The server's start."""
    WEB = "web"
    """The start of the process that speaks HTTP."""


class Family(msgspec.Struct, frozen=True):
    """One metric. `bounds` are upper ends of a histogram's buckets, in its unit, without the last one."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    since: Since = Since.SERVER
    bounds: tuple[float, ...] = ()


_WAITED = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0)
_ANSWERED = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)


def _families(
    kind: Kind,
    since: Since,
    *rows: tuple[str, tuple[str, ...], str],
    bounds: tuple[float, ...] = (),
) -> tuple[Family, ...]:
    return tuple(
        Family(f"filemill_{name}", kind, text, labels, since, bounds) for name, labels, text in rows
    )


_SOURCE, _SINK, _PIPELINE = ("source",), ("sink",), ("pipeline",)
_LANE = ("source", "pipeline")
_ALL = (
    *_families(
        Kind.GAUGE,
        Since.LEDGER,
        (
            "files",
            ("source", "state"),
            "Files by their one word: live, or the worst end of their runs.",
        ),
        ("files_bytes", ("source", "state"), "The sizes of these files together."),
        ("runs", (*_LANE, "state"), "Runs by state."),
        (
            "oldest_queued_age_seconds",
            _LANE,
            "Since when the oldest file with a queued run is here; absent: none waits.",
        ),
        ("pipeline_paused", _PIPELINE, "1 while a person has paused the pipeline."),
        ("content_files", _SOURCE, "Files whose bytes are kept."),
        ("content_bytes", _SOURCE, "These bytes."),
        ("ledger_bytes", (), "The ledger and its log."),
        ("disk_free_bytes", (), "Free on the disk of the data directory."),
        (
            "disk_reserve_bytes",
            (),
            "Of these, what `reserve` keeps for files that are taken already.",
        ),
    ),
    *_families(
        Kind.COUNTER,
        Since.LEDGER,
        ("files_received_total", _SOURCE, "Files acknowledged, children included."),
        ("received_bytes_total", _SOURCE, "Their bytes."),
        (
            "files_ended_total",
            ("source", "state"),
            "Files that came to an end, by which; again after a redrive or replay.",
        ),
        (
            "runs_ended_total",
            (*_LANE, "state"),
            "Runs that came to an end, by which; again after a redrive.",
        ),
        ("runs_retried_total", _LANE, "Times that a run was put off to be tried again."),
    ),
    *_families(
        Kind.GAUGE,
        Since.SERVER,
        (
            "files_waiting",
            ("desk",),
            "Acknowledged files before their runs: at the scan or the inspection desk.",
        ),
        (
            "intake_open",
            (),
            "1 while files are taken; 0: the queue is full, or the disk nearly is.",
        ),
        (
            "trouble",
            ("what",),
            "1 for what is in the way of work now, as `filemill status` tells it.",
        ),
        ("sink_broken", _SINK, "1 while a sink is not written to because its place failed."),
        ("workers", ("state",), "Worker processes, busy or idle."),
        ("workers_resident_memory_bytes", (), "Memory of all worker processes."),
        ("config_revision", (), "Number of the configuration in force."),
        ("build_info", ("version",), "1, with what is installed."),
    ),
    *_families(
        Kind.COUNTER,
        Since.SERVER,
        (
            "attempts_total",
            ("pipeline", "outcome"),
            "Attempts that ended: done, retrying, dead, held, or interrupted.",
        ),
        (
            "errors_total",
            ("pipeline", "kind"),
            "Attempts that failed, by kind: transient, permanent, crash, system, interrupted.",
        ),
        ("bad_records_total", _PIPELINE, "Bad records of runs that are done."),
        ("outputs_published_total", _SINK, "Outputs made visible."),
        ("records_published_total", _SINK, "Records in them."),
        (
            "outputs_unverified_total",
            _SINK,
            "Outputs of which nobody can say whether a consumer took them.",
        ),
        (
            "scans_total",
            ("outcome",),
            "What scanners said of files: clean, infected, too_big, failed, down.",
        ),
        ("files_vanished_total", _SOURCE, "Files gone before they were acknowledged."),
        ("files_ignored_total", _SOURCE, "Files not taken: links, devices, no access."),
        (
            "source_missed_files_total",
            _SOURCE,
            "Files found by a scan that no event had announced.",
        ),
        ("worker_starts_total", (), "Worker processes started."),
        ("worker_losses_total", (), "Worker processes that died or were killed."),
        ("web_losses_total", (), "Times that the process that speaks HTTP died."),
        (
            "durable_actions_total",
            ("action",),
            "Syncs, renames, links, unlinks of the server, and commits of the ledger.",
        ),
        ("config_reloads_total", ("outcome",), "Reloads: taken, unchanged, refused."),
        ("retention_freed_files_total", (), "Files whose bytes retention removed."),
        ("retention_freed_bytes_total", (), "These bytes."),
    ),
    *_families(
        Kind.HISTOGRAM,
        Since.SERVER,
        (
            "run_duration_seconds",
            _PIPELINE,
            "From a file's arrival to its run's end, where that is done.",
        ),
        bounds=_WAITED,
    ),
    *_families(
        Kind.GAUGE,
        Since.WEB,
        ("http_requests_in_progress", (), "Requests that are not answered to their end."),
    ),
    *_families(
        Kind.COUNTER,
        Since.WEB,
        (
            "http_requests_total",
            ("method", "route", "status"),
            "Requests answered; route `none`: refused before any.",
        ),
        ("uploads_total", _SOURCE, "Files sent and acknowledged."),
        ("upload_bytes_total", _SOURCE, "Their bytes."),
        (
            "uploads_refused_total",
            ("reason",),
            "Requests with files that were refused, by the code of the error.",
        ),
    ),
    *_families(
        Kind.HISTOGRAM,
        Since.WEB,
        (
            "http_request_duration_seconds",
            ("route",),
            "Until an answer begins; of an upload, with the time its bytes took.",
        ),
        bounds=_ANSWERED,
    ),
)
FAMILIES: dict[str, Family] = {family.name: family for family in _ALL}
"""By name."""


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One value of a counter or gauge."""

    name: str
    labels: tuple[str, ...]
    value: float


class Spread(msgspec.Struct, frozen=True, array_like=True):
    """One histogram: how many fell into each bucket, the last one included, and their sum."""

    name: str
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    sum: float
