"""One run of one contestant: stage, start, drop by rename, wait for the outputs, verify, clean up.

Time runs from the first rename into the inbox until the last output appears under its final name. Staged
inputs are synced before, so nobody pays for writing them; making the place, starting and stopping the contestant
and verifying are not in the time either.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from big_file import BigFile, Verifier, write_csv, write_events
from contestants import Contestant, Place
from environments import ENVS
from processes import Cpu, Tree, last_words, wait_for_word
from results import Result
from waiting import Appearances, drop, visible, wait_for_count
from workloads import FOLDERS, SEED, log_files, verify_logs

START_PATIENCE = 60.0
BIG_PATIENCE = 600.0
INTERVAL = 0.05
"""W3: seconds between arrivals, on average."""
WARM_UP = 3
"""W3: files sent ahead that do not count."""
FORMS = {"W2": "jsonl", "W2-csv": "csv", "W2-function": "jsonl"}
COMPILED = ENVS / "compiled"
"""Where all contestants keep compiled modules, from one call of the benchmarks to the next."""


@dataclass(frozen=True)
class Size:
    """How much is processed."""

    files: int
    """W1."""
    events: int
    """W2: bytes of JSON lines."""
    drops: int
    """W3: arrivals that count."""
    settled: int
    """W4: files that lie behind it when it stands still."""
    calm: float
    """W4: seconds that it is left alone and then looked at."""


SMALL = Size(files=20, events=1_000_000, drops=2, settled=5, calm=0.1)
"""For a run that does not count."""


class Measuring:
    """Runs contestants on one disk."""

    def __init__(self, root: Path, size: Size, compiled: Path = COMPILED) -> None:
        self.root = root
        self.size = size
        self._compiled = compiled
        self._small: Measuring | None = None
        self._warm: set[str] = set()
        self._count = 0
        self._big: dict[str, tuple[BigFile, Verifier]] = {}

    def run(self, contestant: Contestant, workload: str, turn: int = 0) -> Result:
        """One run; whatever goes wrong is in the result."""
        began = time.perf_counter()
        result = Result(workload, contestant.name, turn)
        measure = {"W1": self._burst, "W3": self._latency, "W4": self._standing_still}
        with self._fresh_place() as place:
            measure.get(workload, self._big_file)(contestant, place, result)
            if result.problems:
                print(f"--- {contestant.name} printed last:\n{last_words(place.root)}\n---")
        result.elapsed = time.perf_counter() - began
        return result

    def prepare(self, workload: str) -> None:
        """Make what all runs of a workload share, so that it is in nobody's time."""
        if workload in FORMS:
            self._big_of(FORMS[workload])

    def warm_up(self, contestant: Contestant, workload: str) -> None:
        """One small run that does not count: modules are compiled and in memory afterwards, as on a machine in use."""
        if contestant.name in self._warm:
            return
        self._warm.add(contestant.name)
        if self._small is None:
            folder = self.root / "warm-up"
            folder.mkdir()
            self._small = Measuring(folder, SMALL, self._compiled)
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
        compiled = {"PYTHONPYCACHEPREFIX": str(self._compiled)}
        tree = Tree(how.command, place.root, compiled | how.environment)
        try:
            if wait_for_word(tree, how.ready, START_PATIENCE):
                result.start = time.perf_counter() - tree.began
                yield tree
            else:
                result.problems.append("did not start")
                yield None
        finally:
            problem = tree.end()
            if problem:
                result.problems.append(problem)
            result.peak, result.peak_resident = tree.peak, tree.peak_resident

    def _burst(self, contestant: Contestant, place: Place, result: Result) -> None:
        names = []
        for name, content in log_files(self.size.files):
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
            charge(result, spent, tree.cpu())
        result.problems += verify_logs(place.out, self.size.files)

    def _big_file(self, contestant: Contestant, place: Place, result: Result) -> None:
        big, verifier = self._big_of(FORMS[result.workload])
        name = big.path.name
        shutil.copyfile(big.path, place.staging / name)
        outputs = {folder: place.out / folder / name for folder in FOLDERS}
        with self._started(contestant, place, result) as tree:
            if tree is None:
                return
            spent = tree.cpu()
            began = time.perf_counter()
            drop(place, [name])
            found, ended = wait_for_count(
                lambda: sum(path.exists() for path in outputs.values()),
                len(outputs),
                tree,
                stall=BIG_PATIENCE,
            )
            result.seconds = ended - began
            result.done = big.bytes if found == len(outputs) else 0
            charge(result, spent, tree.cpu())
        result.problems += verifier.verify(contestant.name, outputs, ordered=contestant.ordered)

    def _big_of(self, form: str) -> tuple[BigFile, Verifier]:
        """The big file, written at its first use."""
        if form not in self._big:
            if self.size.events > 100_000_000:
                print(f"writing the big file as {form} ..", flush=True)
            path = self.root / f"events.{form}"
            if form == "csv":  # noqa: SIM108 -- a line of two calls hides which is which
                big = write_csv(self._big_of("jsonl")[0], path)
            else:
                big = write_events(path, self.size.events)
            self._big[form] = big, Verifier(big)
        return self._big[form]

    def _latency(self, contestant: Contestant, place: Place, result: Result) -> None:
        names = []
        for name, content in log_files(self.size.drops + WARM_UP):
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
                charge(result, spent, tree.cpu())
            result.latencies = [
                appearances.at[name] - at for name, at in dropped.items() if name in appearances.at
            ]
            result.done = len(result.latencies)
        result.problems += verify_logs(place.out, len(names))

    def _standing_still(self, contestant: Contestant, place: Place, result: Result) -> None:
        names = []
        for name, content in log_files(1 + self.size.settled):
            (place.staging / name).write_bytes(content)
            names.append(name)
        with self._started(contestant, place, result) as tree:
            if tree is None:
                return
            drop(place, names[:1])
            _, seen = wait_for_count(lambda: visible(place.out), 1, tree)
            result.first = seen - tree.began
            drop(place, names[1:])
            result.done, _ = wait_for_count(lambda: visible(place.out), len(names), tree)
            time.sleep(self.size.calm / 2)  # what is left to tidy up is no standing still
            spent, ran, woken = tree.cpu(), tree.ran(), tree.wakeups()
            time.sleep(self.size.calm)
            now = tree.cpu()
            charge(result, spent, now)
            result.seconds = now.at - spent.at
            result.idle_cpu = (tree.ran() - ran) / result.seconds
            result.wakeups = (tree.wakeups() - woken) / result.seconds
            result.idle_memory = tree.memory()
        result.problems += verify_logs(place.out, len(names))


def charge(result: Result, before: Cpu, after: Cpu) -> None:
    """Note the processor time between two looks."""
    result.cpu = after.tree - before.tree
    strangers = max(0.0, after.strangers - before.strangers)
    result.strangers = strangers / (after.at - before.at)
