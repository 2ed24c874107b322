"""A stored revision, read back: its files, its modules, and how the files on the disk differ from it now."""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import os
from typing import Any

import msgspec

from filemill.config.locating import FOLDER
from filemill.model.errors import PermanentError

MISSING = "removed"
ADDED = "added"
CHANGED = "changed"
_DEEP = 16


class KeptFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """One file of a revision: its digest and, unless it was too large, its bytes as `text` or `base64`."""

    sha256: str
    text: str | None = None
    base64: str | None = None
    size: int = 0

    def data(self) -> bytes | None:
        """Its bytes; None when only the digest is kept."""
        if self.text is not None:
            return self.text.encode()
        return None if self.base64 is None else base64.b64decode(self.base64)


class Stored(msgspec.Struct, frozen=True):
    """What `revision_of` wrote down."""

    format: int
    config: tuple[str, ...]
    """Names of the configuration's own files, the main one first; all names are from the main one's folder."""
    environment: dict[str, str]
    files: dict[str, KeptFile]
    plugins: dict[str, str]
    python: dict[str, Any] = {}


def read_stored(text: str) -> Stored:
    """A revision's text, decoded.

    Raises:
        PermanentError: it is none, or of another version of filemill.
    """
    try:
        stored = msgspec.json.decode(text, type=Stored)
    except msgspec.DecodeError as error:
        raise PermanentError(
            f"the stored configuration cannot be read: {error}",
            help="it was written by another version of filemill",
        ) from error
    return stored


def modules_of(stored: Stored) -> dict[str, bytes]:
    """Texts of its Python modules, by path."""
    found: dict[str, bytes] = {}
    for name, kept in stored.files.items():
        if name.endswith(".py") and not name.startswith("..") and (data := kept.data()) is not None:
            found[name] = data
    return found


def changes_on_disk(stored: Stored, root: str) -> dict[str, str]:
    """By name, the files of a revision that lie below `root` otherwise now: `changed`, `removed`, or `added` to conf.d.

    By content alone: a file that was touched, or whose link leads elsewhere to the same bytes, is not among them.
    """
    changes: dict[str, str] = {}
    for name, kept in stored.files.items():
        try:
            with open(os.path.join(root, name), "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            changes[name] = MISSING
            continue
        if digest != kept.sha256:
            changes[name] = CHANGED
    for name in more_files(root):
        if name not in stored.config:
            changes[name] = ADDED
    return changes


def more_files(root: str) -> list[str]:
    """Names of the files in `conf.d` that belong to the configuration in `root`."""
    try:
        names = sorted(os.listdir(os.path.join(root, FOLDER)))
    except OSError:
        return []
    return [
        os.path.join(FOLDER, name)
        for name in names
        if fnmatch.fnmatchcase(name, "*.yaml") and not name.startswith(".")
    ]


def write_out(stored: Stored, folder: str) -> str:
    """Write all its files below `folder`; answers with the folder that stands for the main file's.

    Raises:
        PermanentError: a file was too large to be kept.
    """
    # So deep that a path which leads up out of it stays below `folder`, where it can be told from any other.
    above = max((_DEEP, *(_above(name) for name in stored.files)))
    root = os.path.join(folder, *("up" for _ in range(above)))
    for name, kept in stored.files.items():
        data = kept.data()
        if data is None:
            raise PermanentError(
                f"{name} was too large to be kept with it",
                help="bring back the configuration and its files by hand",
            )
        path = os.path.normpath(os.path.join(root, name))
        if os.path.isabs(name) or not path.startswith(folder + "/"):
            raise PermanentError(f"the stored configuration names a file at {name}")
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
    return root


def _above(name: str) -> int:
    """How many folders a name leads up before it leads down."""
    return len([part for part in os.path.normpath(name).split("/") if part == ".."])
