"""A contestant's process tree: started in one place, sampled while it works, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")
SAMPLE = 0.05
"""Seconds between two looks at resident memory and processor time."""
SHARES_EVERY = 10
"""Each so many looks the shares of memory are asked for too: the kernel walks all pages for them."""
GROWTH = 1.1
"""They are asked for as well when resident memory has grown so much since, so that no short peak is missed."""
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

    `peak_resident` is the largest sum of resident bytes that any look found: one every `SAMPLE` seconds, and one
    whenever somebody asks for the time spent, so that even a short-lived tree has been seen. Pages that processes share
    count in each of them, and so do mapped files. `peak` is the same of proportional shares (PSS), which count each
    page once; it is looked at less often, and whenever there is more than ever before.
    """

    def __init__(self, command: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
        self.log = folder / LOG
        self.began = time.perf_counter()
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
        favour(self.process.pid)
        self.peak = 0
        self.peak_resident = 0
        self._grown = 0
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
        self._look(shares=True)
        with self._looking:
            user = sum(user for user, _ in self._spent.values())
            system = sum(system for _, system in self._spent.values())
        everybody = sum(map(int, Path("/proc/stat").read_text().split(maxsplit=3)[1:3])) / TICK
        return Cpu(time.perf_counter(), user + system, everybody - user - os.times().user)

    def memory(self) -> int:
        """Bytes right now, each shared page counted once."""
        return sum(map(_share, descendants(self.process.pid)))

    def ran(self) -> float:
        """Processor seconds of all threads that live now, to the microsecond: for a tree that hardly does anything."""
        return sum(map(_ran, descendants(self.process.pid)))

    def wakeups(self) -> int:
        """How often the kernel has given a processor to any of its threads so far."""
        return sum(map(_switches, descendants(self.process.pid)))

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
        looks = 0
        while not self._stop.wait(SAMPLE):
            looks += 1
            self._look(shares=looks % SHARES_EVERY == 0)

    def _look(self, *, shares: bool) -> None:
        """Note each process's time and the peaks of their memory together."""
        with self._looking:
            resident = 0
            pids = []
            for pid in descendants(self.process.pid):
                try:
                    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                    resident += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
                except OSError:
                    continue
                pids.append(pid)
                if (pid, stat[19]) not in self._spent:
                    favour(pid)
                self._spent[pid, stat[19]] = int(stat[11]) / TICK, int(stat[12]) / TICK
            self.peak_resident = max(self.peak_resident, resident)
            if shares or resident > self._grown:
                self._grown = max(self._grown, int(resident * GROWTH))
                self.peak = max(self.peak, sum(map(_share, pids)))


def favour(pid: int) -> None:
    """Give a process's session the niceness that this program was called with.

    Where the kernel groups sessions (autogroup), the niceness of a process counts only within its session, and a
    session that is new starts from 0: `nice -n -15` would favour nobody.
    """
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(os.getpriority(os.PRIO_PROCESS, 0)))


def _share(pid: int) -> int:
    """A process's proportional share of memory in bytes; nothing when it is gone."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _ran(pid: int) -> float:
    """Seconds that the living threads of a process had a processor."""
    nanoseconds = 0
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            nanoseconds += int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def _switches(pid: int) -> int:
    """How often the threads of a process were given a processor."""
    switches = 0
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            for line in Path(f"/proc/{pid}/task/{task}/status").read_text().splitlines():
                if "ctxt_switches" in line:
                    switches += int(line.split()[1])
    return switches


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


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
