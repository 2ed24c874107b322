"""Text in any encoding to UTF-8, strictly: a byte that does not decode is an error that names its place.

What an encoding is, is found in this order: a byte order mark; the zero bytes of UTF-16 and UTF-32 without one; UTF-8,
if all of the file is; the first of the candidates in which all of the file can be read; the best guess of
charset-normalizer over the file's beginning. Only the guess can be wrong, and even then no byte is dropped. Nothing is
guessed where the file is UTF-8 up to some byte: then that byte is the error.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Sequence

from filemill.model.errors import PermanentError

PIECE = 1 << 20
SAMPLE = 256 << 10
"""Bytes from which zero bytes are counted and guesses are made."""
_PROOF = 6
"""Bytes beyond ASCII that are UTF-8 by no accident: three characters."""
_BEYOND = bytes(range(128, 256))
_MARKS = (
    # Longest first: a UTF-32 mark begins with a UTF-16 one.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MARKED = {"utf-16": "utf-16-le", "utf-32": "utf-32-le", "utf-8-sig": "utf-8"}
"""Encodings whose mark tells the byte order, and what they are without one: little-endian, as Windows writes them."""
_FAMILY = {
    "utf-16": ("utf-16-le", "utf-16-be"),
    "utf-32": ("utf-32-le", "utf-32-be"),
    "utf-8": ("utf-8",),
    "utf-8-sig": ("utf-8",),
}

Reopen = Callable[[], Iterator[bytes]]
"""The file's bytes from the beginning, piece by piece."""


class Undecodable(PermanentError):
    """A byte that its encoding does not know, or a file whose encoding nobody can tell."""

    beyond = 0
    """Bytes beyond ASCII that did decode, of the piece with the wrong one."""


def canonical(name: str) -> str:
    """Python's own name of a text encoding.

    Raises:
        ValueError: there is none of that name.
    """
    try:
        found = codecs.lookup(name)
        "".encode(found.name)
        b"".decode(found.name)
    except (LookupError, ValueError, TypeError):
        raise ValueError(
            f"`{name}` is no text encoding: write one such as cp1252, latin-1, utf-16 or shift_jis"
        ) from None
    return found.name


def marked(head: bytes) -> tuple[str, int]:
    """(encoding, length of the mark) by a byte order mark; ("", 0) without one."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding, len(mark)
    return "", 0


def settle(declared: str, head: bytes) -> tuple[str, int]:
    """The encoding to decode with, and how many bytes of a mark to leave out, where one is declared.

    Raises:
        Undecodable: the file is marked as another one.
    """
    encoding, length = marked(head)
    if encoding in _FAMILY.get(declared, (declared,)):
        return encoding, length
    if encoding:
        raise Undecodable(
            f"byte 0 begins the mark of {encoding}, but {declared} is declared",
            help="leave `from` away: a marked file says what it is",
        )
    return _MARKED.get(declared, declared), 0


def find(reopen: Reopen, head: bytes, candidates: Sequence[str]) -> tuple[str, int]:
    """(encoding, length of its mark) of a file that begins with `head`, up to `SAMPLE` bytes of it.

    Raises:
        Undecodable: nothing fits.
    """
    found = marked(head)
    if found[0]:
        return found
    wide = _by_zeros(head)
    mixed: Undecodable | None = None
    for encoding in (*([wide] if wide else []), "utf-8", *candidates):
        wrong, beyond_ascii = _try(reopen, encoding)
        if wrong is None:
            return encoding, 0
        if encoding == "utf-8" and beyond_ascii >= _PROOF:
            mixed = wrong
    if mixed is not None:
        raise mixed
    from charset_normalizer import from_bytes  # noqa: PLC0415 -- half a second to import

    best = from_bytes(head).best()
    if best is None:
        raise Undecodable(
            "nobody can tell the encoding of this file",
            help="declare it: `transcode: {from: cp1252}`, or name likely ones under `candidates:`",
        )
    return canonical(best.encoding), 0


def decode(reopen: Reopen, encoding: str, skip: int = 0) -> Iterator[bytes]:
    """The file in UTF-8, without its first `skip` bytes; only when it ends without an error was it all.

    Raises:
        Undecodable: a byte does not decode; the message names its offset in the file.
    """
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    at = 0
    for raw in reopen():
        data = raw[skip - at :] if at < skip else raw
        at += len(raw) - len(data)
        yield _decoded(decoder, data, encoding, at, final=False)
        at += len(data)
    yield _decoded(decoder, b"", encoding, at, final=True)


def _decoded(
    decoder: codecs.IncrementalDecoder, data: bytes, encoding: str, at: int, *, final: bool
) -> bytes:
    waiting = len(decoder.getstate()[0])
    try:
        text = decoder.decode(data, final)
    except UnicodeDecodeError as error:
        wrong = error.object[error.start : error.end][:4]
        place = at - waiting + error.start
        what = "the file ends within a character" if final else error.reason
        undecodable = Undecodable(
            f"byte {place:,} is not {encoding}: {what} ({wrong.hex(' ')})",
            help="declare the encoding it has: `transcode: {from: ...}`; or it holds text of several",
        )
        undecodable.beyond = _beyond_ascii(error.object[: error.start])
        raise undecodable from None
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise Undecodable(
            f"half of a character (U+{ord(text[error.start]):04X}) between byte {at - waiting:,} and byte "
            f"{at + len(data):,} ({encoding})",
            help="what wrote the file cut a character in two: have it mended",
        ) from None


def _try(reopen: Reopen, encoding: str) -> tuple[Undecodable | None, int]:
    """What is wrong with reading the file so, if anything, and how much beyond ASCII was read before."""
    beyond = 0
    try:
        for text in decode(reopen, encoding):
            beyond += _beyond_ascii(text)
    except Undecodable as error:
        return error, beyond + error.beyond
    return None, beyond


def _beyond_ascii(data: bytes) -> int:
    return len(data) - len(data.translate(None, _BEYOND))


def _by_zeros(head: bytes) -> str:
    """UTF-16 or UTF-32 without a mark, by where the zero bytes of its Latin letters are; empty for anything else."""
    sample = head[: len(head) // 4 * 4]
    if not sample or b"\0" not in sample:
        return ""
    quarter = len(sample) // 4
    zeros = [sample[place::4].count(0) / quarter for place in range(4)]
    few, many = 0.1, 0.4
    if zeros[3] == 1 and zeros[2] > many and zeros[0] < few:
        return "utf-32-le"
    if zeros[0] == 1 and zeros[1] > many and zeros[3] < few:
        return "utf-32-be"
    even, odd = (zeros[0] + zeros[2]) / 2, (zeros[1] + zeros[3]) / 2
    if odd > many and even < few:
        return "utf-16-le"
    if even > many and odd < few:
        return "utf-16-be"
    return ""
