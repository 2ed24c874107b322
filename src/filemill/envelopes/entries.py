"""Entry names and what is refused about an entry. Names are bytes, and hostile."""

from __future__ import annotations

import re

import msgspec

from filemill.model.errors import PermanentError

PART = 255
"""Most bytes of one part of a name."""
NAME = 1024
"""Most bytes of a name."""
PARTS = 64
"""Most parts of a name."""
_ABSOLUTE = re.compile(rb"[/\\]|[A-Za-z]:[/\\]")
_SEPARATORS = re.compile(rb"[/\\]")
_SHOWN = 80


class Refused(PermanentError):
    """An archive that holds what is never unpacked; nothing of it is."""


class Limits(msgspec.Struct, frozen=True):
    """How much one archive may be."""

    size: int
    """Bytes of all entries together."""
    ratio: float
    """Times the archive's own size."""
    entries: int


def entry_path(raw: bytes) -> bytes:
    """The entry's path below its archive: no empty, `.` or `..` part; empty for the archive's own folder.

    Raises:
        Refused: it is absolute, has a `..`, a NUL, or is too long.
    """
    shown = shown_name(raw)
    if b"\0" in raw:
        raise Refused(f"entry {shown} has a NUL in its name", help=_HELP)
    parts = [part for part in raw.split(b"/") if part not in (b"", b".")]
    path = b"/".join(parts)
    if _ABSOLUTE.match(raw) or _ABSOLUTE.match(path):
        raise Refused(f"entry {shown} has an absolute path", help=_HELP)
    if b".." in _SEPARATORS.split(raw):
        raise Refused(f"entry {shown} leaves its archive by `..`", help=_HELP)
    if len(parts) > PARTS or len(raw) > NAME or any(len(part) > PART for part in parts):
        raise Refused(
            f"entry {shown} has too long a name ({len(raw):,} bytes, {len(parts)} folders deep)",
            help=f"nothing of it is taken: a name may have {NAME:,} bytes, {PARTS} parts and {PART} bytes a part",
        )
    return path


def refuse_kind(raw: bytes, what: str) -> Refused:
    """The refusal of an entry that is a link or a device."""
    return Refused(f"entry {shown_name(raw)} is {what}", help=_HELP)


def shown_name(raw: bytes) -> str:
    """A name for people: printable, and not endless."""
    text = repr(raw[:_SHOWN])[1:]
    return f"{text}..." if len(raw) > _SHOWN else text


_HELP = "nothing of the archive is taken: who made it should pack plain files with relative names"
