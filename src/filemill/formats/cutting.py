"""Where a big file may be cut into chunks: only where a record ends, as far as a quick look can tell.

Where nothing is quoted, a record ends at every line ending, so only the bytes around each cut are looked at. With
quotes, a line ending counts where the quotes before it are even in number: one pass that counts them, at memory speed.
A stray quote in a cell that is not quoted makes that guess wrong; whoever reads the chunk finds out.
"""

from __future__ import annotations

from filemill.ports.step import Opened

_LOOK = 64 << 10
_BLOCK = 4 << 20


def cut_lines(opened: Opened, begins: int, size: int, chunk: int) -> list[int]:
    """Ends of chunks of about `chunk` bytes, each behind a LF, the file's size last.

    Records begin at byte `begins`; no chunk ends before the first of them.
    """
    ends: list[int] = []
    at = 0
    while at + chunk < size:
        end = _behind_newline(opened, max(at + chunk, begins), size)
        if end >= size:
            break
        ends.append(end)
        at = end
    return [*ends, size]


def cut_quoted(opened: Opened, begins: int, size: int, chunk: int, quote: bytes) -> list[int]:
    """The same, each behind a LF before which the quotes since `begins` are even in number."""
    ends: list[int] = []
    at, place, even = 0, begins, True
    while at + chunk < size:
        target = max(at + chunk, begins)
        even ^= _odd(opened, place, target, quote)
        end, even = _behind_even_newline(opened, target, size, quote, even=even)
        if end >= size:
            break
        ends.append(end)
        at = place = end
    return [*ends, size]


def _behind_newline(opened: Opened, at: int, size: int) -> int:
    """The place behind the first LF at or after the byte before `at`."""
    at -= 1
    while at < size:
        block = opened.pread(_LOOK, at)
        found = block.find(b"\n")
        if found >= 0:
            return at + found + 1
        if not block:
            break
        at += len(block)
    return size


def _odd(opened: Opened, start: int, end: int, quote: bytes) -> bool:
    """Whether the quotes between two places are odd in number."""
    count = 0
    while start < end:
        block = opened.pread(min(_BLOCK, end - start), start)
        if not block:
            break
        count += block.count(quote)
        start += len(block)
    return bool(count % 2)


def _behind_even_newline(
    opened: Opened, at: int, size: int, quote: bytes, *, even: bool
) -> tuple[int, bool]:
    """The place behind the first LF after `at` with even quotes before it; and whether they are even there."""
    while at < size:
        block = opened.pread(_LOOK, at)
        if not block:
            break
        start = 0
        while (found := block.find(b"\n", start)) >= 0:
            even ^= bool(block.count(quote, start, found) % 2)
            start = found + 1
            if even:
                return at + start, even
        even ^= bool(block.count(quote, start) % 2)
        at += len(block)
    return size, even
