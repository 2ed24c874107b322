"""Tables among texts: CSV without being told so, by the lines' agreement on a delimiter.

With a name that says CSV or TSV the first line is taken as the header, whatever the other lines look like: a torn row
is a bad record of the orders file, not a reason to call it something else. Without such a name, nine in ten lines
must agree, and the first must read like column names.
"""

from __future__ import annotations

import csv
import io
import re

import msgspec

from filemill.routing.media import CSV, TSV

_SAMPLE_LINES = 20
_SAMPLE_BYTES = 16 << 10
_DELIMITERS = (b",", b"\t", b";", b"|")
_COLUMN = re.compile(r"[^\W\d](?:[\w ,.\-/()#%&$:\[\]]{0,98}[\w)%$\]])?\Z")


class Table(msgspec.Struct, frozen=True):
    """What was found: the media type, the separator (empty when the file is empty) and the first line's fields."""

    media: str
    delimiter: str = ""
    header: tuple[str, ...] = ()


def find_table(body: bytes, claimed: str) -> Table | None:
    """The table in a text, or None. `claimed` is the media type its name claims."""
    expected = claimed in (CSV, TSV)
    if not body.strip() and not expected:
        return None
    rows, whole = _sample(body)
    if not rows:
        return Table(claimed) if expected else None
    best = b""
    best_fields = 1
    for delimiter in _DELIMITERS:
        fields = _fields(rows[0], delimiter)
        if fields <= best_fields:
            continue
        if expected or _agree(rows, delimiter, fields, whole=whole):
            best, best_fields = delimiter, fields
    if not best:
        if not expected:
            return None
        best = b"\t" if claimed == TSV else b","
    header = split_header(rows[0], best)
    if not expected and not _plausible(header, len(rows)):
        return None
    media = claimed if expected else (TSV if best == b"\t" else CSV)
    return Table(media, delimiter=best.decode(), header=header)


def _sample(body: bytes) -> tuple[list[bytes], bool]:
    """The first lines, blank ones left out, and whether they are all the lines there are."""
    piece = body[:_SAMPLE_BYTES]
    lines = piece.split(b"\n", _SAMPLE_LINES)
    whole = len(piece) == len(body) and len(lines) <= _SAMPLE_LINES
    if not whole and len(lines) > 1:
        del lines[-1]  # cut off in its middle
    rows = [line for raw in lines if (line := raw.rstrip(b"\r")).strip()]
    if b'"' in piece:
        rows = _join_quoted(rows)
    return rows, whole


def _join_quoted(lines: list[bytes]) -> list[bytes]:
    """Records of the lines: a quote left open goes on in the next line."""
    records: list[bytes] = []
    begun = b""
    for line in lines:
        begun = begun + b"\n" + line if begun else line
        if begun.count(b'"') % 2 == 0:
            records.append(begun)
            begun = b""
    return [*records, begun] if begun else records


def _agree(rows: list[bytes], delimiter: bytes, fields: int, *, whole: bool) -> bool:
    """Say whether nine in ten sampled lines have the first line's number of fields."""
    if len(rows) == 1:
        return whole and fields >= 3
    same = sum(_fields(row, delimiter) == fields for row in rows[1:])
    return same * 10 >= (len(rows) - 1) * 9


def _fields(row: bytes, delimiter: bytes) -> int:
    if b'"' not in row:
        return row.count(delimiter) + 1
    return len(split_header(row, delimiter))


def _plausible(header: tuple[str, ...], rows: int) -> bool:
    """Say whether a first line reads like column names, or like data too wide to be prose or a log.

    Without a name that says CSV this keeps out prose with a comma a line and log lines whose time stamps
    all have one.
    """
    if len(set(header)) == len(header) and all(_COLUMN.match(column.strip()) for column in header):
        return not (len(header) == 2 and header[1].startswith(" "))
    return len(header) >= 3 and rows >= 2 and not any(" " in cell.strip() for cell in header)


def split_header(line: bytes, delimiter: bytes) -> tuple[str, ...]:
    """The fields of one CSV line; quotes are honoured, other bytes than UTF-8 replaced."""
    text = line.decode("utf-8", "replace")
    separator = delimiter.decode()
    if '"' not in text:
        return tuple(text.split(separator))
    try:
        return tuple(next(csv.reader(io.StringIO(text), delimiter=separator), ()))
    except csv.Error:
        return tuple(text.split(separator))
