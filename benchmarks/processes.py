"""A contestant's process tree: started in one place, sampled while it works, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")
SAMPLE = 0.05
"""Seconds between two looks at memory and processor time."""
LOG = "program.log"
_UNSET = {"PYTHONDONTWRITEBYTECODE"}
"""An installed program has its compiled modules at hand, whatever this shell prefers."""


class Cpu(NamedTuple):
    """Processor seconds. `strangers` is user time of everybody but the tree and this program: kernel threads, which
    write what the tree has written, have none.
    """

    at: float
    """Of `time.perf_counter`."""
    tree: float
    strangers: float


class Tree:
    """A program with all that it starts, in a session of its own.

    `peak` is the largest sum of resident bytes that any look found: one every `SAMPLE` seconds, and one whenever
    somebody asks for the time spent, so that even a short-lived tree has been seen. Pages that processes share count
    in each of them, and so do mapped files.
    """

    def __init__(self, command: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
        self.log = folder / LOG
        self._written = open(self.log, "wb")  # noqa: SIM115 -- closed in end()
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=self._written,
            stderr=subprocess.STDOUT,
            env={name: value for name, value in os.environ.items() if name not in _UNSET}
            | environment,
            start_new_session=True,
        )
        self.peak = 0
        self._spent: dict[tuple[int, str], tuple[float, float]] = {}
        self._looking = threading.Lock()
        self._stop = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()

    @property
    def alive(self) -> bool:
        """The first process still runs."""
        return self.process.poll() is None

    def said(self, word: str) -> bool:
        """The program has printed this."""
        return word in self.log.read_text(errors="replace")

    def cpu(self) -> Cpu:
        """Processor seconds so far: the tree's, those of ended processes as last seen, and strangers'."""
        self._look()
        with self._looking:
            user = sum(user for user, _ in self._spent.values())
            system = sum(system for _, system in self._spent.values())
        everybody = sum(map(int, Path("/proc/stat").read_text().split(maxsplit=3)[1:3])) / TICK
        return Cpu(time.perf_counter(), user + system, everybody - user - os.times().user)

    def end(self, patience: float = 20) -> str:
        """Ask it to stop as Ctrl-C does, and see to it that nothing is left; says what was not in order."""
        problem = ""
        if self.alive:
            self.process.send_signal(signal.SIGINT)
            try:
                code = self.process.wait(patience)
                problem = (
                    f"stopped with exit code {code}" if code not in {0, 130, -signal.SIGINT} else ""
                )
            except subprocess.TimeoutExpired:
                problem = f"did not stop within {patience:.0f} s"
        else:
            problem = f"ended by itself with exit code {self.process.returncode}"
        self._stop.set()
        self._sampler.join()
        for pid, started in list(self._spent):
            if _started(pid) == started:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self._written.close()
        return problem

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE):
            self._look()

    def _look(self) -> None:
        """Note each process's time and the peak of their resident bytes together."""
        with self._looking:
            resident = 0
            for pid in descendants(self.process.pid):
                try:
                    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                    resident += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
                except OSError:
                    continue
                self._spent[pid, stat[19]] = int(stat[11]) / TICK, int(stat[12]) / TICK
            self.peak = max(self.peak, resident)


def last_words(folder: Path, lines: int = 25) -> str:
    """The end of what a program of this folder printed."""
    return "\n".join((folder / LOG).read_text(errors="replace").splitlines()[-lines:])


def descendants(pid: int) -> list[int]:
    """A process and everything below it."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{parent}/task"):
                children = Path(f"/proc/{parent}/task/{task}/children").read_text()
                found += map(int, children.split())
    return found


def _started(pid: int) -> str:
    """The moment a process was started, which tells it from a later one of the same number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def wait_for_word(tree: Tree, word: str, patience: float) -> bool:
    """Whether the program printed a word before it ended or patience did."""
    ends = time.monotonic() + patience
    while time.monotonic() < ends:
        if tree.said(word):
            return True
        if not tree.alive:
            return False
        time.sleep(0.01)
    return False
