"""Compressing outputs as they are staged: gzip and zstd, the same bytes at every attempt.

A coder takes a stream in pieces of any size and gives it back compressed. What comes out depends on the stream alone:
pieces are gathered into blocks of one size before the library sees them, and neither format's header names a time, a
file or a machine. Everything a coder knows is its own, so the members (gzip) or frames (zstd) that several of them made
can stand one behind the other: both formats read such a chain as one stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

Compression = Literal["gz", "zst"]
_BLOCK = 1 << 20
_GZIP_LEVEL = 2
"""Of igzip's 0 to 3: about zlib's level 3, at several times its speed."""
_GZIP_WINDOW = 31
"""The largest window, in a gzip wrapper."""
_ZSTD_LEVEL = 3


class _Stream(Protocol):
    def compress(self, data: bytes) -> bytes: ...

    def flush(self) -> bytes: ...


class Coder:
    """One output's compression. Used by one thread at a time."""

    __slots__ = ("_compression", "_stream", "_waiting")

    def __init__(self, compression: Compression) -> None:
        self._compression = compression
        self._stream = _gzip() if compression == "gz" else _zstd()
        self._waiting = bytearray()

    def encode(self, pieces: Sequence[memoryview]) -> list[memoryview]:
        """What these pieces add to the compressed stream; some of them may wait for more."""
        made: list[memoryview] = []
        waiting = self._waiting
        for piece in pieces:
            at = 0
            while at < len(piece):
                more = min(_BLOCK - len(waiting), len(piece) - at)
                waiting += piece[at : at + more]
                at += more
                if len(waiting) == _BLOCK:
                    self._add(made, self._stream.compress(bytes(waiting)))
                    waiting.clear()
        return made

    def end(self) -> list[memoryview]:
        """The rest: after it the stream is whole, and the coder is done."""
        made: list[memoryview] = []
        if self._waiting:
            self._add(made, self._stream.compress(bytes(self._waiting)))
            self._waiting.clear()
        self._add(made, self._stream.flush())
        return made

    def apart(self, data: bytes) -> bytes:
        """Some bytes as a compressed stream of their own."""
        coder = Coder(self._compression)
        return b"".join([*coder.encode([memoryview(data)]), *coder.end()])

    @staticmethod
    def _add(made: list[memoryview], data: bytes) -> None:
        if data:
            made.append(memoryview(data))


def _gzip() -> _Stream:
    from isal import isal_zlib  # noqa: PLC0415 -- only where something is compressed

    stream: _Stream = isal_zlib.compressobj(_GZIP_LEVEL, isal_zlib.DEFLATED, _GZIP_WINDOW)
    return stream


def _zstd() -> _Stream:
    """With a checksum, as the `zstd` command writes it, so that damage is noticed."""
    import sys  # noqa: PLC0415

    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415
    else:
        from backports import zstd  # noqa: PLC0415
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: _ZSTD_LEVEL,
        zstd.CompressionParameter.checksum_flag: 1,
    }
    stream: _Stream = zstd.ZstdCompressor(options=options)
    return stream
