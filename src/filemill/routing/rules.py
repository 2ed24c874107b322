"""Tag rules on one file: which of them hold, and why or why not, in words a person can act on.

The keys of a rule are ANDed and asked in order of cost: name, path, source, size, mime, header; then content, for a
whole group of files at once, and last the user's own tagger (both by `inspection`). The first key that does
not hold ends the rule and is its why.
"""

from __future__ import annotations

import fnmatch
from typing import Protocol

import msgspec

from filemill.model.files import FileRef
from filemill.model.plan import TagRulePlan
from filemill.ports.units import format_size
from filemill.routing.globs import NameGlob, PathGlob, first_match, fold
from filemill.routing.patterns import check_pattern
from filemill.routing.sniffing import Sniffed
from filemill.routing.taggers import Tagger, load_tagger

_MEDIA_ALIASES = {
    "application/jsonl": "application/x-ndjson",
    "application/jsonlines": "application/x-ndjson",
    "application/ndjson": "application/x-ndjson",
    "application/csv": "text/csv",
    "text/json": "application/json",
    "text/xml": "application/xml",
    "application/x-gzip": "application/gzip",
    "application/x-zip-compressed": "application/zip",
    "application/x-pdf": "application/pdf",
    "application/x-zstd": "application/zstd",
    "application/parquet": "application/vnd.apache.parquet",
    "application/x-parquet": "application/vnd.apache.parquet",
    "application/x-sqlite3": "application/vnd.sqlite3",
    "image/jpg": "image/jpeg",
}
_SHOWN = 80


class Subject(msgspec.Struct, frozen=True):
    """One file as rules see it."""

    relative: bytes
    name: str
    """Folded; see `globs.fold`."""
    path: str
    source: str
    size: int
    media: str
    header: tuple[str, ...]


def subject(file: FileRef, sniffed: Sniffed, size: int) -> Subject:
    """A file made ready for rules; `size` is what was really read."""
    path = fold(file.relative)
    name = path.rpartition("/")[2]
    return Subject(file.relative, name, path, file.source, size, sniffed.media, sniffed.header)


class Key(Protocol):
    """One key of one rule."""

    def holds(self, file: Subject) -> str:
        """Why the key holds; empty when it does not."""
        ...

    def refusal(self, file: Subject) -> str:
        """Why it does not hold."""
        ...


class Rule:
    """One tag rule, compiled; its content patterns are checked and its tagger is imported.

    Raises:
        UsageError: a content pattern does not compile, or the tagger cannot be imported.
    """

    def __init__(self, plan: TagRulePlan) -> None:
        self.tag = plan.tag
        self.content = plan.content
        self.tagger_path = plan.tagger or ""
        for pattern in plan.content:
            check_pattern(pattern)
        self.tagger: Tagger | None = load_tagger(plan.tagger) if plan.tagger else None
        self._keys: list[Key] = []
        if plan.name:
            self._keys.append(_Name(plan.name))
        if plan.path:
            self._keys.append(_Path(plan.path))
        if plan.source:
            self._keys.append(_Source(plan.source))
        if plan.size is not None:
            self._keys.append(_Size(plan.size))
        if plan.mime:
            self._keys.append(_Mime(plan.mime))
        if plan.header:
            self._keys.append(_Header(plan.header))

    def judge(self, file: Subject) -> list[str] | None:
        """Why every key but content and tagger holds, one text a key; None when one does not."""
        whys = []
        for key in self._keys:
            why = key.holds(file)
            if not why:
                return None
            whys.append(why)
        return whys

    def refusal(self, file: Subject) -> str:
        """Why the first key that does not hold does not; empty when all hold."""
        for key in self._keys:
            if not key.holds(file):
                return key.refusal(file)
        return ""


def shown(name: bytes | str) -> str:
    """A name for people: stray bytes and control characters escaped, cut at 80 characters."""
    text = name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def one_of(values: tuple[str, ...]) -> str:
    """`a`, `a or b`, `a, b or c`: the way a rule's list reads."""
    shown_values = [shown(value) for value in values]
    if len(shown_values) == 1:
        return shown_values[0]
    return ", ".join(shown_values[:-1]) + " or " + shown_values[-1]


class _Name:
    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._patterns = patterns
        self._globs = [NameGlob(pattern) for pattern in patterns]

    def holds(self, file: Subject) -> str:
        pattern = first_match(self._globs, file.name)
        return "" if pattern is None else f"name {pattern}"

    def refusal(self, file: Subject) -> str:
        name = file.relative.rpartition(b"/")[2]
        return f"name is {shown(name)}, not {one_of(self._patterns)}"


class _Path:
    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._patterns = patterns
        self._globs = [PathGlob(pattern) for pattern in patterns]

    def holds(self, file: Subject) -> str:
        pattern = first_match(self._globs, file.path)
        return "" if pattern is None else f"path {pattern}"

    def refusal(self, file: Subject) -> str:
        return f"path is {shown(file.relative)}, not {one_of(self._patterns)}"


class _Source:
    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def holds(self, file: Subject) -> str:
        return f"source {file.source}" if file.source in self._names else ""

    def refusal(self, file: Subject) -> str:
        return f"source is {file.source or 'none'}, not {one_of(self._names)}"


class _Size:
    def __init__(self, bounds: tuple[int | None, int | None]) -> None:
        self._least, self._most = bounds

    def holds(self, file: Subject) -> str:
        if self._least is not None and file.size < self._least:
            return ""
        if self._most is not None and file.size > self._most:
            return ""
        return f"size {format_size(file.size)}"

    def refusal(self, file: Subject) -> str:
        if self._least is not None and file.size < self._least:
            return f"size is {format_size(file.size)}, not {format_size(self._least)} or more"
        return f"size is {format_size(file.size)}, not {format_size(self._most or 0)} or less"


class _Mime:
    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._patterns = patterns
        lowered = [pattern.lower() for pattern in patterns]
        self._wanted = [_MEDIA_ALIASES.get(pattern, pattern) for pattern in lowered]

    def holds(self, file: Subject) -> str:
        for pattern in self._wanted:
            if pattern == file.media or (
                "*" in pattern and fnmatch.fnmatchcase(file.media, pattern)
            ):
                return f"mime is {file.media}"
        return ""

    def refusal(self, file: Subject) -> str:
        return f"mime is {file.media}, not {one_of(self._patterns)}"


class _Header:
    def __init__(self, columns: tuple[str, ...]) -> None:
        self._columns = columns

    def holds(self, file: Subject) -> str:
        missing = self._missing(file)
        return "" if missing else "header has " + ", ".join(self._columns)

    def refusal(self, file: Subject) -> str:
        if not file.header:
            return f"no header found (mime is {file.media})"
        return f"header has no {', '.join(self._missing(file))} (it has {shown(', '.join(file.header))})"

    def _missing(self, file: Subject) -> list[str]:
        present = [name.strip() for name in file.header]
        return [column for column in self._columns if column not in present]
