"""Letting files arrive, and noticing when their outputs are there."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from contestants import Place
from inotify_simple import INotify, flags  # type: ignore[import-untyped]
from processes import Tree

STALL = 20.0
"""Seconds without a new output after which the rest counts as lost."""


def drop(place: Place, names: list[str]) -> None:
    """Let files arrive, by rename on one file system."""
    staging, inbox = str(place.staging), str(place.inbox)
    for name in names:
        os.rename(f"{staging}/{name}", f"{inbox}/{name}")


def visible(folder: Path) -> int:
    """How many outputs a consumer of a folder sees."""
    return sum(not name.startswith(".") for name in os.listdir(folder))


def wait_for_count(
    count: Callable[[], int], wanted: int, tree: Tree, stall: float = STALL
) -> tuple[int, float]:
    """Wait until so many are there; (how many, when the last one was seen).

    Looks often only near the end that the rate so far foretells, because looking takes processor time too.
    Gives up when nothing new came for `stall` seconds or the program has ended.
    """
    began = last = time.perf_counter()
    best = 0
    while True:
        found = count()
        now = time.perf_counter()
        if found > best:
            best, last = found, now
        if found >= wanted:
            return found, now
        if now - last > stall or not tree.alive:
            return best, last
        left = (wanted - best) * (now - began) / best if best else 0.01
        time.sleep(min(max(left / 3, 0.002), 0.2))


class Appearances:
    """Notes when each name appears in a folder."""

    def __init__(self, folder: Path) -> None:
        self.at: dict[str, float] = {}
        self._watch = INotify()
        self._watch.add_watch(str(folder), flags.MOVED_TO | flags.CREATE)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        self._watch.close()

    def _read(self) -> None:
        while not self._stop.is_set():
            for event in self._watch.read(timeout=100):
                if not event.name.startswith("."):
                    self.at.setdefault(event.name, time.perf_counter())
