"""Measure filemill beside what its users would pick instead: `python benchmarks/run.py [--quick] [--only W1]`.

W1           10,000 log files of 4 KB at once                 files/s
W2           one file of JSON lines of 1.08 GB, routed        MB/s
W2-csv       the same as CSV                                  MB/s
W2-function  the same with a Python function for each record  MB/s
W3           one 4 KB file every 50 ms with jitter            ms from rename to output
W4           start to the first output, then standing still   s, % of a core, MB

A full run writes tables and charts into docs/ and its numbers into benchmarks/results/; `--quick` only prints, and
keeps its numbers beside them. `--draw` draws from what is kept. Contestants take turns, and each round begins with
another one. The exit code is 1 when filemill lost an output or got one wrong.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from catalogue import FULL, QUICK, WORKLOADS
from contestants import ALL, Contestant
from contestants.scripts import Script
from disk import measuring_disk
from environments import version_of
from measuring import Measuring, Size
from page import PAGE, draw
from processes import favour
from results import DISTURBED, Record, Result, load, path_of, save
from table import table

LONG = 15.0
"""Seconds of one run from which on a contestant (not ours) runs in the first round only."""
GUESS = {"W1": 9.0, "W2": 14.0, "W2-csv": 10.0, "W2-function": 14.0, "W3": 13.0, "W4": 10.0}
"""Seconds that a run takes that has never been measured; a quick one a fifth."""

__all__ = ["PAGE", "machine_words", "main"]


def main() -> int:
    """Measure, print, write."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Behind `nohup ... &` SIGINT is ignored, by contestants, too, which are stopped by it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.getsid(0) == os.getpid():
        favour(os.getpid())
    workloads = arguments.only or list(WORKLOADS)
    if arguments.draw:
        return _draw_again(workloads, quick=arguments.quick)
    size = QUICK if arguments.quick else FULL
    contestants = [one for one in ALL if _wanted(one, arguments.contestants)]
    absent = {}
    for contestant in contestants:
        if contestant.does.intersection(workloads) and (reason := contestant.install()):
            absent[contestant.name] = reason
            print(f"{contestant.name} does not take part: {reason}")
    session = Session(arguments, size, contestants, absent)
    print(f"about {session.estimate(workloads) / 60:.0f} minutes", flush=True)
    # The big file in both forms, its copy, the outputs, and as much again that is deleted but not yet freed.
    big = 6 * size.events if any(one.startswith("W2") for one in workloads) else 0
    ours_are_right = True
    with measuring_disk(big + size.files * 50_000 + 500_000_000, arguments.folder) as disk:
        session.begin(disk.root, machine_words(disk.words))
        for workload in workloads:
            record = session.measure(workload)
            print("", f"{workload}:", *table(workload, contestants, record.results), sep="\n")
            if not arguments.contestants or arguments.write:
                print(f"numbers: {save(record)}", flush=True)
                if not arguments.quick or arguments.write:
                    print(f"chart: {draw(record, ALL)}", flush=True)
            ours = [one for one in record.results if one.contestant.startswith("filemill")]
            ours_are_right &= not any(result.problems for result in ours)
    return int(not ours_are_right)


def _draw_again(workloads: Sequence[str], *, quick: bool) -> int:
    """Draw what is kept."""
    for workload in workloads:
        record = load(workload, quick=quick)
        if record is None:
            print(f"{path_of(workload, quick=quick)} is not there: measure it first")
            return 1
        print(f"chart: {draw(record, ALL)}")
    return 0


class Session:
    """One call of the benchmarks: who plays, and how far it is."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        size: Size,
        contestants: Sequence[Contestant],
        absent: dict[str, str],
    ) -> None:
        self._quick: bool = arguments.quick
        self._calm: int = arguments.calm
        self._rounds: int = arguments.rounds or (1 if arguments.quick else 3)
        self._size = size
        self._contestants = contestants
        self._absent = absent
        self._began = time.monotonic()
        self._left: dict[str, float] = {}

    def begin(self, root: Path, machine: str) -> None:
        """The disk is there."""
        self._machine = machine
        self._measuring = Measuring(root, self._size)
        print(f"{machine}\n{self._rounds} rounds", flush=True)

    def estimate(self, workloads: Sequence[str]) -> float:
        """Seconds that all will take, by what it took last time."""
        for workload in workloads:
            record = load(workload, quick=self._quick)
            known = {one.contestant: one for one in record.results} if record else {}
            self._left[workload] = 0.0
            for contestant in self._playing(workload):
                last = known.get(contestant.name)
                took = last.elapsed if last else GUESS[workload] / (5 if self._quick else 1)
                once = last is not None and self._is_long(contestant, last)
                self._left[workload] += took * (1 if once else self._rounds)
        return sum(self._left.values())

    def measure(self, workload: str) -> Record:
        """All rounds of one workload."""
        playing = self._playing(workload)
        results: list[Result] = []
        self._tell(workload)
        self._measuring.prepare(workload)
        if not self._quick:
            for contestant in playing:
                self._measuring.warm_up(contestant, workload)
        for turn in range(self._rounds):
            first = turn % max(1, len(playing))
            for contestant in (*playing[first:], *playing[:first]):
                before = [one for one in results if one.contestant == contestant.name]
                if not any(self._is_long(contestant, one) for one in before):
                    results.append(self._run(contestant, workload, turn))
        self._left.pop(workload, None)
        return Record(
            workload,
            f"{time.strftime('%Y-%m-%d')}{_commit()}",
            self._machine,
            self._quick,
            WORKLOADS[workload].size(self._size),
            self._rounds,
            sorted({version_of(name) for one in playing if (name := _environment(one))}),
            {name: why for name, why in self._absent.items() if workload in self._does(name)},
            results,
        )

    def _run(self, contestant: Contestant, workload: str, turn: int) -> Result:
        """One run; while other programs disturb it, up to `--calm` more, and the least disturbed counts.

        What went wrong in any of them stays in the result.
        """
        best: Result | None = None
        problems: list[str] = []
        for _ in range(1 + self._calm):
            result = self._measuring.run(contestant, workload, turn)
            print(_line(result), flush=True)
            problems += result.problems
            if best is None or result.strangers < best.strangers:
                best = result
            if best.strangers <= DISTURBED:
                break
        assert best is not None
        best.problems = problems
        return best

    def _playing(self, workload: str) -> list[Contestant]:
        return [
            one
            for one in self._contestants
            if workload in one.does and one.name not in self._absent
        ]

    def _does(self, name: str) -> frozenset[str]:
        return next(one.does for one in self._contestants if one.name == name)

    @staticmethod
    def _is_long(contestant: Contestant, result: Result) -> bool:
        """Its other rounds are saved; W3 takes equally long for all."""
        ours = contestant.name.startswith("filemill")
        return not ours and result.workload not in {"W3", "W4"} and result.seconds > LONG

    def _tell(self, workload: str) -> None:
        left = sum(self._left.values()) / 60
        passed = (time.monotonic() - self._began) / 60
        print(f"\n{workload}, {passed:.1f} minutes passed, about {left:.0f} left", flush=True)


def _environment(contestant: Contestant) -> str:
    return contestant.environment if isinstance(contestant, Script) else ""


def _wanted(contestant: Contestant, words: Sequence[str]) -> bool:
    return not words or any(word in contestant.name for word in words)


def _line(result: Result) -> str:
    """One run, as it happens."""
    work = WORKLOADS[result.workload]
    drawn = [one for one in work.measures if one.share or one.spread]
    numbers = "  ".join(f"{one.head} {one.form.format(one.value(result))}" for one in drawn)
    told = "  ".join(f"! {problem}" for problem in result.problems)
    if result.strangers > DISTURBED:
        told = f"(others took {result.strangers:.1f} cores)  {told}"
    took = f"{result.elapsed:.0f} s in all"
    return f"{result.workload}  {result.contestant:<48} {numbers}  ({took})  {told}".rstrip()


def machine_words(disk: str = "") -> str:
    """What was measured on, in one sentence."""
    return (
        f"{os.cpu_count()} cores ({_processor()}), Linux {platform.release().partition('-')[0]}, "
        f"Python {platform.python_version()}{', ' if disk else ''}{disk}."
    )


def _commit() -> str:
    """`, commit 1234567` where this is a checkout."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        check=False,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    )
    return f", commit {done.stdout.strip()}" if done.returncode == 0 else ""


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="small workloads, one round, print only"
    )
    parser.add_argument(
        "--only", nargs="+", choices=WORKLOADS, metavar="W", help=", ".join(WORKLOADS)
    )
    parser.add_argument(
        "--draw",
        action="store_true",
        help="measure nothing, draw tables and charts from what is kept",
    )
    parser.add_argument("--rounds", type=int, help="3, quick 1")
    parser.add_argument(
        "--contestants",
        nargs="+",
        default=[],
        metavar="WORD",
        help="those whose name contains a word; print only",
    )
    parser.add_argument(
        "--calm",
        type=int,
        default=0,
        metavar="N",
        help="repeat a run up to N times while other programs take part of the machine",
    )
    parser.add_argument("--folder", type=Path, help="measure in this folder instead of a loop file")
    parser.add_argument(
        "--write", action="store_true", help="keep, and draw, whatever was measured"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
