"""Zip: Python's reader for the compression, our own eyes for everything else.

Looked at before a byte is unpacked: that the end record is the end of the file, how many entries there are, that no two
share bytes (how the worst bombs are made), that none is encrypted, a link or a device, and what they say their sizes
are. What they say is not believed: bytes are counted as they come out.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from filemill.envelopes.compression import OUT, Budget, Damaged, OverBudget
from filemill.envelopes.entries import Limits, Refused, entry_path, refuse_kind, shown_name
from filemill.envelopes.tars import Entry

MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_END = b"PK\x05\x06"
_END_SIZE = 22
_LOCAL_SIZE = 30
_MOST_COMMENT = 65_535
_LONGEST_ENTRY = 1_536
"""Bytes of the directory that an entry with an acceptable name takes at most, roughly."""
_ZIP64 = 0xFFFFFFFF
"""In place of a size that stands elsewhere; the walk's limits of memory and time hold those."""
_ENCRYPTED = 0x2041
"""Flag bits of an encrypted entry, of strong encryption, of a masked directory."""
_UTF8 = 0x800
_METHODS = frozenset(
    (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
)
_AGAIN = "have the file sent again"


def entries(source: BinaryIO, limits: Limits) -> Iterator[Entry]:
    """Every regular file, in the order of the directory.

    Raises:
        Damaged: it is cut or damaged, or an entry is not what the directory says.
        Refused: an entry is encrypted, a link, a device, packed by an unknown method, or its path is never taken.
        OverBudget: it says that it is more than the limits allow.
    """
    size = os.fstat(source.fileno()).st_size
    _check_end(source.fileno(), size, limits)
    try:
        archive = zipfile.ZipFile(source)
    except (
        zipfile.BadZipFile,
        UnicodeDecodeError,
        ValueError,
        NotImplementedError,
        struct.error,
    ) as e:
        raise Damaged(f"the zip archive's directory cannot be read: {e}", help=_AGAIN) from None
    infos = archive.infolist()
    if len(infos) > limits.entries:
        raise OverBudget(
            f"the archive has {len(infos):,} entries, more than {limits.entries:,}",
            help="if that is right, raise `max_entries` of this step",
        )
    for info in infos:
        _check(info)
    _check_apart(source.fileno(), infos, archive.start_dir)
    # What it says, before anything is written; a budget of its own counts what comes out.
    Budget(limits.size, limits.ratio, "the archive").spend(sum(i.file_size for i in infos), size)
    for info in infos:
        path = entry_path(_raw_name(info))
        if not info.is_dir():
            if not path:
                raise Refused("an entry has no name", help="have it packed anew")
            yield path, _data(archive, info)


def _check_end(descriptor: int, size: int, limits: Limits) -> None:
    begins = max(0, size - _END_SIZE - _MOST_COMMENT)
    tail = os.pread(descriptor, size - begins, begins)
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_SIZE:
        raise Damaged(
            f"the zip archive has no end record: it ends early, at byte {size:,}",
            help="it was cut on its way: have it sent again",
        )
    directory = int.from_bytes(tail[at + 12 : at + 16], "little")
    if directory != _ZIP64 and directory > limits.entries * _LONGEST_ENTRY:
        raise OverBudget(
            f"the archive has more than {limits.entries:,} entries",
            help="if that is right, raise `max_entries` of this step",
        )
    ends = begins + at + _END_SIZE + int.from_bytes(tail[at + 20 : at + 22], "little")
    if ends != size:
        raise Damaged(
            f"the zip archive ends at byte {ends:,}, the file at byte {size:,}", help=_AGAIN
        )


def _check(info: zipfile.ZipInfo) -> None:
    raw = _raw_name(info)
    entry_path(raw)
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        raise refuse_kind(raw, "a symbolic link")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise refuse_kind(raw, "a device, a FIFO or a socket")
    if info.flag_bits & _ENCRYPTED:
        raise Refused(
            f"entry {shown_name(raw)} is encrypted",
            help="filemill knows no passwords of archives: decrypt it before it is dropped, or have it sent plain",
        )
    if info.compress_type not in _METHODS:
        raise Refused(
            f"entry {shown_name(raw)} is packed by method {info.compress_type}, which is not supported",
            help="have it packed by deflate, bzip2 or lzma, or stored",
        )


def _check_apart(descriptor: int, infos: list[zipfile.ZipInfo], directory: int) -> None:
    """No two entries share bytes, and none reaches into the directory."""
    ordered = sorted(infos, key=lambda info: info.header_offset)
    ends = 0
    for info in ordered:
        name = shown_name(_raw_name(info))
        if info.header_offset < ends:
            raise Refused(
                f"entry {name} shares its bytes with another one",
                help="this is how bombs are made; nothing of the archive is taken",
            )
        local = os.pread(descriptor, _LOCAL_SIZE, info.header_offset)
        if len(local) < _LOCAL_SIZE or not local.startswith(MAGIC[0]):
            raise Damaged(
                f"entry {name} is not at byte {info.header_offset:,}, where it should be",
                help=_AGAIN,
            )
        names = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
        ends = info.header_offset + _LOCAL_SIZE + names + info.compress_size
    if ends > directory:
        raise Damaged("the last entry reaches into the archive's directory", help=_AGAIN)


def _data(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    name = shown_name(_raw_name(info))
    made = 0
    try:
        with archive.open(info) as stream:
            while piece := stream.read(OUT):
                made += len(piece)
                yield piece
    except (
        zipfile.BadZipFile,
        EOFError,
        zlib.error,
        OSError,
        ValueError,
        NotImplementedError,
    ) as e:
        if isinstance(e, OSError) and e.errno is not None:
            raise
        raise Damaged(f"entry {name} is damaged: {e}", help=_AGAIN) from None
    if made != info.file_size:
        raise Damaged(
            f"entry {name} has {made:,} bytes where {info.file_size:,} are said", help=_AGAIN
        )


def _raw_name(info: zipfile.ZipInfo) -> bytes:
    """The name's bytes as they are in the archive."""
    return info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437")
