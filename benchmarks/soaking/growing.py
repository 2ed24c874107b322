"""Whether something grows: the slope of each measure over the second half, in which no server is killed.

The slope is the median of those between any two samples (Theil and Sen), so that single peaks, a big file in hand or a
worker that has just started, do not count. `rise` is that slope times the time that was looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from soaking.sampling import Sample

MB = 1e6


@dataclass(frozen=True)
class Bound:
    """How much a measure may rise within the second half: so much, or so large a share of its median."""

    words: str
    most: float
    share: float
    unit: str = "MB"

    def allowed(self, values: Sequence[float]) -> float:
        """The larger of the two."""
        return max(self.most, self.share * median(values))

    def say(self, value: float) -> str:
        """A number with its unit."""
        return f"{value / MB:,.1f} MB" if self.unit == "MB" else f"{value:,.0f}"


BOUNDS = {
    "server": Bound("the server's memory", 16 * MB, 0.1),
    "tree": Bound("memory of all processes", 160 * MB, 0.2),
    "server_files": Bound("the server's open files", 16, 0.1, ""),
    "tree_files": Bound("open files of all processes", 64, 0.2, ""),
    "ledger": Bound("the ledger", 8 * MB, 0.2),
    "log": Bound("the ledger's log", 64 * MB, 0.1),
    "content": Bound("content", 24 * MB, 0.3),
}
"""A second worker starts and leaves with the load, and holds some 80 MB; the ledger's log is cut to 64 MiB."""


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The median slope between any two points; 0 with fewer than two moments."""
    slopes = [
        (y2 - y1) / (x2 - x1)
        for i, (x1, y1) in enumerate(points)
        for x2, y2 in points[i + 1 :]
        if x2 > x1
    ]
    return median(slopes) if slopes else 0.0


@dataclass(frozen=True)
class Growth:
    """How far a measure rose in the second half."""

    bound: Bound
    median: float
    rise: float
    allowed: float

    @property
    def told(self) -> str:
        """In words."""
        say = self.bound.say
        return (
            f"{self.bound.words} rose by {say(self.rise)} (median {say(self.median)}, "
            f"allowed {say(self.allowed)})"
        )


def growths(samples: Sequence[Sample], since: float) -> list[Growth]:
    """Of every measure, over the samples from `since` on."""
    found = []
    for name, bound in BOUNDS.items():
        points = [
            (sample.at, float(value))
            for sample in samples
            if sample.at >= since and (value := getattr(sample, name)) is not None
        ]
        if not points:
            continue
        values = [value for _, value in points]
        rise = slope(points) * (points[-1][0] - points[0][0])
        found.append(Growth(bound, median(values), rise, bound.allowed(values)))
    return found


def grown(samples: Sequence[Sample], since: float) -> list[str]:
    """What rose by more than its bound, in words; empty when nothing did."""
    return [each.told for each in growths(samples, since) if each.rise > each.allowed]
