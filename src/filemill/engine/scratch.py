"""Work folders of attempts: `<data>/work/<...>`, so that what a step makes is on the data directory's file system.

One is made when a step first asks for it and removed with its attempt. What a crash leaves is removed when the server
starts; nothing in a work folder is anybody's only copy.
"""

from __future__ import annotations

import os
import shutil
import tempfile


def make_work_folder(data: str) -> str:
    """A new folder of mode 0700 below `<data>/work`; inside the worker's own scratch folder, where it has one there."""
    parent = os.path.join(os.path.abspath(data), "work")
    own = tempfile.gettempdir()
    if own.startswith(parent + "/"):
        return tempfile.mkdtemp(prefix="attempt-", dir=own)
    os.makedirs(parent, 0o700, exist_ok=True)
    return tempfile.mkdtemp(prefix="attempt-", dir=parent)


def sweep_work_folders(data: str) -> None:
    """Remove what attempts of a former server left. No worker may be at work meanwhile."""
    parent = os.path.join(os.path.abspath(data), "work")
    try:
        left = [entry.path for entry in os.scandir(parent) if entry.name.startswith("attempt-")]
    except FileNotFoundError:
        return
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)
