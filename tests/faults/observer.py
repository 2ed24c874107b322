"""A consumer who opens every output at the moment it appears, and remembers what should not have been seen."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from inotify_simple import INotify, flags

STAGING = ".filemill"
_APPEARS = flags.CREATE | flags.MOVED_TO
_WATCHED = _APPEARS | flags.MODIFY | flags.DELETE | flags.MOVED_FROM


class Observer:
    """Watches a folder and all below it, from before the program starts; `saw` is what it must not see.

    `whole` is every name that may appear, below the folder, with all it holds.
    """

    def __init__(self, folder: Path, whole: Mapping[str, str]) -> None:
        self.folder = folder
        self.saw: list[str] = []
        self.opened = 0
        self._whole = whole
        self._folders: dict[int, str] = {}
        self._inotify = INotify()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="observer")

    def __enter__(self) -> Self:
        self._follow("", new=False)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ends.set()
        self._thread.join()
        self._inotify.close()

    def _watch(self) -> None:
        while not self._ends.is_set():
            self._take(timeout=20)
        self._take(timeout=0)

    def _take(self, timeout: int) -> None:
        for event in self._inotify.read(timeout=timeout):
            folder = self._folders.get(event.wd)
            if folder is None or event.name in ("", STAGING):
                continue
            name = os.path.join(folder, event.name)
            if event.mask & flags.ISDIR:
                if event.mask & _APPEARS:
                    self._follow(name)
            elif event.mask & _APPEARS:
                self._open(name)
            elif event.mask & flags.MODIFY:
                self.saw.append(f"{name} was written to after it had appeared")
            else:
                self.saw.append(f"{name} was taken away again")

    def _follow(self, folder: str, *, new: bool = True) -> None:
        """Watch a folder; what came into it before it was watched is looked at now."""
        try:
            watch = self._inotify.add_watch(self.folder / folder, _WATCHED | flags.ONLYDIR)
            self._folders[watch] = folder
            entries = list(os.scandir(self.folder / folder))
        except FileNotFoundError:
            return
        for entry in entries:
            name = os.path.join(folder, entry.name)
            if entry.name == STAGING:
                continue
            if entry.is_dir():
                self._follow(name, new=new)
            elif new:
                self._open(name)

    def _open(self, name: str) -> None:
        try:
            seen = (self.folder / name).read_text()
        except FileNotFoundError:
            return
        self.opened += 1
        if name not in self._whole:
            self.saw.append(f"{name} should never appear")
        elif seen != self._whole[name]:
            self.saw.append(f"{name} appeared with {len(seen)} of {len(self._whole[name])} bytes")
