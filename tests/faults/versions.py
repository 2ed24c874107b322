"""A project whose configuration and module come in numbered versions, and every output says which made it.

The files lie as Kubernetes mounts a map: each is a link into `..data`, itself a link that is swapped, so that a version
takes the place of another in one rename.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import defaultdict
from pathlib import Path

import apsw

CONFIG = """\
version: 1
workers: 2
sources:
  inbox: {{folder: inbox, settle: 20ms, settle_unproven: 200ms}}
{more}
tags:
  log: {{name: "*.log"}}
pipelines:
  logs:
    when: log
    steps:
      - read_lines
      - stamp.stamp: {{config: "{number}"}}
      - tag_records: {{odd: "line LIKE '%odd%'"}}
      - route: {{odd: odd, else: even}}
sinks:
  odd: {{folder: out/odd-{place}}}
  even: {{folder: out/even}}
"""
MODULE = """\
import time

MARK = {number}


def stamp(row: dict, *, config: str) -> dict:
    time.sleep(0.001)
    return {{"line": f"{{row['line']}} config={{config}} module={{MARK}}"}}
"""
LINES = 12
_STAMP = re.compile(r"file (\d+) line (\d+) (odd|even) config=(\d+) module=(\d+)\Z")


def make(root: Path) -> None:
    """The project at version 1."""
    (root / "inbox").mkdir(parents=True)
    (root / "extra").mkdir()
    for name in ("filemill.yaml", "stamp.py"):
        (root / name).symlink_to(f"..data/{name}")
    swap(root, 1)


def texts(number: int) -> dict[str, str]:
    """The files of a version; every second one has a source more, and the sink `odd` moves about."""
    more = "  extra: {folder: extra, settle: 20ms}\n" if number % 2 else ""
    config = CONFIG.format(number=number, more=more, place=number % 3)
    return {"filemill.yaml": config, "stamp.py": MODULE.format(number=number)}


def swap(root: Path, number: int, **other: str) -> None:
    """Put a version in the place of the one there is, in one rename; `other` replaces texts by name's stem."""
    folder = root / f"..{number}-{len(list(root.glob('..[0-9]*')))}"
    folder.mkdir()
    for name, text in texts(number).items():
        (folder / name).write_text(other.get(name.partition(".")[0], text))
    link = root / "..new"
    link.symlink_to(folder.name)
    os.rename(link, root / "..data")
    for old in sorted(root.glob("..[0-9]*"), key=os.path.getmtime)[:-3]:
        shutil.rmtree(old)


def drop(root: Path, number: int) -> None:
    """Rename one input into the watched folder."""
    staging = root / "drop"
    staging.mkdir(exist_ok=True)
    path = staging / f"in-{number:05}.log"
    kinds = ("even", "odd")
    path.write_text("".join(f"file {number} line {i} {kinds[i % 2]}\n" for i in range(LINES)))
    os.rename(path, root / "inbox" / path.name)


def outputs(root: Path) -> int:
    """How many outputs there are."""
    return sum(1 for _ in root.glob("out/*/*.log"))


def judge(root: Path, total: int) -> tuple[list[str], set[int]]:
    """Every way in which the outputs, or what the ledger says of them, are wrong; and the versions that made them."""
    lines: dict[int, list[int]] = defaultdict(list)
    made: dict[int, set[int]] = defaultdict(set)
    wrong = _read(root, lines, made)
    for file in range(total):
        if sorted(lines[file]) != list(range(LINES)):
            wrong.append(f"file {file} has lines {sorted(lines[file])}")
        if len(made[file]) > 1:
            wrong.append(f"file {file} was made by versions {sorted(made[file])}")
    said = _said(root)
    for file, versions in made.items():
        if {said.get(file)} != versions:
            wrong.append(f"file {file}: the ledger says version {said.get(file)}, not {versions}")
    for folder in root.glob("out/*/.filemill"):
        wrong += [f"left in staging: {path}" for path in folder.iterdir()]
    return wrong, set().union(*made.values())


def _read(root: Path, lines: dict[int, list[int]], made: dict[int, set[int]]) -> list[str]:
    """Collect the lines of each input and the versions that made them; what lies in a wrong place or form is wrong."""
    wrong: list[str] = []
    for path in root.glob("out/*/*.log"):
        for text in path.read_text().splitlines():
            match = _STAMP.match(text)
            if match is None:
                wrong.append(f"{path}: {text!r}")
                continue
            file, line, config, module = (int(match[n]) for n in (1, 2, 4, 5))
            place = f"odd-{config % 3}" if match[3] == "odd" else "even"
            if path.parent.name != place:
                wrong.append(f"file {file} of version {config} is in {path.parent.name}")
            lines[file].append(line)
            made[file] |= {config, module}
    return wrong


def _said(root: Path) -> dict[int, int]:
    """By input, the version whose configuration the ledger names for the attempt that made it."""
    said: dict[int, int] = {}
    query = (
        "SELECT file.relative, revision.text FROM file JOIN run ON run.file = file.no "
        "JOIN attempt ON attempt.run = run.no AND attempt.fence = run.fence "
        "JOIN revision ON revision.number = attempt.revision WHERE run.state = 'done'"
    )
    for relative, text in ledger(root, query):
        said[int(relative[3:8])] = int(re.findall(r'config: \\"(\d+)\\"', text)[0])
    return said


def ledger(root: Path, query: str) -> list[tuple]:
    """What a query finds."""
    db = apsw.Connection(str(root / ".filemill" / "ledger.db"), flags=apsw.SQLITE_OPEN_READWRITE)
    db.set_busy_timeout(5_000)
    try:
        return list(db.execute(query).fetchall())
    finally:
        db.close()


def reloads(root: Path) -> int:
    """How often a configuration came into force."""
    return ledger(root, "SELECT count(*) FROM activation")[0][0]
