"""The project that is soaked, what is dropped into it, and what must come out of each drop.

Everything follows from a drop's number, so that nothing has to be remembered of tens of thousands of them:

    logs     lines to two sinks by tag, stamped with the version that made them; every 25th dies under odd versions
    tables   csv; every 10th of them has two bad records (tolerated), every 10th five: dead, and discarded by a person
    bigs     JSON lines of some megabytes, in chunks, to two sinks
"""

from __future__ import annotations

import hashlib
import os
import random
from dataclasses import dataclass
from pathlib import Path

CONFIG = """\
version: 1
workers: 2
chunk_size: 1MiB
retention: {{content: {content}, ledger: {ledger}}}
sources:
  inbox: {{folder: inbox, settle: 20ms, settle_unproven: 200ms}}
tags:
  log: {{name: "*.log"}}
  table: {{name: "*.csv"}}
  big: {{name: "*.jsonl"}}
pipelines:
  logs:
    when: log
    steps:
      - read_lines
      - stamp.stamp: {{config: "{number}"}}
      - tag_records: {{odd: "line LIKE '%odd%'"}}
      - route: {{odd: odd, else: even}}
  tables:
    when: table
    tolerance: 2
    steps: [read_csv, write: tables]
  bigs:
    when: big
    steps:
      - read_jsonl
      - tag_records: {{slow: "ms >= 900"}}
      - route: {{slow: slow, else: fast}}
sinks:
  odd: {{folder: out/odd}}
  even: {{folder: out/even}}
  tables: {{folder: out/tables}}
  slow: {{folder: out/slow}}
  fast: {{folder: out/fast}}
"""
MODULE = """\
MARK = {number}


def stamp(row: dict, *, config: str) -> dict:
    if MARK % 2 and int(row["line"].split()[1]) % 25 == 7:
        raise ValueError("not under this version")
    return {{"line": f"{{row['line']}} config={{config}} module={{MARK}}"}}
"""
SINKS = ("odd", "even", "tables", "slow", "fast")
TABLE_ROWS = 40


@dataclass(frozen=True)
class Sizes:
    """How much is dropped, and how long filemill keeps what is done."""

    rate: float
    """Small files a second."""
    big_every: float
    """Seconds between two big files."""
    big_lines: int
    """Some 60 bytes each."""
    content: str
    ledger: str


def make(root: Path, sizes: Sizes) -> None:
    """The project at version 2, under which everything works."""
    for folder in ("inbox", "drop"):
        (root / folder).mkdir(parents=True)
    for name in ("stamp.py", "filemill.yaml"):
        (root / name).symlink_to(f"..data/{name}")
    put(root, 2, sizes)


def put(root: Path, number: int, sizes: Sizes) -> None:
    """Another version in the place of the one there is, in one rename: both files are links into a linked folder."""
    folder = root / f"..{number}"
    folder.mkdir()
    (folder / "stamp.py").write_text(MODULE.format(number=number))
    config = CONFIG.format(number=number, content=sizes.content, ledger=sizes.ledger)
    (folder / "filemill.yaml").write_text(config)
    (root / "..new").symlink_to(folder.name)
    os.rename(root / "..new", root / "..data")


def kind_of(number: int) -> str:
    """What a small drop is."""
    return "tables" if number % 10 == 3 else "logs"


def dies(number: int) -> bool:
    """Whether it dies under every second version, or for good: its latency says nothing."""
    return number % 25 == 7 or number % 100 == 53


def name_of(number: int) -> str:
    return f"in-{number:06}.{'csv' if kind_of(number) == 'tables' else 'log'}"


def text_of(number: int) -> str:
    """The bytes of a small drop."""
    if kind_of(number) == "tables":
        bad = {3: 2, 53: 5}.get(number % 100, 0)
        rows = [f"{number},{row},{row * number}" for row in range(TABLE_ROWS)]
        for each in range(bad):
            rows[7 * each] += ",one field too many"
        return "\n".join(["file,row,amount", *rows, ""])
    lines = 8 + number % 40
    return "".join(f"file {number} line {i} {('even', 'odd')[i % 2]}\n" for i in range(lines))


def wanted(number: int) -> dict[str, str]:
    """What each sink must get of a small drop once it is through; lines of logs without their stamps."""
    if kind_of(number) == "tables":
        if number % 100 == 53:
            return {}
        rows = text_of(number).splitlines(keepends=True)
        return {"tables": "".join(row for row in rows if row.count(",") == 2)}
    lines = text_of(number).splitlines(keepends=True)
    return {"even": "".join(lines[::2]), "odd": "".join(lines[1::2])}


def drop(root: Path, number: int) -> None:
    """Rename one small file into the watched folder."""
    path = root / "drop" / name_of(number)
    path.write_text(text_of(number))
    os.rename(path, root / "inbox" / path.name)


def make_big(root: Path, number: int, lines: int) -> tuple[Path, dict[str, str]]:
    """Write one big file to be dropped; answers with it and the digest that each sink's part must have."""
    chance = random.Random(number)
    digests = {"slow": hashlib.sha256(), "fast": hashlib.sha256()}
    path = root / "drop" / f"big-{number:04}.jsonl"
    with path.open("wb") as out:
        for line in range(lines):
            ms = chance.randrange(1_000)
            text = (
                f'{{"big": {number}, "line": {line}, "ms": {ms}, "say": "{"x" * 20}"}}\n'.encode()
            )
            digests["slow" if ms >= 900 else "fast"].update(text)
            out.write(text)
    return path, {sink: digest.hexdigest() for sink, digest in digests.items()}
