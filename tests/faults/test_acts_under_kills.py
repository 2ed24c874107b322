"""What people do while the server is killed: each deed is done whole, once, with its row in the audit, or not at all.

A world holds a run for each deed: dead ones to be redriven, discarded and edited, a held one to be released with an
answer, and a done one to be done again in its own place. All deeds are asked of one server, which is killed at one
durable action after the other; what is asked after its death is done without it. Then a clean start finishes the work.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from program import wait_for

from filemill.model.deeds import Chosen, Redrive, Release, Replay
from filemill.model.errors import FilemillError
from filemill.service import acts
from filemill.service.asking import ask

CONFIG = """
version: 1
sources: {box: {folder: in, settle: 5ms, settle_unproven: 20ms}}
tags: {csv: {name: "*.csv"}, ask: {name: "ask*"}}
pipelines:
  orders:
    when: csv
    steps:
      - read_csv
      - hold: {message: "is this right?", choices: [pay, reject]}
        if: ask
      - steps.first
      - steps.work
      - route: {"choice:pay": paid, else: out}
sinks: {out: {folder: out}, paid: {folder: paid}}
workers: 1
"""
STEPS = """
def first(row: dict) -> dict:
    return row | {"more": 1}

def work(row: dict) -> dict:
    if row["id"] in BROKEN:
        raise SystemExit("broken")
    return row | {"v": VALUE}
"""
DEADLY = {"redrive": 1, "discard": 2, "edit": 3}
PLAIN = ("-m", "filemill")
SILENT = """
import sys
from filemill.ledgers.sqlite import deeds
# The deed and its row in the audit are not one commit any more: the row is never written.
deeds.audit = lambda tx, deed, action, details: None
from filemill.cli.main import main
sys.exit(main())
"""
BLIND = """
import sys
from filemill.sinks import folder
# After a crash nobody looks whether what stands there is the new output already.
former = folder._is_inode
folder._is_inode = lambda path, publication: former(path, publication) and path == publication.staged
from filemill.cli.main import main
sys.exit(main())
"""


class World:
    """The project at one path; `reset` makes it what it was before anybody did anything."""

    def __init__(self, place: Path, entry: tuple[str, ...] = PLAIN) -> None:
        self.root, self.saved = place / "world", place / "saved"
        self.entry = entry
        self.counts = place / "counts"
        (self.root / "in").mkdir(parents=True)
        (self.root / "out").mkdir()
        (self.root / "out" / "done.csv").write_text("not ours\n")
        (self.root / "filemill.yaml").write_text(CONFIG)
        self.steps(broken="(1, 2, 3)", value=1)
        for name, number in {**DEADLY, "ask": 4, "done": 5}.items():
            (self.root / "in" / f"{name}.csv").write_text(f"id\n{number}\n")
        self.once()
        self.steps(broken="(3,)", value=2)
        subprocess.run(["cp", "-a", self.root, self.saved], check=True)
        self.runs = {
            name: (run, fence)
            for name, run, fence in self.rows(
                "SELECT CAST(relative AS TEXT), run.id, fence FROM run JOIN file ON file.no = run.file"
            )
        }

    def steps(self, *, broken: str, value: int) -> None:
        text = STEPS.replace("BROKEN", broken).replace("VALUE", str(value))
        (self.root / "steps.py").write_text(text)

    def reset(self) -> None:
        shutil.rmtree(self.root)
        subprocess.run(["cp", "-a", self.saved, self.root], check=True)
        self.counts.unlink(missing_ok=True)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        ledger = sqlite3.connect(self.root / ".filemill" / "ledger.db", timeout=60)
        try:
            return ledger.execute(query).fetchall()
        finally:
            ledger.close()

    def once(self) -> None:
        subprocess.run(
            [sys.executable, *self.entry, "run", "--once"],
            cwd=self.root,
            capture_output=True,
            timeout=120,
            check=False,
        )

    def act(self, fail: str) -> tuple[bool, set[str]]:
        """Do everything beside a server that fails so; whether it was killed, and what was answered to be done."""
        with (self.root / "server.log").open("wb") as log:
            server = subprocess.Popen(
                [sys.executable, *self.entry, "run", "--no-web"],
                cwd=self.root,
                env=os.environ | {"FILEMILL_FAIL": fail, "FILEMILL_FAIL_COUNTS": str(self.counts)},
                stdout=log,
                stderr=log,
            )
        try:
            said = self.root / "server.log"
            wait_for(lambda: server.poll() is not None or b"Ready in" in said.read_bytes(), 60)
            done = self.deeds()
            wait_for(lambda: server.poll() is not None or not self.live(), 60)
            if server.poll() is None:
                time.sleep(0.1)
                server.send_signal(signal.SIGINT)
            server.wait(timeout=60)
        finally:
            server.kill()
            server.wait()
        return server.returncode == -signal.SIGKILL, done

    def live(self) -> int:
        (row,) = self.rows(
            "SELECT (SELECT count(*) FROM run WHERE state IN ('queued', 'running', 'publishing'))"
            " + (SELECT count(*) FROM file WHERE state IN ('claiming', 'ingested'))"
        )
        return int(str(row[0]))

    def deeds(self) -> set[str]:
        """Ask for every deed, of the server or without one; those that were answered to be done."""

        def seen(name: str) -> tuple[str, int]:
            return self.runs[f"{name}.csv"]

        asked: dict[str, acts.Request] = {
            "redrive": acts.RedriveRuns(runs=(Redrive(*seen("redrive"), from_input=True),)),
            "release": acts.ReleaseRuns(runs=(Release(*seen("ask"), "pay"),)),
            "replay": acts.ReplayRuns(
                runs=(Replay(seen("done")[0], "again00000000", 1, supersede=True),)
            ),
            "discard": acts.DiscardRuns(runs=(Chosen(*seen("discard")),)),
        }
        done = set()
        for name, act in asked.items():
            try:
                if ask(str(self.root / ".filemill"), act).moved == (True,):
                    done.add(name)
            except FilemillError as error:
                print(name, type(error).__name__, error.message)
        mended = self.root / "mended.csv"
        mended.write_text("id\n30\n")
        edited = subprocess.run(
            [sys.executable, *self.entry, "dead", "edit", seen("edit")[0], "--with", mended, "-y"],
            cwd=self.root,
            capture_output=True,
            timeout=120,
            check=False,
        )
        print(edited.stderr.decode())
        return done | ({"edit"} if edited.returncode == 0 else set())

    def outputs(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.root)): path.read_text()
            for sink in ("out", "paid")
            for path in (self.root / sink).glob("*.csv")
        }

    def judge(self, answered: set[str]) -> None:
        """Every deed whole and once, or not at all.

        Raises:
            AssertionError: it is not so.
        """
        audit = [str(action) for (action,) in self.rows("SELECT action FROM audit")]
        assert len(audit) == len(set(audit)), f"done twice: {audit}"
        assert answered <= set(audit), f"answered {answered}, and not in the audit: {audit}"
        wanted = {"out/done.csv": "not ours\n", "out/done-2.csv": "id,more,v\n5,1,1\n"}
        states = dict.fromkeys(("redrive.csv", "discard.csv", "edit.csv"), "dead")
        states |= {"ask.csv": "held", "done.csv": "done"}
        if "redrive" in audit:
            states["redrive.csv"] = "done"
            wanted["out/redrive.csv"] = "id,more,v\n1,1,2\n"
        if "release" in audit:
            states["ask.csv"] = "done"
            wanted["paid/ask.csv"] = "id,more,v\n4,1,2\n"
        if "replay" in audit:
            wanted["out/done-2.csv"] = "id,more,v\n5,1,2\n"
        if "discard" in audit:
            states["discard.csv"] = "discarded"
        if "edit" in audit:
            states["edit.csv"] = "discarded"
            wanted["out/edit.csv"] = "id,more,v\n30,1,2\n"
        for name, state in states.items():
            (now,) = self.rows(f"SELECT state FROM run WHERE id = '{self.runs[name][0]}'")
            assert now == (state,), f"{name} is {now}, and the audit has {audit}"
        later = self.rows("SELECT state FROM run WHERE replays IS NOT NULL")
        assert later == [("done",)] * ("replay" in audit), later
        assert self.outputs() == wanted
        assert self.rows("SELECT DISTINCT state FROM publication") == [("published",)]
        content = self.root / ".filemill" / "content"
        there = sorted(str(path.relative_to(content)) for path in content.rglob("*.input"))
        named = self.rows("SELECT input FROM run WHERE input IS NOT NULL ORDER BY input")
        assert there == [row[0] for row in named], "kept inputs and rows are not the same"

    def strike(self, fail: str) -> bool:
        """One kill, a clean start, and the judge; answers whether it struck."""
        self.reset()
        killed, answered = self.act(fail)
        self.once()
        self.judge(answered)
        return killed


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def actions(world: World) -> int:
    """How many durable actions a server does that nobody kills."""
    world.reset()
    killed, answered = world.act("")
    assert not killed
    assert answered == {"redrive", "release", "replay", "discard", "edit"}
    world.judge(answered)
    lines = world.counts.read_text().split("\n")
    return sum(int(line.split()[1]) for line in lines if line.startswith("server."))


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_a_deed_is_done_whole_and_once_or_not_at_all(world: World) -> None:
    last = actions(world)
    stride = int(os.environ.get("FILEMILL_STRIDE", "9"))
    seed = int(os.environ.get("FILEMILL_SEED", str(random.randrange(1 << 30))))
    print(f"seed {seed}, {last} actions")
    numbers = range(1 + random.Random(seed).randrange(stride), last + 1, stride)
    killed = [number for number in numbers if world.strike(f"server.*:{number}:kill")]
    assert len(killed) >= len(numbers) // 2, (killed, last)


@pytest.mark.crash
@pytest.mark.timeout(600)
def test_the_judge_sees_a_deed_without_a_row(tmp_path: Path) -> None:
    world = World(tmp_path, ("-c", SILENT))
    with pytest.raises(AssertionError, match="not in the audit"):
        world.strike("")


@pytest.mark.crash
@pytest.mark.timeout(600)
def test_the_judge_sees_an_output_that_is_not_known_again(tmp_path: Path) -> None:
    """Killed when everything is renamed and not yet known to be done."""
    world = World(tmp_path, ("-c", BLIND))
    with pytest.raises(AssertionError, match="unverified"):
        _strike_at_syncs(world)


def _strike_at_syncs(world: World) -> None:
    for number in range(5, 14):
        world.strike(f"server.sync_directory:{number}:kill")
