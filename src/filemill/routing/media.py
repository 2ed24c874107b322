"""Media types: what a name's extension claims, what binary signatures prove, and when the two contradict.

Signatures are those of each format's own specification; zip families are told by the member names their standards
require. Data formats are here because the usual tables miss them.
"""

from __future__ import annotations

UNKNOWN = "application/octet-stream"
CSV = "text/csv"
TSV = "text/tab-separated-values"
NDJSON = "application/x-ndjson"
JSON = "application/json"
PLAIN = "text/plain"
ZIP = "application/zip"
XML = "application/xml"
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
_TEXT_FAMILY = {JSON, NDJSON, XML, "application/yaml", "application/sql", "image/svg+xml"}


def extension_type(name: bytes) -> str:
    """The media type a name's extension claims; empty when it has none we know."""
    stem, dot, extension = name.rpartition(b".")
    if not (stem and dot) or len(extension) > 8:
        return ""
    return _EXTENSIONS.get(extension.lower().decode("ascii", "replace"), "")


def by_signature(head: bytes) -> str:
    """The type of a file that begins as no text does; empty when nothing is proven."""
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


def by_weak_signature(head: bytes) -> str:
    """The type of what is known to be no text, also by signatures a text could begin with."""
    for signature, media in _WEAK_SIGNATURES:
        if head.startswith(signature):
            return media
    import puremagic  # noqa: PLC0415 -- its tables take 10 ms to load, and few files get here

    try:
        found = puremagic.from_string(head, mime=True)
    except (puremagic.PureError, ValueError):
        return UNKNOWN
    return found if "/" in found else UNKNOWN


def is_textual(media: str) -> bool:
    """Say whether files of that type are text."""
    return media.startswith("text/") or media in _TEXT_FAMILY


def contradicted(media: str, claimed: str) -> str:
    """`claimed` when the content contradicts it; a more general or a more special type does not."""
    if not claimed or media in (claimed, UNKNOWN):
        return ""
    if claimed == PLAIN and is_textual(media):
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
