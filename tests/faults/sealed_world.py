"""A small world of files whose cells are a canary, everything encrypted, and where plain bytes may never be found.

Files come by rename and by copy, are published, die with a message that quotes them, wait for a person, are unpacked
and emitted. Names are no secret; whatever a file holds is.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import pyrage

CANARY = "CaNaRy4711"
MAGIC = b"age-encryption.org/v1"
CONFIG = """
version: 1
workers: 1
encryption:
  recipients: [{recipient}]
  identity: key
sources:
  in: {{folder: in, settle: 5ms, settle_unproven: 20ms}}
  stay: {{folder: stay, settle: 5ms, settle_unproven: 20ms, after: keep}}
tags:
  good: {{name: "good*.csv"}}
  bad: {{name: "bad*.csv"}}
  asked: {{name: "asked*.csv"}}
  packed: {{name: "*.zip"}}
  split: {{name: "split.jsonl"}}
pipelines:
  goods: {{when: good, steps: [read_csv, write: out]}}
  bads: {{when: bad, steps: [read_csv, derive: {{more: "1"}}, steps.quote, write: out]}}
  askeds: {{when: asked, steps: [read_csv, derive: {{more: "1"}}, hold: is this right?, write: out]}}
  packeds: {{when: packed, steps: [unpack: {{}}]}}
  splits: {{when: split, steps: [read_jsonl, emit: {{name: good-emitted.csv, format: csv}}]}}
sinks:
  out: {{folder: out, encrypt: {recipient}}}
"""
STEPS = """
def quote(row: dict) -> dict:
    print("printed", row["id"])
    raise RuntimeError("boom over " + row["id"])
"""
ROWS = f"id,n\n{CANARY},1\nplain,2\n"
OUTPUTS = ("good.csv", "good-stay.csv", "good-inner.csv", "good-emitted.csv")


def make(root: Path) -> Path:
    """The world, nothing started."""
    for folder in ("in", "stay", "tmp"):
        (root / folder).mkdir(parents=True)
    identity = pyrage.x25519.Identity.generate()
    key = root / "key"
    key.write_text(f"{identity}\n")
    key.chmod(0o600)
    (root / "filemill.yaml").write_text(CONFIG.format(recipient=identity.to_public()))
    (root / "steps.py").write_text(STEPS)
    (root / "in" / "good.csv").write_text(ROWS)
    (root / "in" / "bad.csv").write_text(ROWS)
    (root / "in" / "asked.csv").write_text(ROWS)
    (root / "in" / "split.jsonl").write_text(f'{{"id":"{CANARY}","n":1}}\n')
    (root / "stay" / "good-stay.csv").write_text(ROWS)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("good-inner.csv", ROWS)
    (root / "in" / "more.zip").write_bytes(packed.getvalue())
    return root


def identity_of(root: Path) -> pyrage.x25519.Identity:
    """What opens this world."""
    return pyrage.x25519.Identity.from_str((root / "key").read_text().strip())


def filemill(root: Path, *words: str, fail: str = "", entry: tuple[str, ...] = ("-m", "filemill")):
    """One command in this world; answers the ended process."""
    environ = os.environ | {"FILEMILL_FAIL": fail, "TMPDIR": str(root / "tmp")}
    return subprocess.run(
        [sys.executable, *entry, *words],
        cwd=root,
        env=environ | {"FILEMILL_FAIL_COUNTS": str(root / "counts")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def once(root: Path, fail: str = "", entry: tuple[str, ...] = ("-m", "filemill")):
    """Work on all that waits."""
    return filemill(root, "run", "--once", "--no-web", fail=fail, entry=entry)


def workspace(root: Path) -> Path:
    """Where workers have plain bytes."""
    from hashlib import sha256

    own = sha256(os.fsencode(os.path.realpath(root / ".filemill"))).hexdigest()[:12]
    return Path(f"/dev/shm/filemill-{os.getuid()}-{own}")


@contextlib.contextmanager
def world(root: Path):
    """The world, whose workspace goes with it."""
    try:
        yield make(root)
    finally:
        shutil.rmtree(workspace(root), ignore_errors=True)


def leaks(root: Path, *, ended: bool = True) -> list[str]:
    """Where plain bytes lie that must not; `ended`: no server was killed, so none are in memory either."""
    places = [root / ".filemill", root / "out", root / "tmp"]
    places += [root / "in" / ".filemill", root / "stay" / ".filemill"] if ended else []
    places += [workspace(root)] if ended else []
    found = [
        str(path)
        for place in places
        for path in place.rglob("*")
        if path.is_file() and CANARY.encode() in path.read_bytes()
    ]
    sealed = [root / ".filemill" / name for name in ("content", "children", "inputs")]
    for path in [path for place in (*sealed, root / "out") for path in place.rglob("*")]:
        if not path.is_file() or path.name.endswith(".part"):
            continue
        head = path.read_bytes()[: len(MAGIC)]
        if head != MAGIC[: len(head)]:  # a worker that was killed may have begun with nothing
            found.append(f"{path} is not encrypted")
    return found


def wrong(root: Path) -> list[str]:
    """What did not become of these files what has to, after a run to the end."""
    found = []
    opens = [identity_of(root)]
    seen = {path.name: path for path in (root / "out").rglob("*") if path.is_file()}
    wanted = {f"{name}.age" for name in OUTPUTS}
    if set(seen) != wanted:
        found.append(f"outputs: {sorted(seen)}, not {sorted(wanted)}")
    for name in wanted & set(seen):
        plain = pyrage.decrypt(seen[name].read_bytes(), opens).decode()
        if CANARY not in plain or plain.count("\n") not in (2, 3):
            found.append(f"{name} holds {plain!r}")
    ledger = sqlite3.connect(root / ".filemill" / "ledger.db")
    states = dict(ledger.execute("SELECT state, count(*) FROM run GROUP BY state"))
    if states != {"done": 6, "dead": 1, "held": 1}:
        found.append(f"runs: {states}")
    kept = [reference for (reference,) in ledger.execute("SELECT input FROM run") if reference]
    if len(kept) != 2:
        found.append(f"kept inputs: {kept}")
    names = {reference for (reference,) in ledger.execute("SELECT content FROM file")} | set(kept)
    ledger.close()
    content = root / ".filemill" / "content"
    there = {str(path.relative_to(content)) for path in content.rglob("*") if path.is_file()}
    if there - names:
        found.append(f"content that no row names: {there - names}")
    left = list((root / "in").rglob("*.csv")) + list((root / "in" / ".filemill").rglob("*.*"))
    if left:
        found.append(f"left in the source: {left}")
    return found
