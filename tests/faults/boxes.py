"""A small world of files that come out of files, and the judgement of what a fault left of it.

An archive holds two sheets and another archive, each sheet emits a file of some of its records: children, children of
children, and outputs of all of them. `strike` lets one fault strike, starts again, and looks at every promise: each
child is exactly one file, each file has exactly its outputs, nothing is left in the data directory that no row names.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import signal
import tarfile
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import apsw
from machine import Machine
from scenario import Ended, run

PLAIN = ("-m", "filemill")
CONFIG = """\
version: 1
workers: 1
sources:
  inbox: {folder: inbox, settle: 5ms, settle_unproven: 20ms, types: [application/zip], tags: [in]}
tags:
  box: {name: ["*.zip", "*.tar.gz"]}
  sheet: {name: "*.csv*"}
pipelines:
  boxes:
    when: box
    retry: {min: 50ms}
    steps: [{unpack: {tags: [part]}}]
  sheets:
    when: sheet and not vip
    retry: {min: 50ms}
    steps:
      - decompress
      - read_csv
      - tag_records: {big: "amount > 10"}
      - emit: {tags: [vip], name: "{stem}-big.csv"}
        if: big
      - write: out
  vips:
    when: vip
    retry: {min: 50ms}
    steps: [{write: vips}]
sinks:
  out: {folder: out}
  vips: {folder: vips}
"""


def sheet(number: int) -> bytes:
    """A sheet with one record over ten."""
    return b"id,amount\n%d,1\n%d,%d\n" % (number, number, 20 + number)


def big(number: int) -> bytes:
    """What a sheet emits."""
    return b"id,amount\n%d,%d\n" % (number, 20 + number)


def inner() -> bytes:
    """The archive within the archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        info = tarfile.TarInfo("c.csv")
        info.size = len(sheet(3))
        archive.addfile(info, io.BytesIO(sheet(3)))
    return out.getvalue()


BOX = "acme/feed.zip"
SHEETS = {
    f"{BOX}/a.csv": sheet(1),
    f"{BOX}/deep/b.csv.gz": gzip.compress(sheet(2), mtime=0),
    f"{BOX}/inner.tar.gz/c.csv": sheet(3),
}
OUTPUTS = {
    "out": {
        f"{BOX}/a.csv": sheet(1),
        f"{BOX}/deep/b.csv": sheet(2),
        f"{BOX}/inner.tar.gz/c.csv": sheet(3),
    },
    "vips": {
        f"{BOX}/a.csv/a-big.csv": big(1),
        f"{BOX}/deep/b.csv/b-big.csv": big(2),
        f"{BOX}/inner.tar.gz/c.csv/c-big.csv": big(3),
    },
}
PARENTS = {
    BOX: None,
    f"{BOX}/a.csv": BOX,
    f"{BOX}/deep/b.csv.gz": BOX,
    f"{BOX}/inner.tar.gz": BOX,
    f"{BOX}/inner.tar.gz/c.csv": f"{BOX}/inner.tar.gz",
    f"{BOX}/a.csv/a-big.csv": f"{BOX}/a.csv",
    f"{BOX}/deep/b.csv/b-big.csv": f"{BOX}/deep/b.csv.gz",
    f"{BOX}/inner.tar.gz/c.csv/c-big.csv": f"{BOX}/inner.tar.gz/c.csv",
}
"""Every file there has to be, once, and what it came out of."""


def build(root: Path) -> None:
    """Everything in place, nothing started."""
    (root / "inbox/acme").mkdir(parents=True)
    (root / "filemill.yaml").write_text(CONFIG)
    with zipfile.ZipFile(root / "inbox" / BOX, "w") as archive:
        archive.writestr("a.csv", sheet(1))
        archive.writestr("deep/b.csv.gz", SHEETS[f"{BOX}/deep/b.csv.gz"])
        archive.writestr("inner.tar.gz", inner())


def strike(root: Path, rule: str, entry: Sequence[str] = PLAIN) -> Ended:
    """Build the world, let one fault strike, start again without it, and judge; how the struck run ended.

    Raises:
        AssertionError: a promise is broken.
    """
    root.mkdir(parents=True)
    build(root)
    struck = run(root, rule)
    if rule.endswith(":kill") and rule.startswith("server"):
        assert struck.code == (-signal.SIGKILL if struck.fired else 0), (rule, struck)
    return _mended(root, rule, struck, entry)


def strike_power(machine: Machine, rule: str) -> bool:
    """The same with the power cut just before one action; False: there is no such action.

    Raises:
        AssertionError: a promise is broken.
    """
    root = machine.place / "data/boxes"
    root.mkdir()
    for sink in OUTPUTS:
        (machine.place / "sinks" / sink).mkdir()
        (root / sink).symlink_to(machine.place / "sinks" / sink)
    build(root)
    machine.sync()
    struck = run(root, f"{rule}:stop", cut=machine.cut)
    if struck.fired:
        machine.on()
    _mended(root, rule, struck)
    shutil.rmtree(root)
    for sink in OUTPUTS:
        shutil.rmtree(machine.place / "sinks" / sink)
    return bool(struck.fired)


def _mended(root: Path, rule: str, struck: Ended, entry: Sequence[str] = PLAIN) -> Ended:
    """Start again and judge; answers how the struck run ended."""
    after = run(root, entry=entry)
    wrong = judge(root)
    said = f"--- struck:\n{struck.said}\n--- after:\n{after.said}"
    assert not wrong, f"{rule}: {wrong}\n{said}"
    assert after.code == 0, f"{rule}\n{said}"
    return struck


def judge(root: Path) -> list[str]:
    """Every broken promise; empty when all are kept."""
    wrong: list[str] = []
    for sink, wanted in OUTPUTS.items():
        found = files_in(root / sink)
        wrong += [
            f"{sink}/{name}: {found.get(name)!r:.60}"
            for name in sorted(found.keys() | wanted.keys())
            if found.get(name) != wanted.get(name)
        ]
    data = root / ".filemill"
    db = apsw.Connection(str(data / "ledger.db"), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        if (answer := db.execute("PRAGMA integrity_check").get) != "ok":
            wrong.append(f"integrity_check: {answer}")
        rows = db.execute(
            "SELECT CAST(file.relative AS TEXT), CAST(above.relative AS TEXT), file.content, file.tags,"
            " concat_ws(' ', file.state, group_concat(run.state)) FROM file"
            " LEFT JOIN file AS above ON above.id = file.parent LEFT JOIN run ON run.file = file.no"
            " GROUP BY file.no"
        ).fetchall()
    finally:
        db.close()
    times = Counter(row[0] for row in rows)
    wrong += [
        f"{name}: {times[name]} files"
        for name in sorted(times.keys() | PARENTS)
        if times[name] != 1
    ]
    for name, above, content, tags, state in rows:
        if PARENTS.get(name) != above:
            wrong.append(f"{name} came out of {above}")
        if state != "inspected done":
            wrong.append(f"{name} is {state}")
        if "in" not in tags.split():
            wrong.append(f"{name} has not its source's tags: {tags}")
        path = data / "content" / content
        if not path.exists():
            wrong.append(f"{name}: its content is gone")
        elif name in SHEETS and path.read_bytes() != SHEETS[name]:
            wrong.append(f"{name}: its content is wrong")
    named = {row[2] for row in rows}
    wrong += [f"content of no row: {x}" for x in files_in(data / "content") if x not in named]
    wrong += [f"left in {x}: {each}" for x in ("children", "work") for each in left_in(data / x)]
    wrong += [f"left in the inbox: {x}" for x in files_in(root / "inbox")]
    return wrong


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file below the folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def left_in(folder: Path) -> list[str]:
    """Everything below the folder but the staging folder itself."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.name != ".filemill"
    ]


def counts(root: Path) -> dict[str, int]:
    """How many durable actions each role has in this world."""
    build(root)
    path = root / "counts"
    os.environ["FILEMILL_FAIL_COUNTS"] = str(path)
    try:
        ended = run(root)
    finally:
        del os.environ["FILEMILL_FAIL_COUNTS"]
    assert ended.code == 0, ended.said
    found: Counter[str] = Counter()
    for line in path.read_text().splitlines():
        name, number = line.split()
        found[name.partition(".")[0]] += int(number)
        found[name] += int(number)
    return found
