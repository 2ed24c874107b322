"""The bytes of a file as readers meet them: whole small files, first looks, last lines."""

from __future__ import annotations

import os

from filemill.model.errors import PermanentError
from filemill.records.layout import Layout


def read_whole(path: bytes, size: int) -> bytes:
    """All bytes of a small file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, size + 1)
        if len(data) == size:
            return data
        parts = [data]
        while part := os.read(descriptor, 1 << 20):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def finished(body: bytes, layout: Layout) -> bytes:
    """The body with its last line's ending, as the file's lines end, so that its last record is like the others."""
    if body.endswith(b"\n"):
        return body
    if layout.dialect.crlf and not body.endswith(b"\r"):
        return body + b"\r\n"
    return body + b"\n"


def refuse_foreign(peek: bytes) -> None:
    """Refuse what is plainly not UTF-8 text, by its first bytes.

    Raises:
        PermanentError: a UTF-16 or UTF-32 mark, or a NUL in every tenth byte or more.
    """
    if peek.startswith((b"\xff\xfe", b"\xfe\xff")):
        what = "starts with the mark of UTF-16"
    elif peek.count(b"\0") * 10 > len(peek):
        what = "is full of NUL bytes, as UTF-16 or binary data is"
    else:
        return
    raise PermanentError(
        f"the file is not UTF-8: it {what}", help="add `transcode` before the step that reads it"
    )


def first_line_ends_crlf(block: bytes, *, final: bool, limit: int) -> bool | None:
    """Say whether the first line ends in CR LF; None if that takes more bytes."""
    end = block.find(b"\n")
    if end < 0:
        return False if final or len(block) > limit + 1 else None
    return end > 0 and block[end - 1] == 0x0D
