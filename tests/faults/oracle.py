"""What must hold after any fault: every acknowledged input has exactly one right output per sink."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from pathlib import Path

LEVELS = ("ERROR", "WARN", "INFO")
SINKS = {"ERROR": "errors", "WARN": "warnings", "INFO": "rest"}

CONFIG = """\
version: 1
workers: 2
sources:
  inbox: {folder: inbox, settle: 20ms, settle_unproven: 200ms}
tags:
  log: {name: "*.log"}
pipelines:
  logs:
    when: log
    steps:
      - read_lines
      - tag_records: {error: "line LIKE '%ERROR%'", warn: "line LIKE '%WARN%'"}
      - route: {error: errors, warn: warnings, else: rest}
sinks:
  errors: {folder: out/errors}
  warnings: {folder: out/warnings}
  rest: {folder: out/rest}
"""


def make_project(root: Path) -> None:
    """A project with three sinks, as every fault test uses it."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "inbox").mkdir()
    (root / "filemill.yaml").write_text(CONFIG)


def content_of(number: int, lines: int = 12) -> str:
    """One input: lines of all three levels, unlike any other input's."""
    return "".join(f"{LEVELS[i % 3]} file {number} line {i}\n" for i in range(lines))


def drop(root: Path, numbers: range) -> None:
    """Rename inputs into the watched folder, each whole at once."""
    staging = root / "drop"
    staging.mkdir(exist_ok=True)
    for number in numbers:
        path = staging / f"in-{number:05}.log"
        path.write_text(content_of(number))
        os.rename(path, root / "inbox" / path.name)


def expected(number: int) -> dict[str, str]:
    """What each sink must hold of one input."""
    lines = content_of(number).splitlines(keepends=True)
    return {SINKS[level]: "".join(x for x in lines if x.startswith(level)) for level in LEVELS}


def judge(root: Path, total: int) -> list[str]:
    """Every way in which the outputs are wrong; empty when all is well."""
    wrong: list[str] = []
    for sink in SINKS.values():
        folder = root / "out" / sink
        found = Counter(path.name for path in folder.iterdir() if path.is_file())
        contents = Counter(
            hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.iterdir()
            if path.is_file()
        )
        for number in range(total):
            name = f"in-{number:05}.log"
            digest = hashlib.sha256(expected(number)[sink].encode()).hexdigest()
            if contents[digest] != 1:
                wrong.append(f"{sink}/{name}: {contents[digest]} right outputs")
            found.pop(name, None)
        wrong.extend(f"{sink}: unexpected {name}" for name in found)
        staging = folder / ".filemill"
        if staging.is_dir():
            wrong.extend(f"{sink}: left in staging {path.name}" for path in staging.iterdir())
    wrong.extend(f"left in the inbox: {path.name}" for path in (root / "inbox").glob("*.log"))
    return wrong
