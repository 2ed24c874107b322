"""`python -m simulation SEED [COUNT]`: play one seed, with its trace, or many, without."""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import Any


def main() -> int:
    words = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    words.add_argument("seed", type=int)
    words.add_argument("count", type=int, nargs="?", default=1)
    words.add_argument("--control", default="", help="break a guarantee: see simulation.controls")
    words.add_argument("--trace", action="store_true", help="print all that happened")
    words.add_argument(
        "--twice", action="store_true", help="play each twice, and compare what happened"
    )
    words.add_argument("--until-red", action="store_true", help="stop at the first seed that fails")
    given = words.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ.update(PYTHONHASHSEED="0", POLARS_MAX_THREADS="1")
        os.execv(sys.executable, [sys.executable, "-m", "simulation", *sys.argv[1:]])
    from simulation.controls import broken

    with broken(given.control) as control:
        return play_all(given, control)


def play_all(given: argparse.Namespace, control: Any) -> int:
    from simulation.play import play, tidy

    began, red = time.monotonic(), 0
    for seed in range(given.seed, given.seed + given.count):
        played = play(seed, control)
        if given.twice:
            again = play(seed, control)
            pairs = zip([*played.trace, "end"], [*again.trace, "end"], strict=False)
            played.wrong += [f"not twice the same: {a} | {b}" for a, b in pairs if a != b][:1]
        if given.trace:
            print("\n".join(played.trace))
        if played.wrong:
            red += 1
            print(f"seed {seed} is red:")
            print("\n".join(f"  {each}" for each in played.wrong[:12]))
            more = f" --control {given.control}" if given.control else ""
            print(f"  again: PYTHONPATH=tests .venv/bin/python -m simulation {seed} --trace{more}")
            if given.until_red:
                break
        if seed % 20 == 0:
            tidy()
    print(f"{given.count} seeds, {red} red, {time.monotonic() - began:.1f} s")
    return 1 if red else 0


if __name__ == "__main__":
    sys.exit(main())
