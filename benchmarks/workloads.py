"""The small files: seeded log files of 4 KB, and the check that outputs are right.

The work of W1, W3 and W4: tag the DEBUG lines and drop them, upper-case the others, write one output with the
name of its input. Verification is part of a run: an output that is missing, double or wrong is reported beside the
number.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

SEED = 20_260_101
LOG_BYTES = 4096
LEVELS = ("DEBUG", "INFO", "WARN", "ERROR")
WEIGHTS = (10, 70, 15, 5)
ROUTES = {"ERROR": "errors", "WARN": "warnings"}
"""W2: level to output folder; every other level goes to `rest`."""
FOLDERS = ("errors", "warnings", "rest")
SERVICES = ("checkout", "search", "billing", "login", "images", "mail")
PATHS = ("/orders", "/orders/items", "/search", "/login", "/invoices", "/images/thumb")


def log_files(count: int) -> Iterator[tuple[str, bytes]]:
    """`count` log files as (name, content), each of about LOG_BYTES and no two alike; the same on every call."""
    chance = random.Random(SEED)
    pool = [_log_line(chance) for _ in range(5000)]
    width = sum(map(len, pool)) // len(pool)
    for number in range(count):
        lines = chance.choices(pool, k=LOG_BYTES // width - 1)
        first = f"2026-03-01T12:00:00.000Z INFO logger file {number:06d} opened\n"
        yield f"app-{number:06d}.log", (first + "".join(lines)).encode()


def _log_line(chance: random.Random) -> str:
    [level] = chance.choices(LEVELS, WEIGHTS)
    return (
        f"2026-03-01T12:{chance.randrange(60):02d}:{chance.randrange(60):02d}.{chance.randrange(1000):03d}Z {level} "
        f"{chance.choice(SERVICES)} host-{chance.randrange(40):02d} request {chance.getrandbits(32):08x} "
        f"GET {chance.choice(PATHS)} {chance.choice((200, 200, 200, 304, 404, 500))} in {chance.randrange(3000)} ms\n"
    )


def right_log(content: bytes) -> bytes:
    """The one right output of a log file."""
    return b"".join(
        line.upper() for line in content.splitlines(keepends=True) if b" DEBUG " not in line
    )


def verify_logs(out: Path, count: int) -> list[str]:
    """What is wrong with the outputs of `log_files(count)`; empty when all is right."""
    found = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    missing = wrong = 0
    for name, content in log_files(count):
        if name not in found:
            missing += 1
            continue
        found.discard(name)
        wrong += (out / name).read_bytes() != right_log(content)
    counted = {"lost": missing, "wrong": wrong, "too many": len(found)}
    return [f"{number:,} outputs {word}" for word, number in counted.items() if number]
