"""The media type of a file by its content, and what its extension claims.

Decided in this order, from the first 64 KiB only:

1. signatures that no text has (`_SIGNATURES`), data formats among them, which the usual tables miss;
2. text, when it is UTF-8 without control bytes (or an 8-bit text without NUL): XML, JSON, NDJSON, CSV, plain;
3. signatures of a few ASCII letters, which a text could begin with, so only for what is no text;
4. `puremagic`, imported when first needed: 0.3 ms a file.

The name helps only where the content leaves it open: plain text called `.csv` is CSV (a file of one column, or
with a torn row, is still the orders file it was sent as), a single JSON object called `.jsonl` is NDJSON. Where
content and name contradict each other the content wins and `Sniffed.mismatch` says what the name claimed.

Signatures: each format's own specification; zip families by the member names their standards require.
"""

from __future__ import annotations

import csv
import io
import re

import msgspec

HEAD = 64 << 10
"""Bytes of a file that are looked at."""
UNKNOWN = "application/octet-stream"
CSV = "text/csv"
TSV = "text/tab-separated-values"
NDJSON = "application/x-ndjson"
JSON = "application/json"
PLAIN = "text/plain"
ZIP = "application/zip"
XML = "application/xml"
_SAMPLE_LINES = 20
_SAMPLE_BYTES = 16 << 10
_DELIMITERS = (b",", b"\t", b";", b"|")

_OOXML = "application/vnd.openxmlformats-officedocument."
_EXTENSIONS = {
    "csv": CSV,
    "tsv": TSV,
    "tab": TSV,
    "jsonl": NDJSON,
    "ndjson": NDJSON,
    "json": JSON,
    "geojson": JSON,
    "xml": XML,
    "xsd": XML,
    "html": "text/html",
    "htm": "text/html",
    "svg": "image/svg+xml",
    "txt": PLAIN,
    "log": PLAIN,
    "md": "text/markdown",
    "yaml": "application/yaml",
    "yml": "application/yaml",
    "sql": "application/sql",
    "py": "text/x-python",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.file",
    "feather": "application/vnd.apache.arrow.file",
    "orc": "application/vnd.apache.orc",
    "avro": "application/vnd.apache.avro",
    "gz": "application/gzip",
    "tgz": "application/gzip",
    "bz2": "application/x-bzip2",
    "xz": "application/x-xz",
    "zst": "application/zstd",
    "lz4": "application/x-lz4",
    "zip": ZIP,
    "7z": "application/x-7z-compressed",
    "rar": "application/vnd.rar",
    "tar": "application/x-tar",
    "sqlite": "application/vnd.sqlite3",
    "pdf": "application/pdf",
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "bmp": "image/bmp",
    "heic": "image/heic",
    "avif": "image/avif",
    "xlsx": _OOXML + "spreadsheetml.sheet",
    "docx": _OOXML + "wordprocessingml.document",
    "pptx": _OOXML + "presentationml.presentation",
    "xls": "application/vnd.ms-excel",
    "doc": "application/msword",
    "mp4": "video/mp4",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "exe": "application/vnd.microsoft.portable-executable",
}
_TEXT_FAMILY = {JSON, NDJSON, XML, "application/yaml", "application/sql", "image/svg+xml"}
_ZIP_FAMILY = {ZIP} | {media for media in _EXTENSIONS.values() if media.startswith(_OOXML)}
_OLE = "application/x-ole-storage"
_OLE_FAMILY = {_OLE, "application/vnd.ms-excel", "application/msword"}

_SIGNATURES = (
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"\x1f\x8b\x08", "application/gzip"),
    (b"\xfd7zXZ\x00", "application/x-xz"),
    (b"\x04\x22\x4d\x18", "application/x-lz4"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", ZIP),
    (b"PK\x07\x08", ZIP),
    (b"ARROW1\x00\x00", "application/vnd.apache.arrow.file"),
    (b"Obj\x01", "application/vnd.apache.avro"),
    (b"SQLite format 3\x00", "application/vnd.sqlite3"),
    (b"%PDF-", "application/pdf"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _OLE),
    (b"\x7fELF", "application/x-executable"),
)
_WEAK_SIGNATURES = (
    (b"PAR1", "application/vnd.apache.parquet"),
    (b"PARE", "application/vnd.apache.parquet"),
    (b"ORC", "application/vnd.apache.orc"),
    (b"BM", "image/bmp"),
    (b"MZ", "application/vnd.microsoft.portable-executable"),
)
_FIRST_BYTES = frozenset(signature[0] for signature, _ in _SIGNATURES)
_BRANDS = {
    b"avif": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heic",
}
_ZIP_KINDS = (
    (b"xl/", _OOXML + "spreadsheetml.sheet"),
    (b"word/", _OOXML + "wordprocessingml.document"),
    (b"ppt/", _OOXML + "presentationml.presentation"),
)
_TEXT_BYTES = bytes([9, 10, 12, 13, 27, *range(32, 127), *range(128, 256)])
_MARKUP = re.compile(rb"<(?:\?xml\b|!--|!doctype\b|([a-z_][\w:.-]*)[\s/>])", re.IGNORECASE)
_COLUMN = re.compile(r"[^\W\d](?:[\w ,.\-/()#%&$:\[\]]{0,98}[\w)%$\]])?\Z")


class Sniffed(msgspec.Struct, frozen=True):
    """What one file's first bytes say."""

    media: str
    mismatch: str = ""
    """The media type its name claims, when the content is something else."""
    charset: str = ""
    """Empty for UTF-8 and for what is no text; else `utf-16` or `unknown-8bit`."""
    delimiter: str = ""
    """Of a CSV: the character between its fields."""
    header: tuple[str, ...] = ()
    """Of a CSV: the fields of its first line; of NDJSON: the keys of its first record."""


def extension_type(name: bytes) -> str:
    """The media type a name's extension claims; empty when it has none we know."""
    stem, dot, extension = name.rpartition(b".")
    if not (stem and dot) or len(extension) > 8:
        return ""
    return _EXTENSIONS.get(extension.lower().decode("ascii", "replace"), "")


def sniff(head: bytes, name: bytes = b"") -> Sniffed:
    """The media type of a file whose first bytes are `head`, called `name`. Never raises.

    `head` is cut to 64 KiB. Under 100 us for a small text file.
    """
    head = head[:HEAD]
    claimed = extension_type(name)
    media = _signature(head)
    if media:
        return Sniffed(media, _mismatch(media, claimed))
    charset = _charset(head)
    if charset is not None:
        found = _text(head, claimed, charset)
        return Sniffed(
            found.media,
            _mismatch(found.media, claimed),
            charset,
            found.delimiter,
            found.header,
        )
    media = _binary(head)
    return Sniffed(media, _mismatch(media, claimed))


def _signature(head: bytes) -> str:
    if head and head[0] in _FIRST_BYTES:
        for signature, media in _SIGNATURES:
            if head.startswith(signature):
                return _zip_kind(head) if media == ZIP else media
    if head.startswith(b"BZh") and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return "application/x-bzip2"
    if head.startswith(b"RIFF") and len(head) >= 12:
        kind = head[8:12]
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(kind, "")
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    if head[257:262] == b"ustar":
        return "application/x-tar"
    return ""


def _zip_kind(head: bytes) -> str:
    if b"[Content_Types].xml" in head:
        for member, media in _ZIP_KINDS:
            if member in head:
                return media
    if head[30:38] == b"mimetype":  # OpenDocument and EPUB store their type first, uncompressed
        size = int.from_bytes(head[18:22], "little")
        extra = int.from_bytes(head[28:30], "little")
        kind = head[38 + extra : 38 + extra + size]
        if 0 < size < 100 and kind.isascii() and b"/" in kind:
            return kind.decode()
    return ZIP


def _binary(head: bytes) -> str:
    for signature, media in _WEAK_SIGNATURES:
        if head.startswith(signature):
            return media
    import puremagic  # noqa: PLC0415 -- its tables take 10 ms to load, and few files get here

    try:
        found = puremagic.from_string(head, mime=True)
    except (puremagic.PureError, ValueError):
        return UNKNOWN
    return found if "/" in found else UNKNOWN


def _charset(head: bytes) -> str | None:
    """`` for UTF-8, a name for another text encoding, None for what is no text."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if head.translate(None, _TEXT_BYTES):
        return None
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3 or len(head) < HEAD:
            return "unknown-8bit" if _looks_8bit(head) else None
    return ""


def _looks_8bit(head: bytes) -> bool:
    """Say whether high bytes are few enough to be letters of a Western text: at most a third."""
    high = len(head) - len(head.translate(None, bytes(range(128, 256))))
    return high * 3 <= len(head)


def _text(head: bytes, claimed: str, charset: str) -> Sniffed:
    if charset == "utf-16":
        return Sniffed(claimed if _is_textual(claimed) else PLAIN)
    body = head.removeprefix(b"\xef\xbb\xbf")
    start = body[:512].lstrip()[:256]
    first = start[:1]
    if first in (b"{", b"["):
        media = _json(body, claimed)
        if media == NDJSON:
            return Sniffed(media, header=_first_keys(body))
        if media:
            return Sniffed(media)
    elif first == b"<":
        media = _markup(start, claimed)
        if media:
            return Sniffed(media)
    tabular = _table(body, claimed)
    if tabular is not None:
        return tabular
    return Sniffed(claimed if _is_textual(claimed) else PLAIN)


def _json(body: bytes, claimed: str) -> str:
    """NDJSON, JSON or nothing: by decoding the first line, and all of it when that is not enough."""
    stripped = body.lstrip()
    line, newline, rest = stripped.partition(b"\n")
    if not newline and len(body) >= HEAD - 3:
        # A first line longer than what we look at: only the name can tell.
        return NDJSON if claimed == NDJSON else JSON
    if _decodes(line):
        follower = rest.lstrip()[:1]
        if line.startswith(b"{") and (follower == b"{" or (claimed == NDJSON and not follower)):
            return NDJSON
        return JSON if not follower else NDJSON if claimed == NDJSON else ""
    if len(body) >= HEAD - 3 or _decodes(stripped):
        return JSON
    return ""


def _decodes(data: bytes) -> bool:
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _first_keys(body: bytes) -> tuple[str, ...]:
    try:
        record = msgspec.json.decode(body.lstrip().partition(b"\n")[0])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ()
    return tuple(record) if isinstance(record, dict) else ()


def _markup(start: bytes, claimed: str) -> str:
    match = _MARKUP.match(start)
    if match is None:
        return ""
    lowered = start.lower()
    if lowered.startswith((b"<!doctype html", b"<html")):
        return "text/html"
    if b"<svg" in lowered:
        return "image/svg+xml"
    if lowered.startswith(b"<?xml"):
        return claimed if claimed == "text/html" else XML
    return claimed if claimed in (XML, "text/html", "image/svg+xml") else XML


def _table(body: bytes, claimed: str) -> Sniffed | None:
    """CSV, when the lines agree on a delimiter (or the name says CSV)."""
    expected = claimed in (CSV, TSV)
    if not body.strip() and not expected:
        return None
    rows, whole = _sample(body)
    if not rows:
        return Sniffed(claimed) if expected else None
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
    return Sniffed(media, delimiter=best.decode(), header=header)


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


def _is_textual(media: str) -> bool:
    return media.startswith("text/") or media in _TEXT_FAMILY


def _mismatch(media: str, claimed: str) -> str:
    """`claimed` when the content contradicts it; a more general or a more special type does not."""
    if not claimed or media in (claimed, UNKNOWN):
        return ""
    if claimed == PLAIN and _is_textual(media):
        return ""
    for family in (_ZIP_FAMILY, _OLE_FAMILY):
        if media in family and claimed in family:
            general = ZIP if family is _ZIP_FAMILY else _OLE
            return "" if general in (media, claimed) else claimed
    if {media, claimed} <= {CSV, TSV}:
        return ""
    if {media, claimed} == {JSON, NDJSON} or {media, claimed} == {XML, "text/html"}:
        return ""
    return claimed
