"""Durations and sizes as options carry them: text with a unit, converted once, shown again as written.

`Duration` is a float of seconds and `Size` an int of bytes; as a field's type in an options model they
take the text of a configuration (`500ms`, `1h30m`, `200MB`, `16MiB`). Values that already are numbers pass
as they are, so that a dumped model validates again. Text without a unit is refused (`0` needs none): a
bare `500` has been read as seconds by some and as milliseconds by others.

`LocalPath` is text that names a file or folder of this machine. Validated with `context={"root": folder}`, a relative
one becomes absolute below that folder: the folder of the main configuration file.
"""

from __future__ import annotations

import datetime as dt
import math
import os
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema

_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 604800.0,
}
_BYTES = {"b": 1} | {
    prefix + suffix: base**power
    for power, prefix in enumerate("kmgtp", 1)
    for suffix, base in (("b", 1000), ("ib", 1024))
}
_PART = r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)"
_PARTS = re.compile(rf"\s*{_PART}")
LONGEST = 36_600 * 86_400.0
"""Seconds. With it, moments before and after now still have a number that the ledger can hold."""
_DURATION_HELP = "write a number and a unit, such as 500ms, 10s, 5m, 2h, 30d or 1h30m"
_SIZE_HELP = "write a number and a unit, such as 512B, 64kB, 200MB, 16MiB or 2GiB"


def parse_duration(text: str) -> float:
    """Seconds of a text such as `500ms`, `5m` or `1h30m`; `0` needs no unit.

    Raises:
        ValueError: it is not a number with a unit, or no time that anybody waits for; the message says what to write.
    """
    stripped = text.strip()
    if stripped == "0":
        return 0.0
    total, end = 0.0, 0
    while match := _PARTS.match(stripped, end):
        if match[2] not in _SECONDS:
            raise ValueError(f"`{match[2]}` is not a unit of time: {_DURATION_HELP}")
        total += float(match[1]) * _SECONDS[match[2]]
        end = match.end()
    if not end or stripped[end:].strip():
        raise ValueError(f"`{text}` is not a duration: {_DURATION_HELP}")
    if total > LONGEST:
        raise ValueError(f"`{text[:40]}` is longer than a hundred years")
    return total


def parse_size(text: str) -> int:
    """Bytes of a text such as `200MB` (10^6) or `16MiB` (2^20), letter case ignored; `0` needs no unit.

    Raises:
        ValueError: it is not a number with a unit; the message says how to write it.
    """
    stripped = text.strip()
    if stripped == "0":
        return 0
    match = re.fullmatch(_PART, stripped)
    if match is None:
        raise ValueError(f"`{text}` is not a size: {_SIZE_HELP}")
    if match[2].lower() not in _BYTES:
        raise ValueError(f"`{match[2]}` is not a unit of size: {_SIZE_HELP}")
    scale: int = _BYTES[match[2].lower()]
    return round(float(match[1]) * scale)


def format_duration(seconds: float) -> str:
    """The shortest exact-enough text of a duration, as a configuration would have it."""
    for unit in ("w", "d", "h", "m", "s", "ms", "us"):
        number = seconds / _SECONDS[unit]
        if number >= 1 and math.isclose(number, round(number), rel_tol=1e-9):
            return f"{round(number)}{unit}"
    return f"{seconds:g}s" if seconds else "0"


def format_size(size: int) -> str:
    """A size for people: the largest unit that divides it exactly, else two digits of a binary one."""
    for power, prefix in reversed(list(enumerate("kMGTP", 1))):
        for base, suffix in ((1024, "iB"), (1000, "B")):
            if size >= base**power and size % base**power == 0:
                shown = "K" if suffix == "iB" and prefix == "k" else prefix
                return f"{size // base**power}{shown}{suffix}"
    if size < 1024:
        return f"{size}B"
    power = min(int(math.log(size, 1024)), 5)
    return f"{size / 1024**power:.1f}{' KMGTP'[power]}iB"


def _duration(value: Any) -> Any:
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    return value


def _size(value: Any) -> Any:
    return parse_size(value) if isinstance(value, str) else value


Duration = Annotated[
    float,
    Field(ge=0, allow_inf_nan=False),
    BeforeValidator(_duration),
    WithJsonSchema(
        {"type": "string", "pattern": r"^(0|(\d+(\.\d+)?\s*(ns|us|ms|s|m|min|h|d|w)\s*)+)$"}
    ),
]
"""Seconds, zero or more."""

Size = Annotated[
    int,
    Field(ge=0),
    BeforeValidator(_size),
    WithJsonSchema({"type": "string", "pattern": r"^(0|\d+(\.\d+)?\s*([kKmMgGtTpP][iI]?)?[bB])$"}),
]
"""Bytes, zero or more."""


def _local_path(value: str, info: ValidationInfo) -> str:
    if not value.strip() or "\0" in value:
        raise ValueError("a path is missing here")
    root = (info.context or {}).get("root")
    return value if root is None else os.path.normpath(os.path.join(root, value))


LocalPath = Annotated[str, AfterValidator(_local_path)]
"""A path; absolute once validated with a root."""
