"""Which names in a watched folder are not files to take."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Sequence

TEMPORARY = (b".part", b".filepart", b".tmp", b".crdownload", b".swp", b"~")
"""Endings of files that somebody is still making; their rename to the real name is what counts."""


class Ignore:
    """Tells names to skip: hidden and temporary ones, and those a user's globs name (letter case ignored).

    A glob with a `/` is matched against the path below the source, any other against the name alone; a
    folder that matches is skipped with all that is in it. Names are bytes; for globs they are read as UTF-8, and
    bytes that are none match `?` and `*`.
    """

    def __init__(self, globs: Sequence[str]) -> None:
        self._names = _compile([glob for glob in globs if "/" not in glob])
        self._paths = _compile([glob.strip("/") for glob in globs if "/" in glob])

    def __call__(self, relative: bytes, name: bytes) -> bool:
        """Say whether to skip `name`, whose path below the source is `relative`."""
        if name.startswith(b".") or name.lower().endswith(TEMPORARY):
            return True
        if self._names is not None and self._names.match(os.fsdecode(name)):
            return True
        return self._paths is not None and self._paths.match(os.fsdecode(relative)) is not None


def _compile(globs: Sequence[str]) -> re.Pattern[str] | None:
    if not globs:
        return None
    return re.compile("|".join(fnmatch.translate(glob) for glob in globs), re.IGNORECASE)
