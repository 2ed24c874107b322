"""Soak filemill: `python benchmarks/soak.py [--minutes 30]`, or `make soak`.

Small files all the time, a big one now and then, bad records, dead letters that are redriven, reloads, `gc` under a
short retention; in the first half servers and workers are killed at random, in the second half workers only, so that
what a server keeps can be seen to grow. A consumer takes every output away and knows what it must be.

It writes docs/soak.svg and its words in docs/performance.md. The exit code is 1 when a file was lost, came out twice or
wrong, or something grew.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

from disk import measuring_disk
from run import machine_words
from soaking.drawing import draw
from soaking.running import Outcome, Soak, for_minutes
from table import write_section

DOCS = Path(__file__).resolve().parent.parent / "docs"
LOG = Path(tempfile.gettempdir()) / "filemill-soak.log"
GB = 1_000_000_000


def main() -> int:
    """Soak, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_AsWritten)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--folder", type=Path, help="soak here, not on a disk of its own")
    parser.add_argument("--no-write", action="store_true", help="only print")
    parser.add_argument("--note", default="", help="a sentence about the machine's other load")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(f"seed {arguments.seed}", flush=True)
    with measuring_disk(4 * GB, arguments.folder) as disk:
        settings = for_minutes(arguments.minutes, arguments.seed)
        outcome = Soak(disk.root / "soak", settings).run()
        wrong = outcome.judge()
        if wrong:
            print(f"what it said: {shutil.copy(disk.root / 'soak/server.log', LOG)}")
    lines = [*told(outcome), *[f"- wrong: {each}" for each in wrong[:20]]]
    machine = f"{machine_words(disk.words)} {arguments.note}".strip()
    print(machine, *lines, sep="\n")
    if not arguments.no_write:
        words = f"{arguments.minutes:g} minutes; dashed: a server was killed (in the first half)"
        (DOCS / "soak.svg").write_text(draw(outcome, words), encoding="utf-8")
        write_section(DOCS / "performance.md", "soak", [machine, "", *lines])
    return int(bool(wrong))


def told(outcome: Outcome) -> list[str]:
    """What was done and seen, as a list."""
    kinds = Counter(what for _, what in outcome.events)
    kills = ", ".join(f"{kinds[what]} of {words}" for what, words in KILLS.items())
    acts = ", ".join(f"{count} `{name}`" for name, count in kinds.items() if name not in KILLS)
    latencies = sorted(x for s in outcome.samples if s.at >= outcome.half for x in s.latencies) or [
        0.0
    ]
    p50, p99 = (latencies[min(len(latencies) - 1, len(latencies) * p // 100)] for p in (50, 99))
    length = f"{outcome.settings.seconds / 60:g} minutes, {outcome.dropped:,} files"
    return [
        f"- {length}: {outcome.done:,} came out, the others were dead for good, and discarded.",
        f"- Kills: {kills}. Acts: {acts}.",
        f"- Small files in the second half: p50 {p50 * 1000:,.0f} ms, p99 {p99 * 1000:,.0f} ms.",
        *(f"- In the second half {each.told}." for each in outcome.growths),
    ]


KILLS = {"server": "servers alone", "tree": "whole trees", "worker": "workers"}


class _AsWritten(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the description's lines, tells defaults."""


if __name__ == "__main__":
    sys.exit(main())
