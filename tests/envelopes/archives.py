"""Archives as people and attackers make them."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

FILES = {
    b"a.csv": b"id\n1\n",
    b"deep/er/b.csv": b"id\n2\n" * 50_000,
    b"empty": b"",
    "Zürich.csv".encode(): b"x",
    b"n" * 200 + b"/" + b"m" * 150: b"long",
}


def zipped(files: Mapping[str, bytes] | Sequence[tuple[str, bytes]], method: int = 8) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items() if isinstance(files, Mapping) else files:
            archive.writestr(name, data)
    return out.getvalue()


def zipped_entry(name: str, data: bytes = b"", mode: int = 0, **changes: Any) -> bytes:
    """One entry with a mode and other facts."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        for key, value in changes.items():
            setattr(info, key, value)
        archive.writestr(info, data)
    return out.getvalue()


def renamed(archive: bytes, before: bytes, after: bytes) -> bytes:
    """The same archive with another name of equal length in every place."""
    assert len(before) == len(after)
    return archive.replace(before, after)


def tarred(
    files: Mapping[bytes, bytes], form: int = tarfile.PAX_FORMAT, folders: Sequence[str] = ()
) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, encoding="utf-8") as archive:
        for folder in folders:
            info = tarfile.TarInfo(folder)
            info.type = tarfile.DIRTYPE
            archive.addfile(info)
        for name, data in files.items():
            info = tarfile.TarInfo(name.decode("utf-8", "surrogateescape"))
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def tarred_entry(name: str, kind: bytes, target: str = "", **facts: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.pax_headers = kind, target, facts
        archive.addfile(info)
    return out.getvalue()


def overlapping(entries: int = 200, zeros: int = 4 << 20) -> bytes:
    """A zip bomb of few bytes: every entry of the directory is the same stretch of the file."""
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = packed.compress(bytes(zeros)) + packed.flush()
    sums = struct.pack("<III", zlib.crc32(bytes(zeros)), len(body), zeros)
    local = b"PK\x03\x04" + struct.pack("<HHHHH", 20, 0, 8, 0, 33) + sums + struct.pack("<HH", 1, 0)
    directory = b"".join(
        b"PK\x01\x02"
        + struct.pack("<HHHHHH", 20, 20, 0, 8, 0, 33)
        + sums
        + struct.pack("<HHHHHII", 1, 0, 0, 0, 0, 0, 0)
        + b"a"
        for _ in range(entries)
    )
    at = len(local) + 1 + len(body)
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, entries, entries, len(directory), at, 0)
    return local + b"a" + body + directory + end


def lying(zeros: int, said: int = 10) -> bytes:
    """A zip whose only entry says that it has `said` bytes."""
    whole = zipped({"a": bytes(zeros)})
    return whole.replace(struct.pack("<I", zeros), struct.pack("<I", said))


def endless_tar() -> bytes:
    """A tar header whose size would lead a careless reader backwards, again and again."""
    header = bytearray(tarred({b"a": b""})[:512])
    header[124:136] = b"\xff" * 11 + b"\x00"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(1024)


def tgz(files: Mapping[bytes, bytes]) -> bytes:
    return gzip.compress(tarred(files))
