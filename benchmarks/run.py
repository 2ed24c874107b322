"""Measure filemill beside plain scripts: `python benchmarks/run.py [--quick] [--only W1]`.

W1  10,000 log files of 4 KB at once                files/s
W2  one file of JSON lines of 1.08 GB, routed       MB/s
W3  one 4 KB file every 50 ms with jitter           ms from rename to output

A full run writes its tables into docs/performance.md; `--quick` only prints. Contestants take turns, and each
round begins with another one. The exit code is 1 when filemill lost an output or got one wrong.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from contestants import ALL, Contestant
from disk import measuring_disk
from measuring import Measuring, Result
from table import table, write_section

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
WORKLOADS = ("W1", "W2", "W3")
GB = 1_000_000_000
DISTURBED = 0.1
"""Cores taken by other programs from which on a run is marked."""


def main() -> int:
    """Measure, print, write."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    quick = arguments.quick
    files, events, drops = (1000, GB // 20, 60) if quick else (10_000, int(1.08 * GB), 300)
    rounds = arguments.rounds or (1 if quick else 3)
    workloads = arguments.only or WORKLOADS
    contestants = [one for one in ALL if _wanted(one, arguments.contestants)]
    results: list[Result] = []
    # The big file, its copy, the outputs, and as much again that is deleted but not yet freed.
    size = (5 * events if "W2" in workloads else 0) + files * 50_000 + GB // 2
    with measuring_disk(size, arguments.folder) as disk:
        machine = machine_words(disk.words)
        print(f"{machine}\nmedians of {rounds}", flush=True)
        measuring = Measuring(disk.root, files=files, events=events, drops=drops)
        for workload in workloads:
            playing = [one for one in contestants if workload in one.does]
            for contestant in playing:
                measuring.warm_up(contestant, workload)
            for turn in range(rounds):
                first = turn % max(1, len(playing))
                results += [
                    _run(measuring, contestant, workload, arguments.calm)
                    for contestant in (*playing[first:], *playing[:first])
                ]
    for workload in workloads:
        lines = table(workload, contestants, results)
        print("", f"{workload}:", *lines, sep="\n")
        if arguments.write or not (quick or arguments.contestants):
            write_section(PAGE, workload, lines)
            write_section(PAGE, f"{workload} machine", [machine, _worth(workload, rounds, results)])
    ours = [result for result in results if result.contestant.startswith("filemill")]
    return int(any(result.problems for result in ours))


def _run(measuring: Measuring, contestant: Contestant, workload: str, patience: int) -> Result:
    """One run; while other programs disturb it, up to `patience` more, and the least disturbed counts.

    What went wrong in any of them stays in the result.
    """
    best: Result | None = None
    problems: list[str] = []
    for _ in range(1 + patience):
        result = measuring.run(contestant, workload)
        print(_line(result), flush=True)
        problems += result.problems
        if best is None or result.strangers < best.strangers:
            best = result
        if best.strangers <= DISTURBED:
            break
    assert best is not None
    best.problems = problems
    return best


def _wanted(contestant: Contestant, words: Sequence[str]) -> bool:
    return not words or any(word in contestant.name for word in words)


def _line(result: Result) -> str:
    """One run, as it happens."""
    if result.workload == "W3":
        number = (
            f"p50 {result.percentile(50) * 1000:.1f} ms  p99 {result.percentile(99) * 1000:.1f} ms"
        )
    elif result.workload == "W2":
        number = f"{result.rate / 1e6:,.0f} MB/s"
    else:
        number = f"{result.rate:,.0f} files/s"
    told = "  ".join(f"! {problem}" for problem in result.problems)
    spent = f"{result.seconds:.2f} s, CPU {result.cpu:.2f} s, RSS {result.peak / 1e6:.0f} MB"
    if result.strangers > DISTURBED:
        told = f"(others took {result.strangers:.1f} cores)  {told}"
    return f"{result.workload}  {result.contestant:<50} {number}  ({spent})  {told}".rstrip()


def machine_words(disk: str = "") -> str:
    """What was measured on, in one sentence."""
    return (
        f"{os.cpu_count()} cores ({_processor()}), Linux {platform.release().partition('-')[0]}, "
        f"Python {platform.python_version()}{', ' if disk else ''}{disk}."
    )


def _worth(workload: str, rounds: int, results: Sequence[Result]) -> str:
    """How far the numbers of a workload can be trusted."""
    words = f"Medians of {rounds} rounds, in brackets the lowest and the highest."
    disturbed = [one for one in results if one.workload == workload and one.strangers > DISTURBED]
    if disturbed:
        most = max(one.strangers for one in disturbed)
        words += f" In {len(disturbed)} runs other programs took part of the machine, up to {most:.1f} cores."
    return words


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
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, metavar="W", help="W1, W2, W3")
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
        "--write", action="store_true", help="write the tables whatever was measured"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
