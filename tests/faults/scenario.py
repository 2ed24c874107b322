"""A small world that touches every durable action, and one fault in it.

It holds a file for each way through the program: adopted by rename, copied because it has a second link, copied and
kept, deleted when done, rejected, held, dead, dead and held with what their step was given kept, wanted by two
pipelines, with a bad record within tolerance, in chunks, and an output whose name somebody has taken; and a folder
with a copy of each that failed. `strike` lets a fault strike, makes it pass (a clean run), and has every
promise looked at (`promises`), with a consumer who opens whatever appears (`observer`).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import msgspec
import promises
from machine import Machine
from observer import Observer
from oracle import LEVELS, content_of
from oracle import SINKS as SINK_OF
from program import stands_still, wait_for

FAILED = "failed"
SOURCES = ("inbox", "gone", "stay", "wide")
CONFIG = """\
version: 1
workers: 1
chunk_size: 64KiB
failed: {folder: failed}
sources:
  inbox: {folder: inbox, settle: 5ms, settle_unproven: 20ms, max_size: 4KB}
  gone: {folder: gone, settle: 5ms, settle_unproven: 20ms, after: delete}
  stay: {folder: stay, settle: 5ms, settle_unproven: 20ms, after: keep}
  wide: {folder: wide, settle: 5ms, settle_unproven: 20ms}
tags:
  log: {name: "*.log"}
  json: {name: "*.jsonl"}
  table: {name: "*.csv"}
  twice: {name: "in-00001.log"}
  stuck: {name: "stuck.rows"}
  asked: {name: "asked.rows"}
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
  tables:
    when: table
    tolerance: 1
    retry: {min: 50ms}
    steps: [read_csv, write: rest]
  whole:
    when: twice
    retry: {min: 50ms}
    steps: [write: raw]
  stucks:
    when: stuck
    steps:
      - read_csv
      - derive: {more: "a + 1"}
      - check: {schema: schema.json}
      - write: rest
  askeds:
    when: asked
    steps:
      - read_csv
      - derive: {more: "a + 1"}
      - hold: is this right?
      - write: rest
sinks:
  errors: {folder: out/errors}
  warnings: {folder: out/warnings}
  rest: {folder: out/rest}
  raw: {folder: out/raw, name: "{digest8}-{name}"}
"""
ADOPTED = ("in-00000.log", "in-00001.log", "below/it/in-00002.log")
TAKEN = "in-00000.log"
"""Its name in the sink of errors belongs to somebody else."""
FOREIGN = "not ours\n"
BROKEN = '{"a": 1}\nthis is no JSON\n'
SCHEMA = '{"type": "object", "required": ["missing"]}'
ROWS = "a\n1\n2\n"
TABLE = "a,b\n1,2\none field\n3,4\n"
BIG = "x" * 5_000
LINKED = "in-00003.log"
CHUNKED = "in-00006.log"
CHUNKED_LINES = 7_000
"""About 180 kB: three chunks."""
TIME_LIMIT = 60.0
GRACE = 5.0
"""Seconds in which a process of the program has to be gone when the program is."""


class Input(msgspec.Struct, frozen=True):
    """One file that is dropped, and what has to become of it."""

    source: str
    name: str
    content: str
    ends: str = "inspected done"
    """State of its row and, when it has one, of its run."""
    kept: bool = True
    """Whether content holds its bytes at the end."""
    runs: int = 1
    keeps: bool = False
    """Whether what the step was given that ended its run is kept."""

    @property
    def failed(self) -> bool:
        """Whether the folder of what failed has a copy of it."""
        return self.ends == "rejected" or self.ends.endswith("dead")


INPUTS = (
    Input("inbox", ADOPTED[0], content_of(0)),
    Input("inbox", ADOPTED[1], content_of(1), runs=2),
    Input("inbox", ADOPTED[2], content_of(2)),
    Input("inbox", LINKED, content_of(3)),
    Input("gone", "in-00004.log", content_of(4), kept=False),
    Input("stay", "in-00005.log", content_of(5), kept=False),
    Input("wide", CHUNKED, content_of(6, CHUNKED_LINES)),
    Input("inbox", "table.csv", TABLE),
    Input("inbox", "who.bin", "wanted by nobody\n", "held"),
    Input("inbox", "big.log", BIG, "rejected"),
    Input("inbox", "broken.jsonl", BROKEN, "inspected dead"),
    Input("inbox", "stuck.rows", ROWS, "inspected dead", keeps=True),
    Input("inbox", "asked.rows", ROWS, "inspected held", keeps=True),
)


def outputs() -> dict[str, str]:
    """Every output that has to be there in the end, and all it holds."""
    wanted: dict[str, str] = {}
    for each in INPUTS:
        if not each.name.endswith(".log") or each.ends != "inspected done":
            continue
        lines = each.content.splitlines(keepends=True)
        for level in LEVELS:
            text = "".join(line for line in lines if line.startswith(level))
            wanted[f"{SINK_OF[level]}/{each.name}"] = text
    wanted["errors/in-00000-2.log"] = wanted.pop(f"errors/{TAKEN}")
    twice = content_of(1)
    wanted[f"raw/{sha256(twice.encode()).hexdigest()[:8]}-in-00001.log"] = twice
    wanted["rest/table.csv"] = "a,b\n1,2\n3,4\n"
    return wanted


class Ended(msgspec.Struct, frozen=True):
    """One run of the program."""

    code: int
    """Negative: the signal that ended it."""
    fired: frozenset[int]
    """The numbers of the actions at which a fault struck."""
    said: str
    strays: list[str]
    """Processes that it left behind; they are killed."""
    took: float

    @property
    def acknowledged(self) -> set[str]:
        """Names that it told as ingested."""
        events = (_event(line) for line in self.said.splitlines())
        return {each["relative"] for each in events if each.get("event") == "FileIngested"}


def _event(line: str) -> dict[str, str]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def build(root: Path) -> None:
    """Everything in place, nothing started."""
    for folder in (*SOURCES, "elsewhere", "out/errors", "tmp"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "filemill.yaml").write_text(CONFIG)
    (root / "schema.json").write_text(SCHEMA)
    (root / "out/errors" / TAKEN).write_text(FOREIGN)
    for each in INPUTS:
        path = root / each.source / each.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(each.content)
    os.link(root / "inbox" / LINKED, root / "elsewhere" / LINKED)


def build_on(machine: Machine) -> Path:
    """The same on three disks that lose their power together; answers where its root is."""
    root = machine.place / "data/world"
    root.mkdir()
    for name, disk in (("out", "sinks"), ("gone", "far")):
        place = machine.place / disk / name
        place.mkdir()
        (root / name).symlink_to(place)
    build(root)
    machine.sync()
    return root


def clear(machine: Machine) -> None:
    """Make room for the next world."""
    for place in ("data/world", "sinks/out", "far/gone"):
        shutil.rmtree(machine.place / place)


def run(
    root: Path,
    fail: str = "",
    entry: Sequence[str] = ("-m", "filemill"),
    cut: Callable[[subprocess.Popen[bytes]], None] | None = None,
    **environment: str,
) -> Ended:
    """`filemill run --once`, with a fault or without one; its whole tree is gone when this returns.

    `cut` is called as soon as one of its processes stands still, and ends it.

    Raises:
        AssertionError: it hangs.
    """
    mark = uuid.uuid4().hex
    once = Path(tempfile.mkdtemp(prefix="filemill-fired-"))  # on no disk that is cut
    environment |= {"FILEMILL_TEST": mark, "TMPDIR": str(root / "tmp")}
    if fail:
        environment |= {"FILEMILL_FAIL": fail, "FILEMILL_FAIL_ONCE": str(once)}
    began = time.monotonic()
    # Into a file: a process that it leaves behind would hold a pipe open.
    with tempfile.TemporaryFile("w+", errors="replace") as told:
        process = subprocess.Popen(
            [sys.executable, *entry, "run", "--once", "--log-format", "json"],
            cwd=root,
            env=os.environ | environment,
            stdout=told,
            stderr=told,
        )
        hangs = not _ends(process, cut)
        if hangs:
            process.kill()
            process.wait()
        took = time.monotonic() - began
        strays = _left(mark)
        named = [f"{pid} {_command(pid)}" for pid in strays]
        for pid in strays:
            os.kill(pid, signal.SIGKILL)
        told.seek(0)
        said = told.read()
    assert not hangs, f"{fail or 'the clean run'} hangs:\n{said[-3_000:]}"
    fired = frozenset(int(name) for name in os.listdir(once))
    shutil.rmtree(once)
    return Ended(process.returncode, fired, said, named, took)


def _ends(
    process: subprocess.Popen[bytes], cut: Callable[[subprocess.Popen[bytes]], None] | None
) -> bool:
    """Wait for the end, or bring it about by a cut; False when the time is over."""
    if cut is None:
        try:
            process.wait(timeout=TIME_LIMIT)
        except subprocess.TimeoutExpired:
            return False
        return True
    if not wait_for(lambda: process.poll() is not None or stands_still(process), TIME_LIMIT):
        return False
    if process.poll() is None:
        cut(process)
    return True


def _left(mark: str) -> list[int]:
    """Processes that still carry the mark after a moment's grace."""
    wanted = f"FILEMILL_TEST={mark}".encode()
    ends = time.monotonic() + GRACE
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


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def strike_power(machine: Machine, rule: str) -> bool:
    """Build the world on a machine, cut its power just before one action, start again, judge; False: no such action.

    Raises:
        AssertionError: a promise is broken.
    """
    root = build_on(machine)
    with Observer(root / "out", outputs()) as before:
        struck = run(root, f"{rule}:stop", cut=machine.cut)
    if struck.fired:
        machine.on()
    lost = promises.unaccounted(root)
    with Observer(root / "out", outputs()) as behind:
        after = run(root)
    world = promises.Finished(
        root,
        struck.acknowledged | after.acknowledged,
        lost,
        before.saw + behind.saw,
        struck.strays + after.strays,
        after.took,
    )
    wrong = promises.judge(world)
    told = f"--- struck:\n{struck.said}\n--- after:\n{after.said}"
    assert not wrong, "\n".join([f"{rule}:", *wrong, told])
    clear(machine)
    return bool(struck.fired)


def strike(root: Path, rule: str, entry: Sequence[str] = ("-m", "filemill")) -> Ended:
    """Build the world, let one fault strike, start again without it, and judge; answers how the struck run ended.

    Raises:
        AssertionError: a promise is broken.
    """
    root.mkdir(parents=True)
    build(root)
    with Observer(root / "out", outputs()) as observer:
        struck = run(root, rule)
        lost = promises.unaccounted(root)
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
    wrong = promises.judge(
        promises.Finished(
            root,
            struck.acknowledged | after.acknowledged,
            lost,
            observer.saw,
            struck.strays + after.strays,
            after.took,
            # A worker that is killed charges the run that it had announced; nothing else charges anybody.
            attempts=2 if rule.startswith("worker") and rule.endswith(":kill") else 1,
        )
    )
    told = f"--- struck:\n{struck.said}\n--- after:\n{after.said}"
    assert not wrong, "\n".join([f"{rule}:", *wrong, told])
    return struck
