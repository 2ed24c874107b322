"""What runs gave, kept as JSON so that tables and charts can be drawn again and compared.

One file a workload: `results/W1.json` of the full size (committed: the page is made from it),
`results/quick/W1.json` of `--quick`.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

_NUMBERS = re.compile(rb"\[[-+\d.eE,\s]+\]")
FOLDER = Path(__file__).resolve().parent / "results"
DISTURBED = 0.1
"""Cores taken by other programs from which on a run is marked."""


@dataclass
class Result:
    """What one run gave."""

    workload: str
    contestant: str
    round: int = 0
    seconds: float = 0.0
    done: int = 0
    """Outputs (W1, W3, W4) or input bytes (W2) that were finished in `seconds`."""
    latencies: list[float] = field(default_factory=list)
    """W3: seconds from rename to output."""
    start: float = 0.0
    """Seconds from start to ready."""
    first: float = 0.0
    """W4: seconds from start to the first output."""
    idle_cpu: float = 0.0
    """W4: share of one core while nothing arrives."""
    wakeups: float = 0.0
    """W4: times a second that a thread was given a processor while nothing arrives."""
    idle_memory: int = 0
    """W4: bytes (PSS) while nothing arrives."""
    peak: int = 0
    """Bytes, each shared page counted once (PSS)."""
    peak_resident: int = 0
    """Bytes, shared pages counted in each process (RSS)."""
    cpu: float = 0.0
    """Seconds of processor time while the files were processed."""
    strangers: float = 0.0
    """Cores that other programs took meanwhile: above a tenth the number is worth little."""
    elapsed: float = 0.0
    """Seconds of the whole run, preparing and verifying included."""
    problems: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Files (W1) or bytes (W2) a second."""
        return self.done / self.seconds if self.seconds else 0.0

    def percentile(self, percent: int) -> float:
        """A percentile of the latencies in seconds."""
        if len(self.latencies) < 2:
            return 0.0
        return statistics.quantiles(self.latencies, n=100, method="inclusive")[percent - 1]


@dataclass
class Record:
    """All runs of one workload, and what they are worth."""

    workload: str
    made: str
    """The day, and the commit it was measured at."""
    machine: str
    quick: bool
    size: str
    """How much was processed, in words."""
    rounds: int
    versions: list[str]
    """`celery 5.7.0` of each peer that took part."""
    absent: dict[str, str]
    """Who did not take part, and why."""
    results: list[Result]

    @property
    def disturbed(self) -> Sequence[Result]:
        """Runs during which other programs took part of the machine."""
        return [result for result in self.results if result.strangers > DISTURBED]


def path_of(workload: str, *, quick: bool) -> Path:
    """Where a workload's record lies."""
    return (FOLDER / "quick" if quick else FOLDER) / f"{workload}.json"


def save(record: Record) -> Path:
    """Keep a record, in place of the former one."""
    for result in record.results:
        result.latencies = [round(latency, 5) for latency in result.latencies]
    path = path_of(record.workload, quick=record.quick)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(record), indent=1)
    # Two hundred latencies are one line, not two hundred.
    path.write_bytes(_NUMBERS.sub(lambda found: b" ".join(found[0].split()), text) + b"\n")
    return path


def load(workload: str, *, quick: bool) -> Record | None:
    """The record of a workload, if there is one."""
    path = path_of(workload, quick=quick)
    return msgspec.json.decode(path.read_bytes(), type=Record) if path.exists() else None
