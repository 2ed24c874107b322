"""How filemill says numbers, times and names to people; one spelling for console, tables and logs."""

from __future__ import annotations

import datetime as dt
import textwrap
from functools import lru_cache
from unicodedata import east_asian_width

_SECOND = 1_000_000_000
_SIZES = ("B", "KB", "MB", "GB", "TB", "PB")


def printable(name: bytes | str) -> str:
    r"""The name as a terminal may show it: control, bidi and undecodable bytes become `\x1b`, `\u202e`.

    Names come from strangers; an escape sequence in one must never reach a terminal. A space and
    every visible character stay as they are.
    """
    text = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def harmless_json(document: str) -> str:
    r"""The same JSON with what a terminal would act on escaped (`\u202e`): JSON itself only asks it below U+0020."""
    if document.isprintable():
        return document
    return "".join(c if c.isprintable() else _json_escape(c) for c in document)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8, as `surrogateescape` carries it
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def width(text: str) -> int:
    """Columns that printable text takes on a terminal; wide East Asian characters and emoji take two."""
    if text.isascii():
        return len(text)
    return sum(2 if east_asian_width(c) in "WF" else 1 for c in text)


def cut(text: str, room: int, ellipsis: str = "...") -> str:
    """The text shortened to at most `room` columns, ending in `ellipsis` when something was left out."""
    if width(text) <= room:
        return text
    kept, taken, limit = [], 0, max(room - width(ellipsis), 0)
    for character in text:
        taken += width(character)
        if taken > limit:
            break
        kept.append(character)
    return "".join(kept) + ellipsis[: max(room, 0)]


def wrapped(text: str, room: int | None) -> list[str]:
    """The text in lines of at most `room` columns, broken between words; None, or too little room, is one line.

    A word that is longer (a path, an id) stays whole, so that it can be copied.
    """
    if room is None or room < 20 or width(text) <= room:
        return [text]
    return textwrap.wrap(
        text, room, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )


def duration(nanoseconds: int) -> str:
    """A length of time in two digits of worth: `3ms`, `0.21s`, `12.3s`, `2m10s`, `1h05m`, `3d4h`."""
    seconds = max(nanoseconds, 0) / _SECOND
    if seconds < 0.01:
        return f"{seconds * 1000:.0f}ms" if seconds >= 0.0005 or nanoseconds <= 0 else "<1ms"
    if seconds < 9.995:
        return f"{seconds:.2f}s"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600}h"


def age(nanoseconds: int) -> str:
    """How long ago in one unit, as tables have it: `12s`, `4m`, `3h`, `2d`."""
    seconds = max(nanoseconds, 0) // _SECOND
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def size(count: int) -> str:
    """Bytes in units of 1000: `812 B`, `38 KB`, `1.2 GB`."""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_SIZES) - 1:
        value, unit = value / 1000, unit + 1
    return (
        f"{value:.0f} {_SIZES[unit]}"
        if unit == 0 or value >= 9.95
        else f"{value:.1f} {_SIZES[unit]}"
    )


def number(count: int) -> str:
    """A count with thousands set apart: `12,484`."""
    return f"{count:,}"


def plural(count: int, one: str, many: str = "") -> str:
    """`1 file`, `2,000 files`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


@lru_cache(maxsize=8)
def of_how_many(attempt: int, tries: int) -> str:
    """`2 of 5`; only the first number where tries are not counted."""
    return f"{attempt} of {tries}" if tries else str(attempt)


def _clock(second: int, zone: dt.tzinfo | None) -> str:
    return dt.datetime.fromtimestamp(second, zone).strftime("%H:%M:%S")


def clock(wall_ns: int, zone: dt.tzinfo | None = None) -> str:
    """Time of day, `12:00:07`, in `zone` (None: the machine's)."""
    return _clock(wall_ns // _SECOND, zone)


def moment(wall_ns: int, zone: dt.tzinfo | None = None) -> str:
    """Date, time and offset, `2026-04-13 12:00:07 +02:00`, in `zone` (None: the machine's)."""
    when = dt.datetime.fromtimestamp(wall_ns // _SECOND, dt.UTC).astimezone(zone)
    offset = when.strftime("%z")
    return f"{when:%Y-%m-%d %H:%M:%S} {offset[:3]}:{offset[3:5]}"


def utc(wall_ns: int) -> str:
    """RFC 3339 in UTC with milliseconds, as machines read it; empty for 0, which means never."""
    if not wall_ns:
        return ""
    when = dt.datetime.fromtimestamp(wall_ns // _SECOND, dt.UTC)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{wall_ns % _SECOND // 1_000_000:03d}Z"
