"""Compressed bytes to plain ones: gz, zst, bz2 and xz, whole or not at all.

A compressed file is one or more *members* (gzip's word; frames and streams elsewhere), one behind the other, and
stands for all of them joined. What is read here is checked to the last byte: a member that ends too early, a
checksum that does not fit, bytes behind the last member that begin no other one, each is an error that names the byte.
A budget is asked before every piece that is handed on, so that a bomb ends long before it has filled a disk.

gzip goes through igzip, which checks what zlib checks, faster. It misreads a header with several optional fields that
is cut by the end of a piece; such members go through zlib.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol, cast

from filemill.model.errors import PermanentError

MAGIC = {
    "gz": (b"\x1f\x8b\x08",),
    "zst": (b"\x28\xb5\x2f\xfd", *(b"%c\x2a\x4d\x18" % number for number in range(0x50, 0x60))),
    "bz2": tuple(
        b"BZh%d%b" % (level, block)
        for level in range(1, 10)
        for block in (b"\x31\x41\x59\x26\x53\x59", b"\x17\x72\x45\x38\x50\x90")
    ),
    "xz": (b"\xfd7zXZ\x00",),
}
"""How a member of each format begins."""
NAMES = {"gz": "gzip", "zst": "zstd", "bz2": "bzip2", "xz": "xz"}
HEAD = 10
"""Bytes that `kind_of` wants to see."""
PIECE = 256 << 10
"""Bytes read at a time."""
OUT = 1 << 20
"""Most bytes of one piece that is handed on: what a budget can be exceeded by in memory."""
FREE = 64 << 20
"""Bytes below which no ratio is looked at: a small file of zeros is no bomb."""
_XZ_MEMORY = 256 << 20
_ZST_WINDOW = 27
"""Largest window of a zstd frame, as a power of two (128 MiB): what `zstd` itself accepts."""
_PADDED = {"gz": 1, "xz": 4}
"""Formats that may have zero bytes behind the last member, and of how many their number is a multiple."""
_GZ_ONE_FIELD = frozenset({0, 4, 8, 16})


class Damaged(PermanentError):
    """Bytes that are not what their format demands, or that end too early."""


class OverBudget(PermanentError):
    """More bytes came out than a step may make."""


class Budget:
    """How much may come out of one file, in bytes and as a multiple of what went in."""

    def __init__(self, most: int, ratio: float, what: str = "the file") -> None:
        self.most = most
        self.ratio = ratio
        self.what = what
        self.made = 0

    def spend(self, made: int, taken: int) -> None:
        """Count `made` more bytes; `taken` are all bytes read so far.

        Raises:
            OverBudget: that is too much.
        """
        self.made += made
        if self.made > self.most:
            from filemill.ports.units import format_size  # noqa: PLC0415 -- brings pydantic: only to say it

            raise OverBudget(
                f"{self.what} unpacks to more than {format_size(self.most)}",
                help="if that is right, raise `max_size` of this step",
            )
        if self.made > FREE and self.made > self.ratio * taken:
            raise OverBudget(
                f"{self.what} unpacks to more than {self.ratio:g} times its size "
                f"({self.made:,} bytes out of the first {taken:,})",
                help="it may be a bomb; if it is right, raise `max_ratio` of this step",
            )


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes: ...


class _Zlib:
    """zlib's decompressor with the manners of the others."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        made = self._inner.decompress(self._inner.unconsumed_tail + data, max(max_length, 0))
        self.needs_input = len(made) < max_length and not self._inner.unconsumed_tail
        return made


def kind_of(head: bytes) -> str:
    """The format by the first bytes (`gz`, `zst`, `bz2`, `xz`); empty for anything else."""
    for kind, beginnings in MAGIC.items():
        if head.startswith(beginnings):
            return kind
    return ""


def expand(read: Callable[[int], bytes], kind: str, budget: Budget) -> Iterator[bytes]:
    """The plain bytes of all members, piece by piece; only when it ends without an error were they all.

    `read(n)` answers with at most n bytes, with none at the end.

    Raises:
        Damaged: see the module; the message names the byte.
        OverBudget: see `Budget`.
    """
    return _Members(read, kind, budget).pieces()


class _Members:
    def __init__(self, read: Callable[[int], bytes], kind: str, budget: Budget) -> None:
        self._read = read
        self._kind = kind
        self._budget = budget
        self._waiting = b""
        """Read and not yet given to a decompressor."""
        self._taken = 0
        """Bytes read of the file."""

    @property
    def _at(self) -> int:
        return self._taken - len(self._waiting)

    def pieces(self) -> Iterator[bytes]:
        number = 0
        while self._fill(HEAD):
            number += 1
            if not self._waiting.startswith(MAGIC[self._kind]):
                self._end(number)
                return
            yield from self._member(number)

    def _fill(self, wanted: int) -> bool:
        """Have at least so many bytes waiting, or all that are left; False when there are none."""
        while len(self._waiting) < wanted and (more := self._more()):
            self._waiting += more
        return bool(self._waiting)

    def _more(self) -> bytes:
        more = self._read(PIECE)
        self._taken += len(more)
        return more

    def _member(self, number: int) -> Iterator[bytes]:
        begins = self._at
        inner = self._decompressor(begins)
        data, self._waiting = self._waiting, b""
        given = begins
        while not inner.eof:
            if inner.needs_input and not data and not (data := self._more()):
                raise Damaged(
                    f"the {NAMES[self._kind]} data ends early, at byte {self._taken:,}: "
                    f"member {number}, which begins at byte {begins:,}, is not whole",
                    help="it was cut on its way: have it sent again",
                )
            if data:
                given = self._taken - len(data)
            try:
                made = inner.decompress(data, OUT)
            except MemoryError:
                raise _too_wide(self._kind) from None
            except Exception as error:
                if not isinstance(error, _errors()):
                    raise
                if "memory" in str(error).lower():
                    raise _too_wide(self._kind) from None
                raise Damaged(
                    f"the {NAMES[self._kind]} data is damaged between byte {given:,} and byte {self._taken:,} "
                    f"(member {number}, which begins at byte {begins:,}): {_said(error)}",
                    help="have the file sent again",
                ) from None
            data = b""
            if made:
                self._budget.spend(len(made), self._taken)
                yield made
        self._waiting = inner.unused_data

    def _decompressor(self, begins: int) -> _Decompressor:
        match self._kind:
            case "gz":
                return self._gunzip(begins)
            case "zst":
                from backports import zstd  # noqa: PLC0415 -- only who reads zstd pays for it

                limit = {int(zstd.DecompressionParameter.window_log_max): _ZST_WINDOW}
                return zstd.ZstdDecompressor(options=limit)
            case "bz2":
                return bz2.BZ2Decompressor()
            case _:
                return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)

    def _gunzip(self, begins: int) -> _Decompressor:
        flags = self._waiting[3] if len(self._waiting) > 3 else 0
        if flags & 0xE0:
            raise Damaged(
                f"the gzip header at byte {begins:,} has flags that no program knows",
                help="have the file sent again",
            )
        if flags & ~1 not in _GZ_ONE_FIELD:
            return _Zlib()
        from isal import igzip_lib  # noqa: PLC0415 -- only who reads gzip pays for it

        inner: _Decompressor = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        return inner

    def _end(self, number: int) -> None:
        """What stands behind the last member begins no other: padding, or an error."""
        begins = self._at
        length = 0
        while self._waiting and not self._waiting.strip(b"\0"):
            length += len(self._waiting)
            self._waiting = b""
            self._fill(1)
        multiple = _PADDED.get(self._kind, 0)
        if number > 1 and multiple and not self._waiting and length % multiple == 0:
            return
        if number == 1:
            raise Damaged(
                f"this is no {NAMES[self._kind]} data (byte 0)",
                help="leave `format` away: what is compressed, and how, is seen from its bytes",
            )
        at = self._at if multiple and self._waiting else begins
        at += len(self._waiting) - len(self._waiting.lstrip(b"\0")) if multiple else 0
        raise Damaged(
            f"bytes that are no {NAMES[self._kind]} data follow the last member, from byte {at:,}",
            help="something was appended to the file, or its rest was overwritten: have it sent again",
        )


def _errors() -> tuple[type[Exception], ...]:
    """What decompressors raise; the foreign ones' errors derive from nothing common."""
    from backports import zstd  # noqa: PLC0415 -- see above
    from isal import igzip_lib  # noqa: PLC0415 -- see above

    igzip = cast("type[Exception]", igzip_lib.IsalError)  # its stub says that it is an instance
    return (OSError, EOFError, zlib.error, lzma.LZMAError, zstd.ZstdError, igzip)


def _too_wide(kind: str) -> OverBudget:
    return OverBudget(
        f"the {NAMES[kind]} data wants more memory than a step may take",
        help="have it packed with a smaller window or dictionary (256 MiB for xz, 128 MiB for zstd)",
    )


def _said(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    for beginning in ("Unable to decompress Zstandard data: ", "Error -"):
        head, found, rest = text.partition(beginning)
        if found and not head:
            text = rest.partition(" ")[2] if beginning == "Error -" else rest
    return text[:1].lower() + text[1:]
