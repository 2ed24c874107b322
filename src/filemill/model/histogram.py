"""Latency histograms as the tally keeps them: sparse, mergeable by addition, within 25% of the truth.

Buckets are logarithmic, four to a doubling, from 1,024 ns up (the scheme of HdrHistogram with two
significant bits): the same bucket number means the same time for ever, so rows of any two minutes add up.
"""

from __future__ import annotations

from collections.abc import Mapping

_UNIT = 10
"""Times are counted in 2^10 ns."""


def bucket(took_ns: int) -> int:
    """The bucket of a time in nanoseconds; negative times (a clock that jumped) count as 0."""
    units = took_ns >> _UNIT
    if units < 4:
        return max(units, 0)
    doubling = units.bit_length() - 3
    return 4 * doubling + (units >> doubling)


def upper_ns(number: int) -> int:
    """The first time, in nanoseconds, that is above bucket `number`."""
    if number < 4:
        return (number + 1) << _UNIT
    doubling = number // 4 - 1
    return ((number - 4 * doubling) + 1) << (doubling + _UNIT)


def quantile_ns(counts: Mapping[int, int], share: float) -> int:
    """The time below which `share` (0 to 1) of what was counted lies, rounded up to its bucket; 0 if nothing was."""
    wanted = share * sum(counts.values())
    seen = 0
    for number in sorted(counts):
        seen += counts[number]
        if seen >= wanted:
            return upper_ns(number)
    return 0
