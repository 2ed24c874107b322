"""One run of one contestant: stage, start, drop by rename, wait for the outputs, verify, clean up.

Time runs from the first rename into the inbox until the last output appears under its final name. Staged
inputs are synced before, so nobody pays for writing them; making the place, starting and stopping the contestant
and verifying are not in the time either.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from contestants import Contestant, Place
from inotify_simple import INotify, flags  # type: ignore[import-untyped]
from processes import Cpu, Tree, last_words, wait_for_word
from workloads import (
    FOLDERS,
    SEED,
    BigFile,
    EventsVerifier,
    log_files,
    verify_logs,
    write_events,
)

START_PATIENCE = 30.0
STALL = 20.0
"""Seconds without a new output after which the rest counts as lost."""
BIG_PATIENCE = 600.0
INTERVAL = 0.05
"""W3: seconds between arrivals, on average."""
WARM_UP = 3
"""W3: files sent ahead that do not count."""


@dataclass
class Result:
    """What one run gave."""

    workload: str
    contestant: str
    seconds: float = 0.0
    done: int = 0
    """Outputs (W1, W3) or input bytes (W2) that were finished in `seconds`."""
    latencies: list[float] = field(default_factory=list)
    """W3: seconds from rename to output."""
    start: float = 0.0
    """Seconds from start to ready."""
    peak: int = 0
    """Bytes."""
    cpu: float = 0.0
    """Seconds of processor time while the files were processed."""
    strangers: float = 0.0
    """Cores that other programs took meanwhile: above a tenth the number is worth little."""
    problems: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Files (W1) or bytes (W2) a second."""
        return self.done / self.seconds if self.seconds else 0.0

    def charge(self, before: Cpu, after: Cpu) -> None:
        """Note the processor time between two looks."""
        self.cpu = after.tree - before.tree
        strangers = max(0.0, after.strangers - before.strangers)
        self.strangers = strangers / (after.at - before.at)

    def percentile(self, percent: int) -> float:
        """A percentile of the latencies in seconds."""
        if len(self.latencies) < 2:
            return 0.0
        return statistics.quantiles(self.latencies, n=100, method="inclusive")[percent - 1]


class Measuring:
    """Runs contestants on one disk."""

    def __init__(
        self, root: Path, *, files: int, events: int, drops: int, compiled: Path | None = None
    ) -> None:
        """`files` of W1, bytes of W2, arrivals of W3; `compiled` is where contestants keep compiled modules."""
        self.root = root
        self._compiled = compiled or root / "compiled"
        self._small: Measuring | None = None
        self.files = files
        self.events = events
        self.drops = drops
        self._count = 0
        self._big: tuple[BigFile, EventsVerifier] | None = None

    def run(self, contestant: Contestant, workload: str) -> Result:
        """One run; whatever goes wrong is in the result."""
        result = Result(workload, contestant.name)
        measure = {"W1": self._burst, "W2": self._big_file, "W3": self._latency}[workload]
        with self._fresh_place() as place:
            measure(contestant, place, result)
            if result.problems:
                print(f"--- {contestant.name} printed last:\n{last_words(place.root)}\n---")
        return result

    def warm_up(self, contestant: Contestant, workload: str) -> None:
        """One small run that does not count: modules are compiled and in memory afterwards, as on a machine in use."""
        if self._small is None:
            folder = self.root / "warm-up"
            folder.mkdir()
            self._small = Measuring(
                folder, files=20, events=1_000_000, drops=2, compiled=self._compiled
            )
        self._small.run(contestant, workload)

    @contextmanager
    def _fresh_place(self) -> Iterator[Place]:
        """A place that is deleted, and the deletion on disk, before the next run begins."""
        self._count += 1
        place = Place(self.root / f"run-{self._count}")
        place.make()
        try:
            yield place
        finally:
            shutil.rmtree(place.root)
            os.sync()

    @contextmanager
    def _started(
        self, contestant: Contestant, place: Place, result: Result
    ) -> Iterator[Tree | None]:
        """The contestant, ready; None when it did not get so far."""
        how = contestant.prepare(place, result.workload)
        os.sync()
        began = time.perf_counter()
        compiled = {"PYTHONPYCACHEPREFIX": str(self._compiled)}
        tree = Tree(how.command, place.root, compiled | how.environment)
        try:
            if wait_for_word(tree, how.ready, START_PATIENCE):
                result.start = time.perf_counter() - began
                yield tree
            else:
                result.problems.append("did not start")
                yield None
        finally:
            problem = tree.end()
            if problem:
                result.problems.append(problem)
            result.peak = tree.peak

    def _burst(self, contestant: Contestant, place: Place, result: Result) -> None:
        names = []
        for name, content in log_files(self.files):
            (place.staging / name).write_bytes(content)
            names.append(name)
        with self._started(contestant, place, result) as tree:
            if tree is None:
                return
            spent = tree.cpu()
            began = time.perf_counter()
            drop(place, names)
            result.done, ended = wait_for_count(lambda: visible(place.out), len(names), tree)
            result.seconds = ended - began
            result.charge(spent, tree.cpu())
        result.problems += verify_logs(place.out, self.files)

    def _big_file(self, contestant: Contestant, place: Place, result: Result) -> None:
        big, verifier = self._events()
        shutil.copyfile(big.path, place.staging / "events.jsonl")
        outputs = {folder: place.out / folder / "events.jsonl" for folder in FOLDERS}
        with self._started(contestant, place, result) as tree:
            if tree is None:
                return
            spent = tree.cpu()
            began = time.perf_counter()
            drop(place, ["events.jsonl"])
            found, ended = wait_for_count(
                lambda: sum(path.exists() for path in outputs.values()),
                len(outputs),
                tree,
                stall=BIG_PATIENCE,
            )
            result.seconds = ended - began
            result.done = big.bytes if found == len(outputs) else 0
            result.charge(spent, tree.cpu())
        result.problems += verifier.verify(contestant.name, outputs)

    def _events(self) -> tuple[BigFile, EventsVerifier]:
        """The big file, written at its first use."""
        if self._big is None:
            if self.events > 10_000_000:
                print(f"writing {self.events / 1e9:.2f} GB of JSON lines ..", flush=True)
            big = write_events(self.root / "events.jsonl", self.events)
            self._big = big, EventsVerifier(big)
        return self._big

    def _latency(self, contestant: Contestant, place: Place, result: Result) -> None:
        names = []
        for name, content in log_files(self.drops + WARM_UP):
            (place.staging / name).write_bytes(content)
            names.append(name)
        chance = random.Random(SEED)
        with self._started(contestant, place, result) as tree:
            if tree is None:
                return
            with Appearances(place.out) as appearances:
                drop(place, names[:WARM_UP])
                wait_for_count(lambda: len(appearances.at), WARM_UP, tree)
                spent = tree.cpu()
                began = time.perf_counter()
                dropped = {}
                for number, name in enumerate(names[WARM_UP:]):
                    due = began + (number + chance.random()) * INTERVAL
                    time.sleep(max(0.0, due - time.perf_counter()))
                    dropped[name] = time.perf_counter()
                    drop(place, [name])
                _, ended = wait_for_count(lambda: len(appearances.at), len(names), tree)
                result.seconds = ended - began
                result.charge(spent, tree.cpu())
            result.latencies = [
                appearances.at[name] - at for name, at in dropped.items() if name in appearances.at
            ]
            result.done = len(result.latencies)
        result.problems += verify_logs(place.out, len(names))


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
