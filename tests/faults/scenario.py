"""A small world that touches every durable action, and the judgement of what a fault left of it.

It holds a file for each way through the program: adopted by rename, copied because it has a second link, copied and
kept, deleted when done, rejected, held, dead, and an output whose name somebody has taken. `settle` makes the fault
pass (a clean run), then every promise is looked at: outputs, sources, content, ledger, processes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import apsw
import msgspec
from oracle import content_of, expected

CONFIG = """\
version: 1
workers: 1
sources:
  inbox: {folder: inbox, settle: 5ms, settle_unproven: 20ms, max_size: 4KB}
  gone: {folder: gone, settle: 5ms, settle_unproven: 20ms, after: delete}
  stay: {folder: stay, settle: 5ms, settle_unproven: 20ms, after: keep}
tags:
  log: {name: "*.log"}
  json: {name: "*.jsonl"}
pipelines:
  logs:
    when: log
    retry: {min: 50ms}
    steps:
      - read_lines
      - tag_records: {error: "line LIKE '%ERROR%'", warn: "line LIKE '%WARN%'"}
      - route: {error: errors, warn: warnings, else: rest}
  values:
    when: json
    steps: [read_jsonl, write: rest]
sinks:
  errors: {folder: out/errors}
  warnings: {folder: out/warnings}
  rest: {folder: out/rest}
"""
ADOPTED = ("in-00000.log", "in-00001.log", "below/it/in-00002.log")
TAKEN = "in-00000.log"
"""Its name in the sink of errors belongs to somebody else."""
FOREIGN = "not ours\n"
BROKEN = '{"a": 1}\nthis is no JSON\n'
BIG = "x" * 5_000
SINKS = ("errors", "warnings", "rest")
TIME_LIMIT = 60.0


class Input(msgspec.Struct, frozen=True):
    """One file that is dropped, and what has to become of it."""

    source: str
    name: str
    content: str
    ends: str
    """State of its row and, when it has one, of its run."""
    kept: bool = True
    """Whether content holds its bytes at the end."""


INPUTS = (
    *(
        Input("inbox", name, content_of(number), "inspected done")
        for number, name in enumerate(ADOPTED)
    ),
    Input("inbox", "in-00003.log", content_of(3), "inspected done"),
    Input("gone", "in-00004.log", content_of(4), "inspected done", kept=False),
    Input("stay", "in-00005.log", content_of(5), "inspected done", kept=False),
    Input("inbox", "who.bin", "wanted by nobody\n", "held"),
    Input("inbox", "big.log", BIG, "rejected"),
    Input("inbox", "broken.jsonl", BROKEN, "inspected dead"),
)
LINKED = "in-00003.log"


class Ended(msgspec.Struct, frozen=True):
    """One run of the program."""

    code: int
    """Negative: the signal that ended it."""
    fired: bool
    """Whether the fault struck."""
    said: str


def build(root: Path) -> None:
    """Everything in place, nothing started."""
    for folder in ("inbox", "gone", "stay", "elsewhere", "out/errors"):
        (root / folder).mkdir(parents=True)
    (root / "filemill.yaml").write_text(CONFIG)
    (root / "out/errors" / TAKEN).write_text(FOREIGN)
    for each in INPUTS:
        path = root / each.source / each.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(each.content)
    os.link(root / "inbox" / LINKED, root / "elsewhere" / LINKED)


def run(root: Path, fail: str = "", entry: Sequence[str] = ("-m", "filemill")) -> Ended:
    """`filemill run --once`, with a fault or without one; its whole tree is gone when this returns.

    Raises:
        AssertionError: it hangs, or leaves a process behind.
    """
    mark = uuid.uuid4().hex
    once = root / f"fired-{mark}"
    environment = os.environ | {"FILEMILL_TEST": mark}
    if fail:
        environment |= {"FILEMILL_FAIL": fail, "FILEMILL_FAIL_ONCE": str(once)}
    process = subprocess.Popen(
        [sys.executable, *entry, "run", "--once"],
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said, _ = process.communicate(timeout=TIME_LIMIT)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        said, _ = process.communicate()
        raise AssertionError(f"{fail or 'the clean run'} hangs:\n{said[-3_000:]}") from None
    finally:
        strays = _left(mark)
        for pid in strays:
            os.kill(pid, signal.SIGKILL)
    fired = once.exists()
    once.unlink(missing_ok=True)
    assert not strays, f"{fail}: processes left: {strays}\n{said[-2_000:]}"
    return Ended(process.returncode, fired, said)


def _left(mark: str) -> list[int]:
    """Processes that still carry the mark after a moment's grace."""
    wanted = f"FILEMILL_TEST={mark}".encode()
    ends = time.monotonic() + 5
    while True:
        found = [pid for pid in _pids() if wanted in _environment(pid)]
        if not found or time.monotonic() > ends:
            return found
        time.sleep(0.02)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def strike(root: Path, rule: str, entry: Sequence[str] = ("-m", "filemill")) -> Ended:
    """Build the world, let one fault strike, start again without it, and judge; answers how the struck run ended.

    Raises:
        AssertionError: a promise is broken.
    """
    root.mkdir(parents=True)
    build(root)
    struck = run(root, rule)
    killed = rule.endswith(":kill") and rule.startswith("server")
    if killed:
        assert struck.code == (-signal.SIGKILL if struck.fired else 1), (rule, struck)
    else:
        # Either it went on by itself (1: a file of the scenario is dead), or it ended and said why.
        ended = "\nerror: " in f"\n{struck.said}"
        assert struck.code in ((1, 2) if ended else (1,)), (rule, struck)
        assert "\nhelp: " in struck.said or not ended, (rule, struck)
        assert "unexpected" not in struck.said, (rule, struck.said)
        assert "Traceback" not in struck.said, (rule, struck.said)
        assert "never retrieved" not in struck.said, (rule, struck.said)
    after = run(root, entry=entry)
    assert after.code in (0, 1), (rule, struck, after)
    # A worker that is killed charges the run that it had announced; nothing else charges anybody.
    wrong = judge(root, attempts=2 if rule.startswith("worker") and rule.endswith(":kill") else 1)
    assert not wrong, f"{rule}: {wrong}\n--- struck:\n{struck.said}\n--- after:\n{after.said}"
    return struck


def judge(root: Path, attempts: int = 1) -> list[str]:
    """Every broken promise; empty when all are kept. `attempts`: the most that a run may have been charged."""
    return [
        *_judge_outputs(root),
        *_judge_sources(root),
        *_judge_ledger(root, attempts),
    ]


def _files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _judge_outputs(root: Path) -> list[str]:
    wanted: dict[str, dict[str, str]] = {sink: {} for sink in SINKS}
    for number, name in enumerate((*ADOPTED, LINKED, "in-00004.log", "in-00005.log")):
        for sink, content in expected(number).items():
            wanted[sink][name] = content
    wanted["errors"]["in-00000-2.log"] = wanted["errors"][TAKEN]
    wanted["errors"][TAKEN] = FOREIGN
    wrong: list[str] = []
    for sink in SINKS:
        found = _files(root / "out" / sink)
        wrong.extend(
            f"{sink}/{name}: {found.get(name)!r:.60}"
            for name in sorted(found.keys() | wanted[sink].keys())
            if found.get(name) != wanted[sink].get(name)
        )
    return wrong


def _judge_sources(root: Path) -> list[str]:
    wrong = [
        f"left in a source: {name}" for name in (_files(root / "inbox") | _files(root / "gone"))
    ]
    if _files(root / "stay") != {"in-00005.log": content_of(5)}:
        wrong.append("the file that was to stay did not")
    if _files(root / "elsewhere") != {LINKED: content_of(3)}:
        wrong.append("the other link was touched")
    return wrong


def _judge_ledger(root: Path, attempts: int) -> list[str]:
    wrong: list[str] = []
    data = root / ".filemill"
    db = apsw.Connection(str(data / "ledger.db"), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        if (answer := db.execute("PRAGMA integrity_check").get) != "ok":
            wrong.append(f"integrity_check: {answer}")
        if answer := db.execute("PRAGMA foreign_key_check").fetchall():
            wrong.append(f"foreign_key_check: {answer}")
        rows = db.execute(
            "SELECT source, CAST(relative AS TEXT), content, concat_ws(' ', file.state, run.state),"
            " coalesce(attempt, 0), coalesce(interruptions, 0), ingested_ns,"
            " (SELECT count(*) FROM attempt a WHERE a.run = run.no AND a.outcome IN ('publishing', 'dead'))"
            " FROM file LEFT JOIN run ON run.file = file.no"
        ).fetchall()
        staged = db.execute("SELECT count(*) FROM publication WHERE state = 'staged'").get
    finally:
        db.close()
    if staged:
        wrong.append(f"{staged} publications are still staged")
    for each in INPUTS:
        mine = [row for row in rows if row[:2] == (each.source, each.name)]
        if [row[3] for row in mine] != [each.ends]:
            wrong.append(f"{each.source}/{each.name}: {[row[3] for row in mine]}, not {each.ends}")
            continue
        _, _, content, _, charged, interruptions, ingested, ends = mine[0]
        if ingested is None or charged > attempts or interruptions > 1:
            wrong.append(f"{each.name}: {charged} attempts, {interruptions} interruptions")
        if ends != (1 if " " in each.ends else 0):
            wrong.append(f"{each.name}: {ends} terminal attempts")
        path = data / "content" / content
        if path.exists() != each.kept or (each.kept and path.read_text() != each.content):
            wrong.append(f"{each.name}: its content is {'wrong' if each.kept else 'still there'}")
    if len(rows) != len(INPUTS):
        wrong.append(f"{len(rows)} rows for {len(INPUTS)} files")
    named = {row[2] for row in rows}
    wrong += [f"content of no row: {x}" for x in _files(data / "content") if x not in named]
    return wrong
