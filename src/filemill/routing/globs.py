"""Globs over names that are bytes: letter case ignored, also of letters beyond ASCII, whatever their composition.

`*`, `?` and `[...]` as in a shell. In a path glob they stay within one folder, and `**` is any number of folders:
`acme/*.csv` is not `acme/old/a.csv`, `acme/**/*.csv` is both. A path glob is anchored at the source's folder.
"""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections.abc import Sequence


class NameGlob:
    """One glob over the last part of a path. Bytes that are no UTF-8 match only themselves, `*`, `?` and `[!x]`."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        # fnmatch's translation uses atomic groups for `*`, so a hostile name costs no more than its length.
        self._match = re.compile(fnmatch.translate(fold(pattern)), re.DOTALL).match

    def matches(self, name: str) -> bool:
        """Say whether a name, as `fold` gives it, fits."""
        return self._match(name) is not None


class PathGlob:
    """One glob over a whole path below a source's folder."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        parts = [part for part in pattern.split("/") if part not in ("", ".")]
        self._parts = [None if part == "**" else NameGlob(part) for part in parts]

    def matches(self, path: str) -> bool:
        """Say whether a path, as `fold` gives it, fits from its first folder to its name."""
        names = path.split("/")
        # reachable[i]: the glob's parts so far can have consumed exactly the first i names.
        reachable = [True] + [False] * len(names)
        for part in self._parts:
            if part is None:
                first = next((i for i, true in enumerate(reachable) if true), len(reachable))
                reachable = [i >= first for i in range(len(reachable))]
            else:
                reachable = [False] + [
                    reachable[i] and part.matches(name) for i, name in enumerate(names)
                ]
        return reachable[-1]


def fold(text: str | bytes) -> str:
    """A name or pattern made comparable: composed (NFC), case folded; stray bytes stay distinct."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def first_match(globs: Sequence[NameGlob] | Sequence[PathGlob], text: str) -> str | None:
    """The pattern of the first glob that fits, or None."""
    return next((glob.pattern for glob in globs if glob.matches(text)), None)
