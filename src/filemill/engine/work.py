"""Work folders: the scratch space of each worker's steps, how much of it is used, and its end with the job.

`<data>/work/worker-N` is where `tempfile` makes files in worker N. It is emptied after each job, when a worker starts,
and when one is lost; nothing in it outlives its job.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time


def work_folder(page: bytes) -> bytes:
    """The folder that belongs to the worker of this page: `<data>/work/worker-1` of `<data>/workers/1.page`."""
    folder, name = os.path.split(page)
    return os.path.join(os.path.dirname(folder), b"work", b"worker-" + name.partition(b".")[0])


def inputs_folder(data: str) -> bytes:
    """Where workers write inputs that are to be kept, before they are content; it is emptied when a server starts."""
    return os.path.join(os.fsencode(os.path.abspath(data)), b"inputs")


def attempts_folder(data: str) -> str:
    """A new folder, 0700, for what steps make of whole files in one attempt: on the data directory's file system.

    In a worker it is inside the worker's own work folder, where `tempfile` points; else in `<data>/work`.
    """
    parent = os.path.join(os.path.abspath(data), "work")
    own = tempfile.gettempdir()
    if not own.startswith(parent + "/"):
        os.makedirs(parent, 0o700, exist_ok=True)
        own = parent
    return tempfile.mkdtemp(prefix="attempt-", dir=own)


def empty(folder: bytes) -> None:
    """Remove all that is in the folder; what cannot be removed stays."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)  # noqa: TID251 -- scratch: nothing of it has to last


def set_aside(folder: bytes) -> bytes | None:
    """Take the folder out of the way of the next worker of this number; what `remove` then takes, or None."""
    aside = b"%s.%d.gone" % (folder, time.monotonic_ns())
    try:
        os.rename(folder, aside)  # noqa: TID251 -- scratch: nothing of it has to last
    except OSError:
        return None
    return aside


def remove(folder: bytes) -> None:
    """Remove the folder and all that is in it; what cannot be removed stays."""
    shutil.rmtree(folder, ignore_errors=True)


def sweep_inputs(data: str) -> None:
    """Remove inputs that workers of a former server wrote and nobody made content of."""
    remove(inputs_folder(data))


def remove_all(pages: bytes) -> None:
    """Remove the work folders that the workers of a former server left."""
    parent = os.path.dirname(work_folder(os.path.join(pages, b"1.page")))
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if entry.name.startswith(b"worker-"):
                remove(entry.path)


def measure(folder: bytes, enough: int) -> tuple[int, int]:
    """Bytes of disk that everything in the folder takes, and bytes that are free beside it.

    Stops counting past `enough`. What vanishes meanwhile is not counted. Links are not followed.
    """
    used = 0
    waiting = [folder]
    while waiting and used <= enough:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    used += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
    try:
        disk = os.statvfs(folder)
    except OSError:
        return used, used
    return used, disk.f_bavail * disk.f_frsize
