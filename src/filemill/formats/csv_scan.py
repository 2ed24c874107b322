"""The exact, sequential scanner of quoted CSV: the definition that the native paths must agree with.

From a record's first byte:

- it ends at the first LF outside quotes; a field is either quoted as a whole (a doubled quote inside stands for one)
  or holds no quote at all;
- where a closing quote is followed by anything but separator or line ending, or a quote stands inside an unquoted
  field, the record is bad (`Quote`) up to the end of the line on which that is seen;
- a quote still open `max_record` bytes after the record's first byte, or at the end of the file, makes the first
  physical line the bad record (`Quote`), and reading resumes at the next line;
- a record that reaches `max_record` bytes outside quotes is bad (`TooLong`) up to the end of that line.

Each verdict needs at most `max_record` bytes and a little more from the record's start, so none depends on where a
chunk happens to end.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

_LF, _CR = 0x0A, 0x0D


class Found(msgspec.Struct):
    """One record: bytes `start` to `end` (line ending excluded, CR included); `error` empty if it is good."""

    start: int
    end: int
    error: str = ""
    message: str = ""


class Scanned(msgspec.Struct):
    """What a scan found. `unfinished` is a bad record whose line goes on behind the data."""

    records: list[Found]
    consumed: int
    unfinished: Found | None = None


@lru_cache(maxsize=64)
def _patterns(
    separator: bytes, quote: bytes
) -> tuple[re.Pattern[bytes], re.Pattern[bytes], re.Pattern[bytes]]:
    s, q = re.escape(separator), re.escape(quote)
    quoted = b"%b(?:[^%b]++|%b%b)*+%b" % (q, q, q, q, q)
    cell = b"(?:%b(?=%b|\\r?\\n)|[^%b%b\\n]*+(?=%b|\\n))" % (quoted, s, q, s, s)
    record = re.compile(b"%b(?:%b%b)*+\\r?\\n" % (cell, s, cell))
    return record, re.compile(quoted), re.compile(b"[^%b%b\\n]*+" % (q, s))


def scan(data: bytes, separator: bytes, quote: bytes, max_record: int, *, final: bool) -> Scanned:
    """Find every record of `data`, which ends in LF if it is `final`. Blank lines are records here."""
    whole, quoted, plain = _patterns(separator, quote)
    found: list[Found] = []
    at, size = 0, len(data)
    while at < size:
        match = whole.match(data, at)
        if match is not None and match.end() - 1 - at <= max_record:
            found.append(Found(at, match.end() - 1))
            at = match.end()
            continue
        if not final and size - at <= max_record + 2:
            break  # too little to tell
        verdict, seen = _judge(data, at, separator[0], quote[0], max_record, quoted, plain)
        if verdict is None:
            end = data.index(b"\n", seen)
            found.append(Found(at, end))
            at = end + 1
            continue
        error, message, resume = verdict
        end = data.find(b"\n", seen if not resume else at)
        if resume and (end < 0 or _length(data, at, end) > max_record):
            error, message = "TooLong", f"longer than max_record ({max_record} bytes)"
        bad = Found(at, end - (data[end - 1] == _CR and end > at), error, message)
        if end < 0:
            bad.end = size
            return Scanned(found, size, bad)
        found.append(bad)
        at = end + 1
    return Scanned(found, at)


def _length(data: bytes, start: int, end: int) -> int:
    return end - start - (end > start and data[end - 1] == _CR)


def _judge(  # noqa: PLR0911, PLR0917 -- one return a verdict
    data: bytes,
    start: int,
    separator: int,
    quote: int,
    max_record: int,
    quoted: re.Pattern[bytes],
    plain: re.Pattern[bytes],
) -> tuple[tuple[str, str, bool] | None, int]:
    """Why no good record starts here, and the byte where that is seen; resume at the next line if the third says so.

    None: it is good after all, its last byte may be a CR that does not count.
    """
    limit = start + max_record
    at = start
    while True:
        if at < len(data) and data[at] == quote:
            match = quoted.match(data, at)
            if match is None or match.end() > limit:
                return ("Quote", "a quote opens here that is not closed", True), at
            at = match.end()
            after = data[at : at + 2]
            if after[:1] == b"\n" or after == b"\r\n":
                return None, at
            if not after or after[0] != separator:
                return ("Quote", "a closing quote is followed by text", False), at
            at += 1
            continue
        match = plain.match(data, at)
        at = match.end() if match else at
        stop = data[at] if at < len(data) else -1
        if at - (stop == _LF and data[at - 1] == _CR and at > start) > limit:
            return ("TooLong", f"longer than max_record ({max_record} bytes)", False), limit
        if stop == _LF:
            return None, at
        if stop == quote:
            return ("Quote", "a quote stands inside an unquoted cell", False), at
        if stop != separator:
            return ("TooLong", f"longer than max_record ({max_record} bytes)", False), limit
        at += 1
