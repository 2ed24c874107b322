"""Paths named on the command line."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from filemill.model.errors import UsageError
from filemill.telemetry.wording import printable


def named_files(paths: Sequence[str]) -> list[bytes]:
    """Absolute paths of the regular files named; a folder means every regular file below it, in order.

    Links below a folder are not followed; a link that is named itself is. A file named twice counts once.

    Raises:
        UsageError: a path does not exist, cannot be read, or is neither a file nor a folder. All of
            them are looked at before anything starts.
    """
    found: dict[bytes, None] = {}
    for path in paths:
        raw = os.path.abspath(os.fsencode(path))
        try:
            mode = os.stat(raw).st_mode
        except OSError as error:
            raise UsageError(f"{printable(path)}: {error.strerror}") from error
        if stat.S_ISDIR(mode):
            found |= dict.fromkeys(_below(raw))
        elif stat.S_ISREG(mode):
            _must_be_readable(raw)
            found[raw] = None
        else:
            raise UsageError(f"{printable(path)} is neither a file nor a folder")
    return list(found)


def _below(folder: bytes) -> list[bytes]:
    found = []
    for here, folders, names in os.walk(folder, onerror=_refuse):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(here, name)
            if stat.S_ISREG(os.lstat(path).st_mode):
                _must_be_readable(path)
                found.append(path)
    return found


def _refuse(error: OSError) -> None:
    raise UsageError(f"{printable(os.fsdecode(error.filename))}: {error.strerror}") from error


def _must_be_readable(path: bytes) -> None:
    if not os.access(path, os.R_OK):
        raise UsageError(f"{printable(path)}: permission denied")
