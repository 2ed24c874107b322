"""Where the configuration is looked for, and where the data directory is."""

from __future__ import annotations

import os
from collections.abc import Mapping

from filemill.model.errors import UsageError

CONFIG_NAME = "filemill.yaml"
CONFIG = "FILEMILL_CONFIG"
FOLDER = "conf.d"
DATA = "FILEMILL_DATA_DIR"
OWN_DATA = ".filemill"
"""The data directory beside the configuration, unless another is named."""


def locate(path: str | None, environ: Mapping[str, str]) -> str:
    """Absolute path of the configuration: `path` (`-c`), else FILEMILL_CONFIG, else the first filemill.yaml.

    Looked for in the current folder and those above it, then `$XDG_CONFIG_HOME/filemill`, then `/etc/filemill`.

    Raises:
        UsageError: there is none, or the one that is named is not there.
    """
    if named := path or environ.get(CONFIG):
        if os.path.isdir(named):
            named = os.path.join(named, CONFIG_NAME)
        if not os.path.isfile(named):
            advice = "filemill init makes one" if path else f"set {CONFIG} to a file, or unset it"
            raise UsageError(f"no configuration {named}", help=advice)
        return os.path.abspath(named)
    for folder in _folders(environ):
        candidate = os.path.join(folder, CONFIG_NAME)
        if os.path.isfile(candidate):
            return candidate
    raise UsageError(
        f"no {CONFIG_NAME} here, in a folder above, or under the configuration folders",
        help="filemill init makes one; -c FILE names one",
    )


def data_directory(root: str, configured: str | None, environ: Mapping[str, str]) -> str:
    """Absolute path: FILEMILL_DATA_DIR (from the current folder), else `data:`, else `.filemill`; both from `root`."""
    if named := environ.get(DATA):
        return os.path.abspath(named)
    return os.path.normpath(os.path.join(root, os.path.expanduser(configured or OWN_DATA)))


def shown(path: str) -> str:
    """A path as people name it: from the current folder when it is below, else absolute."""
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative


def _folders(environ: Mapping[str, str]) -> list[str]:
    folder = os.getcwd()
    folders = [folder]
    while (above := os.path.dirname(folder)) != folder:
        folder = above
        folders.append(folder)
    home = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", "/"), ".config")
    return [*folders, os.path.join(home, "filemill"), "/etc/filemill"]
