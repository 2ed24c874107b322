"""Power cuts under load: what was told before a cut must be true after it, and all ends exactly once.

Three sources, one for each way into content: `inbox` is on the data directory's disk (adopted by rename), `far` on
another (held aside, copied, let go after the commit), `stay` as well (copied and kept). The sinks have a disk of their
own, so that no sync of the ledger makes an output durable by chance. The senders' files are on the disks before
anything starts and only renamed in under load: no sync of the sender's hides one that the program owes.
"""

from __future__ import annotations

import functools
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import apsw
from machine import Machine
from oracle import CONFIG, LEVELS, SINKS, content_of
from program import Program, wait_for
from promises import names_with

Event = dict[str, str]
SOURCES = ("inbox", "far", "stay")
CONVERGES = 20.0
"""Seconds without anything new after which nothing more is expected."""
PAUSE = 0.002
"""Seconds between two files, so that many small groups form."""


class World:
    """A project on the disks of a machine, and what it told so far."""

    def __init__(
        self, machine: Machine, files: int, durability: str = "power", *, chunked: bool = True
    ) -> None:
        self.machine = machine
        self.root = machine.place / "data"
        self.files = files
        self.lives = 0
        self._past: list[Event] = []
        """What ended lives told."""
        self._log: Path | None = None
        sources = (
            "  far: {folder: far, settle: 20ms, settle_unproven: 200ms, after: delete}\n"
            "  stay: {folder: stay, settle: 20ms, settle_unproven: 200ms, after: keep}\n"
        )
        config = CONFIG.replace("tags:\n", f"{sources}tags:\n", 1)
        (self.root / "filemill.yaml").write_text(
            f"{config}durability: {durability}\nchunk_size: {'64KiB' if chunked else '16MiB'}\n"
        )
        for name, disk in zip(SOURCES, ("data", "far", "far"), strict=True):
            place = machine.place / disk / f"{name}-folder"
            (place / "drop").mkdir(parents=True)
            (place / name).mkdir()
            (self.root / name).symlink_to(place / name)
        for number in range(files):
            self._waiting(number).write_text(text_of(number))
        (self.root / "out").symlink_to(machine.place / "sinks")
        machine.sync()

    def _waiting(self, number: int) -> Path:
        """Where the sender has it before it is dropped."""
        source = SOURCES[number % 3]
        disk = "data" if source == "inbox" else "far"
        return self.machine.place / disk / f"{source}-folder/drop" / name_of(number)

    def dropped(self, number: int) -> Path:
        """Where it is once it is dropped."""
        return self.root / SOURCES[number % 3] / name_of(number)

    def drop(self, numbers: range, until: float) -> None:
        """Rename these in, one by one, until the time has come."""
        for number in numbers:
            if time.monotonic() > until:
                return
            waiting = self._waiting(number)
            if waiting.exists():
                os.rename(waiting, self.dropped(number))
            time.sleep(PAUSE)

    def begin(self, start: Callable[..., Program], **rest: object) -> Program:
        """The real program, up and watching."""
        self._past = self.all_told()
        self.lives += 1
        # Where no cut reaches.
        self._log = said = self.machine.place / f"told-{self.lives}.log"
        program = start(self.root, log=said, options=("--log-format", "json"), **rest)
        assert wait_for(lambda: "ServerStarted" in said.read_text(), 60), said.read_text()[-3_000:]
        return program

    def told(self, event: str) -> list[str]:
        """Names in all events of this kind so far, in order of telling."""
        return [each["relative"] for each in self.all_told() if each.get("event") == event]

    def all_told(self) -> list[Event]:
        """Everything that all lives told."""
        return [*self._past, *(_events(self._log) if self._log else [])]

    def rewind(self, told: list[Event]) -> None:
        """Take it that this, and no more, has been told."""
        self._past, self._log = told, None

    def asked_for(self) -> list[str]:
        """What recovery left for a person to do: nothing, whatever a cut undid."""
        return [
            f"a person is asked for: {each['message']}"
            for each in self.all_told()
            if each.get("event") == "SystemTrouble" and each["what"] == "recovery"
        ]

    def told_twice(self) -> list[str]:
        """What was acknowledged or done again: a cut had undone a commit on which it was told."""
        return [
            f"told twice: {event} of {name}"
            for event in ("FileIngested", "RunFinished")
            for name, count in Counter(self.told(event)).items()
            if count > 1
        ]

    def broken_promises(self) -> list[str]:
        """What a cut showed to be untrue, before anything is started again."""
        wrong = self.told_twice()
        # What is kept is its sender's to make durable: only the copy of it is promised.
        taken = [n for n in map(number_of, self.told("FileIngested")) if SOURCES[n % 3] != "stay"]
        wrong.extend(
            f"acknowledged, yet back at the sender's: {place}"
            for number in taken
            for place in (self._waiting(number), self.dropped(number))
            if place.exists()
        )
        rows = names_with("ingested_ns", self.root / ".filemill")
        wrong.extend(
            f"acknowledged, but in no row: {n}" for n in self.told("FileIngested") if n not in rows
        )
        done = set(self.told("RunFinished"))
        for sink in SINKS.values():
            folder = self.root / "out" / sink
            seen = {p.name: p.read_text() for p in _files(folder)}
            wrong.extend(f"told done, not in {sink}: {name}" for name in done - seen.keys())
            wrong.extend(
                f"half an output: {sink}/{name}: {text[:20]!r}"
                for name, text in seen.items()
                if text != expected(number_of(name))[sink]
            )
        return wrong

    def published(self) -> int:
        """How many outputs consumers can see."""
        return sum(len(_files(self.root / "out" / sink)) for sink in SINKS.values())

    def judge(self) -> list[str]:
        """Everything that is not as it must be at the end; empty when all is well."""
        wrong: list[str] = []
        for sink in SINKS.values():
            folder = self.root / "out" / sink
            wanted = {name_of(n): expected(n)[sink] for n in range(self.files)}
            seen = {p.name: p.read_text() for p in _files(folder)}
            wrong.extend(f"{sink}: no {name}" for name in wanted.keys() - seen.keys())
            wrong.extend(f"{sink}: unexpected {name}" for name in seen.keys() - wanted.keys())
            wrong.extend(
                f"{sink}: {n} is wrong" for n in seen if n in wanted and seen[n] != wanted[n]
            )
            wrong.extend(f"{sink}: left in staging: {p.name}" for p in _files(folder / ".filemill"))
        wrong.extend(
            f"left at its source: {self.dropped(n)}"
            for n in range(self.files)
            if self.dropped(n).exists() != (SOURCES[n % 3] == "stay")
        )
        wrong.extend(f"held aside: {p}" for p in (self.root / "far").glob(".filemill/claimed/*"))
        return wrong

    def ledger(self) -> list[str]:
        """What is wrong with the ledger, once the program has ended."""
        db = apsw.Connection(
            str(self.root / ".filemill/ledger.db"), flags=apsw.SQLITE_OPEN_READWRITE
        )
        try:
            wrong = [str(r) for r in db.execute("PRAGMA integrity_check").fetchall()]
            wrong = [] if wrong == ["('ok',)"] else wrong
            wrong += [str(r) for r in db.execute("PRAGMA foreign_key_check").fetchall()]
            states = db.execute(
                "SELECT file.state, run.state, run.attempt, count(*) FROM file LEFT JOIN run ON run.file = file.no"
                " GROUP BY 1, 2, 3"
            ).fetchall()
        finally:
            db.close()
        if states != [("inspected", "done", 1, self.files)]:
            wrong.append(f"runs: {states}")
        return wrong


def text_of(number: int) -> str:
    """One input: small, but for some that go in chunks."""
    return content_of(number, 6_000 if number % 40 == 7 else 12)


@functools.cache
def expected(number: int) -> dict[str, str]:
    """What each sink must hold of one input."""
    lines = text_of(number).splitlines(keepends=True)
    return {SINKS[level]: "".join(x for x in lines if x.startswith(level)) for level in LEVELS}


def name_of(number: int) -> str:
    return f"in-{number:05}.log"


def number_of(name: str) -> int:
    return int(name[3:8])


def _files(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.is_file()] if folder.is_dir() else []


def _events(log: Path) -> list[Event]:
    """Every event in it; a line that was cut off was not told."""
    found = []
    for line in log.read_text().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def cut_under_load(
    world: World,
    start: Callable[..., Program],
    *,
    cuts: int,
    entry: list[str] | None = None,
    **environment: str,
) -> list[str]:
    """Drop files, cut the power within the work, mount again; `cuts` times. Answers with promises that were broken.

    The environment is that of the lives that are cut. It returns at once when something is wrong.
    """
    seed = int(os.environ.get("FILEMILL_SEED", str(random.randrange(1 << 30))))
    print(f"seed {seed}")
    chance = random.Random(seed)
    portion = world.files // cuts
    in_flight = 0
    for cut in range(cuts):
        done = len(world.told("RunFinished"))
        program = world.begin(start, entry=entry, **environment)
        # From within the first files to when the last of this portion is long at rest: the latter is rare.
        until = time.monotonic() + chance.uniform(0.1, 3 * portion * PAUSE)
        world.drop(range(cut * portion, (cut + 1) * portion), until)
        wait_for(lambda n=done: len(world.told("RunFinished")) > n, 20)
        time.sleep(chance.uniform(0, 0.05))
        world.machine.cut(program.process)
        ingested, finished = len(world.told("FileIngested")), len(world.told("RunFinished"))
        in_flight += finished < ingested
        print(cut, ingested, finished)
        world.machine.on()
        if wrong := world.broken_promises():
            return wrong
    assert in_flight >= cuts // 4, "the cuts must strike while work is in flight"
    return []


def finish(world: World, start: Callable[..., Program]) -> list[str]:
    """Drop what is left, start without any fault, and judge where it ends."""
    program = world.begin(start)
    world.drop(range(world.files), time.monotonic() + 60)
    while (seen := world.published()) < 3 * world.files:
        if not wait_for(lambda seen=seen: world.published() > seen, CONVERGES):
            break
    wait_for(lambda: not world.judge(), 5)
    wrong = world.judge()
    code = program.stop()
    wrong += world.judge() + world.ledger() + world.told_twice() + world.asked_for()
    if code:
        wrong.append(f"exit code {code}")
    return wrong


NORMAL = """
import sys
from filemill.ledgers.sqlite import ledger
open_writer = ledger.open_writer

def open_unsynced(*given):
    # The write-ahead log as SQLite has it by default: synced when it is written back, not at each commit.
    db = open_writer(*given)
    db.pragma("synchronous", "normal")
    return db

ledger.open_writer = open_unsynced
from filemill.cli.main import main
sys.argv[0] = "filemill"
main()
"""
SYNCS = ("sync_group", "sync_file", "sync_directory")
CONTROLS: dict[str, dict[str, str]] = {
    "nothing is synced": {"durability": "process"},
    "the bytes of outputs are not": {"FILEMILL_FAIL": "worker.sync_group:0:skip"},
    "the names of outputs and claims are not": {"FILEMILL_FAIL": "server.sync_directory:0:skip"},
    "what is claimed is not": {"FILEMILL_FAIL": "server.sync_group:0:skip"},
    "the ledger is not": {"entry": NORMAL},
}
"""What must turn the judgement red, each by itself."""


def broken_by(world: World, start: Callable[..., Program], control: str, cuts: int) -> list[str]:
    """Promises that a negative control breaks, in some cuts and to the end."""
    rest = {name: value for name, value in CONTROLS[control].items() if name.isupper()}
    entry = CONTROLS[control].get("entry")
    started = [sys.executable, "-c", entry] if entry else None
    wrong = cut_under_load(world, start, cuts=cuts, entry=started, **rest)
    return wrong or finish(world, start)
