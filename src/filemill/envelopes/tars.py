"""Tar, read strictly in sequence: ustar, GNU long names, pax headers. What is neither file nor folder is refused.

Python's own tarfile has been talked into endless loops and out of its folder. This reader goes forward only, so it
ends with its input; it makes no file and follows nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from filemill.envelopes.compression import OUT, Damaged
from filemill.envelopes.entries import Refused, entry_path, refuse_kind, shown_name

BLOCK = 512
_ZEROS = bytes(BLOCK)
_META = 1 << 20
"""Most bytes of a header that carries a name or other facts."""
_FILES = frozenset((b"0", b"\0", b"7"))
_FOLDER = b"5"
_META_KINDS = frozenset((b"L", b"K", b"x", b"g"))
_WHAT = {
    b"1": "a link to another entry",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a FIFO",
    b"S": "a sparse file",
}
_CUT = "it was cut on its way: have it sent again"

Entry = tuple[bytes, Iterator[bytes]]
"""(path, its bytes); they must be read before the next entry is asked for."""


class _Source:
    """Bytes in sequence, with their place."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self.at = 0

    def some(self, most: int) -> bytes:
        data = self._read(most)
        self.at += len(data)
        return data

    def exactly(self, wanted: int) -> bytes:
        """So many bytes.

        Raises:
            Damaged: the archive ends before.
        """
        parts: list[bytes] = []
        missing = wanted
        while missing:
            data = self.some(missing)
            if not data:
                raise Damaged(f"the tar archive ends early, at byte {self.at:,}", help=_CUT)
            parts.append(data)
            missing -= len(data)
        return b"".join(parts)


def is_tar(head: bytes) -> bool:
    """Say whether the first 512 bytes are a tar header, or the end of an empty archive."""
    return len(head) >= BLOCK and (head[:BLOCK] == _ZEROS or _sum_fits(head[:BLOCK]))


def entries(read: Callable[[int], bytes]) -> Iterator[Entry]:
    """Every regular file, in order. `read(n)` answers with at most n bytes of the plain archive, none at its end.

    Raises:
        Damaged: it is cut, damaged, or followed by something else.
        Refused: an entry is a link, a device, sparse, or has a path that is never taken.
    """
    source = _Source(read)
    for member in _members(source):
        path = _path_of(member)
        data = _data(source, member.size)
        if path:
            yield path, data
        for _ in data:  # a folder's, if it has any, and what nobody has read of a file
            pass


class _Member(NamedTuple):
    name: bytes
    kind: bytes
    size: int
    begins: int


def _members(source: _Source) -> Iterator[_Member]:
    """Every entry's header, with what the headers before it say of it; its data must be read before the next one."""
    long_name = b""
    facts: dict[bytes, bytes] = {}
    while True:
        begins = source.at
        header = source.exactly(BLOCK)
        if header == _ZEROS:
            _end(source)
            return
        if not _sum_fits(header):
            message = f"the tar header at byte {begins:,} is damaged"
            raise Damaged(message, help="have the file sent again")
        size, kind = _number(header[124:136], begins), header[156:157]
        if kind in _META_KINDS:
            data = _meta(source, size, begins)
            if kind == b"L":
                long_name = data.rstrip(b"\0")
            elif kind == b"x":
                facts |= _pax(data, begins)
            continue
        name = facts.get(b"path") or long_name or _name(header)
        if any(key.startswith(b"GNU.sparse") for key in facts):
            raise refuse_kind(name, _WHAT[b"S"])
        if b"size" in facts:
            size = _decimal(facts[b"size"], begins)
        long_name, facts = b"", {}
        yield _Member(name, kind, size, begins)


def _path_of(member: _Member) -> bytes:
    """The path of a regular file; empty for a folder.

    Raises:
        Refused: it is neither, or has a path that is never taken.
    """
    path = entry_path(member.name)
    if member.kind == _FOLDER or (member.kind in _FILES and member.name.endswith(b"/")):
        return b""
    if member.kind not in _FILES:
        what = _WHAT.get(member.kind, f"of the unknown kind {member.kind!r}")
        raise refuse_kind(member.name, what)
    if not path:
        message = f"the file at byte {member.begins:,} has no name"
        raise Refused(message, help="have it packed anew")
    return path


def _data(source: _Source, size: int) -> Iterator[bytes]:
    """An entry's bytes, and past them its padding."""
    left = size
    while left:
        piece = source.exactly(min(left, OUT))
        left -= len(piece)
        yield piece
    source.exactly(-size % BLOCK)


def _end(source: _Source) -> None:
    """Behind the first block of zeros: zeros, and nothing else.

    Raises:
        Damaged: something else follows; what it is, nobody would ever see.
    """
    begins = source.at - BLOCK
    while piece := source.some(OUT):
        if piece.strip(b"\0"):
            at = source.at - len(piece.lstrip(b"\0"))
            raise Damaged(
                f"bytes follow the end of the tar archive, which is at byte {begins:,}, from byte {at:,}",
                help="two archives in one file? unpack reads one; have them sent apart",
            )


def _meta(source: _Source, size: int, begins: int) -> bytes:
    if size > _META:
        raise Damaged(
            f"the tar header at byte {begins:,} carries {size:,} bytes of facts",
            help="no program writes so much: have the file sent again",
        )
    return b"".join(_data(source, size))


def _sum_fits(header: bytes) -> bool:
    """The sum of all bytes, its own field taken as spaces; some old programs summed signed ones."""
    try:
        said = int(header[148:156].strip(b" \0") or b"x", 8)
    except ValueError:
        return False
    rest = header[:148] + b" " * 8 + header[156:]
    return said == sum(rest) or said == sum(byte - 256 if byte > 127 else byte for byte in rest)


def _name(header: bytes) -> bytes:
    name = header[:100].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0" and (prefix := header[345:500].split(b"\0", 1)[0]):
        return prefix + b"/" + name
    return name


def _number(field: bytes, begins: int) -> int:
    """An octal number, or GNU's binary one for what is bigger."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        raise _bad_number(begins) from None


def _decimal(text: bytes, begins: int) -> int:
    if not text.isdigit() or len(text) > 20:
        raise _bad_number(begins)
    return int(text)


def _bad_number(begins: int) -> Damaged:
    message = f"the tar header at byte {begins:,} has a size that is no number"
    return Damaged(message, help="have the file sent again")


def _pax(data: bytes, begins: int) -> dict[bytes, bytes]:
    """The records of a pax header: length, space, key, `=`, value, line feed."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        digits, space, _ = data[at : at + 20].partition(b" ")
        length = int(digits) if space and digits.isdigit() else 0
        record = data[at : at + length]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if not equals or len(record) != length or record[-1:] != b"\n":
            raise Damaged(
                f"the pax header at byte {begins:,} is damaged near {shown_name(data[at : at + 20])}",
                help="have the file sent again",
            )
        found[key] = value
        at += length
    return found
