"""Names of outputs: from a template and a file to a path that always stays below its sink's root.

Names come from strangers. What a template renders is cut into parts at `/`, and each part is made harmless:
empty parts and `.` vanish, `..` and a first part `.filemill` (the staging folder) are percent-encoded, NUL is
`%00`, and a part over 255 bytes keeps its extension while its stem is cut at a character's edge and gets a hash of
the whole. Everything else keeps its bytes.
"""

from __future__ import annotations

import datetime as dt
import difflib
import hashlib
import os
import re
import zoneinfo
from collections.abc import Callable

from filemill.model.files import FileRef
from filemill.model.tags import TAG

STAGING = b".filemill"
NAME_MAX = 255
"""Bytes of one part (Linux, macOS)."""
PATH_MAX = 3800
"""Bytes of a whole output path: 4,096 less room for the root's temporary and numbered names."""
_EXTENSION_MAX = 32
_HASH = 8
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_BRACE = re.compile(r"[{}]")
_ENDS_IN_FILE_NAME = re.compile(r"\{(?:path|name|ext)\}\Z")
PLACEHOLDERS = (
    "path",
    "stem",
    "name",
    "ext",
    "date",
    "time",
    "digest8",
    "id",
    "pipeline",
    "tag:",
)
_KNOWN = ", ".join("{tag:X}" if name == "tag:" else f"{{{name}}}" for name in PLACEHOLDERS)
SUFFIXES = {
    "csv": b".csv",
    "jsonl": b".jsonl",
    "json": b".json",
    "lines": b".txt",
    "parquet": b".parquet",
}
"""The suffix of each format that an output gets when it changes format."""
_COMPRESSED = (b".gz", b".zst")


class NameTemplate:
    """A checked `name:` template.

    Raises:
        ValueError: an unknown placeholder (with a did-you-mean), a stray brace, or literal text that would
            leave the root.
    """

    def __init__(self, template: str, timezone: str = "UTC") -> None:
        check_template(template)
        self.template = template
        self._zone = zoneinfo.ZoneInfo(timezone)
        self._follows_format = _ENDS_IN_FILE_NAME.search(template) is not None
        self._parts: list[bytes | Callable[[FileRef, str], bytes]] = []
        at = 0
        for match in _PLACEHOLDER.finditer(template):
            if match.start() > at:
                self._parts.append(os.fsencode(template[at : match.start()]))
            self._parts.append(self._value(match[1]))
            at = match.end()
        if at < len(template):
            self._parts.append(os.fsencode(template[at:]))

    def render(
        self, file: FileRef, pipeline: str, suffix: bytes | None = None, packed: bytes = b""
    ) -> bytes:
        """The output's path below the root: never empty, never absolute, never leaving the root.

        `suffix` is the one of another format than the file came in: it takes the place of the file's own
        extension where the template ends in it. `packed` is the suffix of a compressed output, behind all others.
        """
        if self.template == "{path}":
            rendered = file.relative
        else:
            pieces: list[bytes] = []
            for part in self._parts:
                if isinstance(part, bytes):
                    pieces.append(part)
                    continue
                value = part(file, pipeline)
                if not value and part is _extension and pieces and pieces[-1].endswith(b"."):
                    pieces[-1] = pieces[-1][:-1]  # `{stem}.{ext}` of a name without extension
                pieces.append(value)
            rendered = b"".join(pieces)
        if suffix is not None and self._follows_format:
            folder, slash, name = rendered.rpartition(b"/")
            rendered = folder + slash + split_name(name)[0] + suffix
        if not rendered.endswith(packed):
            rendered += packed
        return confine(rendered, file.file)

    def _value(self, placeholder: str) -> Callable[[FileRef, str], bytes]:
        if placeholder.startswith("tag:"):
            return _tag_value(placeholder.removeprefix("tag:"))
        values: dict[str, Callable[[FileRef, str], bytes]] = {
            "path": lambda file, _: file.relative,
            "name": lambda file, _: file.name,
            "stem": lambda file, _: split_name(file.name)[0],
            "ext": _extension,
            "date": lambda file, _: self._arrival(file, "%Y-%m-%d"),
            "time": lambda file, _: self._arrival(file, "%H%M%S"),
            "digest8": lambda file, _: file.digest[:8].encode(),
            "id": lambda file, _: file.file.encode(),
            "pipeline": lambda _, pipeline: pipeline.encode(),
        }
        return values[placeholder]

    def _arrival(self, file: FileRef, form: str) -> bytes:
        """Seconds only, by integer division: a float of nanoseconds since 1970 is off by up to 128 ns."""
        seconds = file.arrived_ns // 1_000_000_000
        return dt.datetime.fromtimestamp(seconds, self._zone).strftime(form).encode()


def _extension(file: FileRef, _: str) -> bytes:
    return split_name(file.name)[1].removeprefix(b".")


def _tag_value(prefix: str) -> Callable[[FileRef, str], bytes]:
    """What follows `prefix:` in the file's tag; the first in order of several, `none` without one.

    Further parts are joined by `-`, since `:` cannot stand in every file system's names.
    """
    start = prefix + ":"

    def value(file: FileRef, _: str) -> bytes:
        found = sorted(tag for tag in file.tags if tag.startswith(start))
        return found[0][len(start) :].replace(":", "-").encode() if found else b"none"

    return value


def check_template(template: str) -> None:
    """Say what is wrong with a `name:` template.

    Raises:
        ValueError: see NameTemplate.
    """
    if not template.strip():
        raise ValueError("a name is needed; the default is {path}")
    for match in _PLACEHOLDER.finditer(template):
        _check_placeholder(match[1])
    literal = _PLACEHOLDER.sub("x", template)
    if _BRACE.search(literal):
        raise ValueError("a `{` or `}` without its partner")
    if "\0" in literal:
        raise ValueError("a NUL character cannot be in a name")
    parts = literal.split("/")
    if parts[0] == "":
        raise ValueError("a name is relative to the sink's folder: remove the leading `/`")
    if ".." in parts:
        raise ValueError("`..` would leave the sink's folder")
    if parts[0].lower() == STAGING.decode():
        raise ValueError(f"`{STAGING.decode()}` is where outputs are staged")
    if parts[-1] == "":
        raise ValueError("a name cannot end in `/`")


def _check_placeholder(name: str) -> None:
    if name.startswith("tag:"):
        if not TAG.match(name.removeprefix("tag:")):
            raise ValueError(f"`{{{name}}}` names no tag: write {{tag:partner}} for partner:acme")
    elif name not in PLACEHOLDERS or name == "tag:":
        close = difflib.get_close_matches(name, PLACEHOLDERS, 1)
        hint = f"did you mean `{{{close[0]}}}`?" if close else f"there are {_KNOWN}"
        raise ValueError(f"no placeholder `{{{name}}}`: {hint}")


def split_name(name: bytes) -> tuple[bytes, bytes]:
    """(stem, extension with its dot); a leading dot starts no extension."""
    stem, dot, extension = name.rpartition(b".")
    if not dot or not stem.strip(b"."):
        return name, b""
    return stem, b"." + extension


def confine(path: bytes, fallback: str) -> bytes:
    """A relative path made of harmless parts; `fallback` names an output whose name came out empty."""
    parts = [_harmless(part) for part in path.split(b"/") if part not in (b"", b".")]
    if not parts:
        return fallback.encode()
    if parts[0].lower() == STAGING:
        parts[0] = b"%2e" + parts[0][1:]
    confined = b"/".join(parts)
    if len(confined) > PATH_MAX:
        folder = b"/".join(parts[:-1])
        confined = _digest(folder, 32) + b"/" + parts[-1]
    return confined


def other_name(name: bytes, attempt: int) -> bytes:
    """`acme/a.csv`, 2 -> `acme/a-2.csv`: still within 255 bytes, so always a possible name."""
    folder, slash, last = name.rpartition(b"/")
    stem, extension = _halves(last)
    number = b"-%d" % attempt
    room = NAME_MAX - len(extension) - len(number)
    return folder + slash + _cut(stem, room) + number + extension


def _harmless(part: bytes) -> bytes:
    if part == b"..":
        return b"%2e%2e"
    if b"\0" in part:
        part = part.replace(b"\0", b"%00")
    if len(part) <= NAME_MAX:
        return part
    stem, extension = _halves(part)
    room = NAME_MAX - len(extension) - _HASH - 1
    return _cut(stem, room) + b"~" + _digest(part, _HASH) + extension


def _halves(part: bytes) -> tuple[bytes, bytes]:
    """Stem and extension, where an endless extension counts as stem; `.csv.gz` is one extension."""
    stem, extension = split_name(part)
    if extension in _COMPRESSED:
        stem, inner = split_name(stem)
        extension = inner + extension
    return (stem, extension) if len(extension) <= _EXTENSION_MAX else (part, b"")


def _cut(stem: bytes, room: int) -> bytes:
    """At most `room` bytes of it, not ending within a UTF-8 character."""
    if len(stem) <= room:
        return stem
    end = room
    while end > room - 4 and 0x80 <= stem[end] < 0xC0:
        end -= 1
    return stem[:end]


def _digest(data: bytes, length: int) -> bytes:
    return hashlib.sha256(data).hexdigest()[:length].encode()
