"""How many durable actions the scenario touches, held against `covered.toml`, whose numbers may only grow."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path

RECORD = Path(__file__).with_name("covered.toml")


def recorded() -> dict[str, tuple[int, int]]:
    """Least and most of every `role.action` on record."""
    roles = tomllib.loads(RECORD.read_text())
    return {
        f"{role}.{action}": (least, most)
        for role, actions in roles.items()
        for action, (least, most) in actions.items()
    }


def least(pattern: str) -> int:
    """How many actions a walk over `server.*`, `worker.*` or one action must come by."""
    role, _, action = pattern.partition(".")
    return sum(
        low
        for name, (low, _) in recorded().items()
        if name.startswith(f"{role}.") and action in ("*", name.partition(".")[2])
    )


def counted(path: Path) -> Counter[str]:
    """What `FILEMILL_FAIL_COUNTS` noted, of all processes together."""
    total: Counter[str] = Counter()
    for line in path.read_text().splitlines():
        name, number = line.split()
        total[name] += int(number)
    return total


def fewer(counts: Counter[str]) -> list[str]:
    """What is covered less than it was."""
    return [
        f"{name}: {counts[name]}, was {low}"
        for name, (low, _) in recorded().items()
        if counts[name] < low
    ]


def more(counts: Counter[str]) -> list[str]:
    """What is covered more than the record says: raise it."""
    known = recorded()
    return [
        f"{name}: {number}, the record says {known[name][1] if name in known else 'nothing'}"
        for name, number in sorted(counts.items())
        if name not in known or number > known[name][1]
    ]
