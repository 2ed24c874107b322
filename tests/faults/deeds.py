"""A world in which people act, and faults in it: each deed is done whole and once, with a row in the audit, or not.

It holds a run for each deed: dead ones to be redriven, discarded and edited, a held one to be released with an
answer, and a done one to be done again in its own place; and the configuration is reloaded, which makes a place for a
file that had none. All deeds are asked of one server, which is killed, meets an error or loses its power at some of its
durable actions; what is asked after its death is done without it. Then a clean start finishes the work.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
from machine import Machine
from program import stands_still, wait_for

from filemill.model.deeds import Chosen, Redrive, Release, Replay
from filemill.model.errors import FilemillError
from filemill.service import acts
from filemill.service.asking import ask, ask_reload

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
RELOADED = CONFIG.replace("tags: {", 'tags: {late: {name: "late*"}, ', 1)
RELOADED = RELOADED.replace(
    "pipelines:\n", "pipelines:\n  lates: {when: late, steps: [{write: lates}]}\n"
)
RELOADED = RELOADED.replace("sinks: {", "sinks: {lates: {folder: lates}, ")
STEPS = """
def first(row: dict) -> dict:
    return row | {"more": 1}

def work(row: dict) -> dict:
    if row["id"] in BROKEN:
        raise SystemExit("broken")
    return row | {"v": VALUE}
"""
DEADLY = {"redrive": 1, "discard": 2, "edit": 3}
DEEDS = {"redrive", "release", "replay", "discard", "edit", "reload"}
PLAIN = ("-m", "filemill")
SILENT = """
import sys
from filemill.ledgers.sqlite import auditing
# The deed and its row in the audit are not one commit any more: the row is never written.
auditing.note = lambda tx, deed, action, details: None
from filemill.cli.main import main
sys.exit(main())
"""
BLIND = """
import sys
from filemill.sinks import folder
# After a crash nobody looks whether what stands there is the new output already.
former = folder.is_ours
folder.is_ours = lambda path, publication: former(path, publication) and path == publication.staged
from filemill.cli.main import main
sys.exit(main())
"""


class World:
    """The project at one path; `reset` makes it what it was before anybody did anything."""

    def __init__(
        self, place: Path, entry: tuple[str, ...] = PLAIN, machine: Machine | None = None
    ) -> None:
        disk = machine.place / "data" if machine else place
        self.root, self.saved = disk / "world", disk / "saved"
        self.entry = entry
        self.machine = machine
        self.counts = place / "counts"
        self.log = place / "server.log"
        self._power = threading.Lock()
        """Held while the power is off."""
        self._editor: subprocess.Popen[bytes] | None = None
        (self.root / "in").mkdir(parents=True)
        (self.root / "out").mkdir()
        (self.root / "out" / "done.csv").write_text("not ours\n")
        (self.root / "filemill.yaml").write_text(CONFIG)
        self.steps(broken="(1, 2, 3)", value=1)
        for name, number in {**DEADLY, "ask": 4, "done": 5}.items():
            (self.root / "in" / f"{name}.csv").write_text(f"id\n{number}\n")
        said = self.once()
        assert (self.root / ".filemill" / "ledger.db").exists(), said
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
        if self.machine:
            self.machine.sync()

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with self._power:
            ledger = sqlite3.connect(self.root / ".filemill" / "ledger.db", timeout=60)
            try:
                return ledger.execute(query).fetchall()
            finally:
                ledger.close()

    def once(self) -> bytes:
        """Work off what is there; what it said to standard error."""
        return subprocess.run(
            [sys.executable, *self.entry, "run", "--once"],
            cwd=self.root,
            capture_output=True,
            timeout=120,
            check=False,
        ).stderr

    def act(self, fail: str) -> tuple[frozenset[int], set[str]]:
        """Do everything beside a server that fails so: the actions at which it did, and the deeds told to be done."""
        with tempfile.TemporaryDirectory(prefix="filemill-fired-") as once:
            environment = os.environ | {
                "FILEMILL_FAIL": fail,
                "FILEMILL_FAIL_ONCE": once,
                "FILEMILL_FAIL_COUNTS": str(self.counts),
            }
            with self.log.open("wb") as log:
                server = subprocess.Popen(
                    [sys.executable, *self.entry, "run", "--no-web"],
                    cwd=self.root,
                    env=environment,
                    stdout=log,
                    stderr=log,
                )
            self._editor = None
            try:
                with self._losing_power(server):
                    wait_for(
                        lambda: server.poll() is not None or b"Ready in" in self.log.read_bytes(),
                        60,
                    )
                    done = self.deeds(environment)
                    wait_for(lambda: server.poll() is not None or not self.live(), 60)
                    if server.poll() is None:
                        time.sleep(0.1)
                        server.send_signal(signal.SIGINT)
                    server.wait(timeout=60)
            finally:
                server.kill()
                server.wait()
            said = self.log.read_text()
            assert "Traceback" not in said, said
            return frozenset(int(name) for name in os.listdir(once)), done

    @contextmanager
    def _losing_power(self, server: subprocess.Popen[bytes]) -> Iterator[None]:
        """On a machine: cut its power as soon as the server or the editor stands still, and mount it again."""
        over = threading.Event()

        def watch(machine: Machine) -> None:
            while not over.wait(0.01):
                editor = self._editor
                if stands_still(server) or (editor is not None and stands_still(editor)):
                    with self._power:
                        if self._editor is not None:
                            self._editor.kill()
                        machine.cut(server)
                        machine.on()
                    return

        thread = threading.Thread(target=watch, args=(self.machine,), name="power")
        if self.machine:
            thread.start()
        try:
            yield
        finally:
            over.set()
            if self.machine:
                thread.join()

    def live(self) -> int:
        (row,) = self.rows(
            "SELECT (SELECT count(*) FROM run WHERE state IN ('queued', 'running', 'publishing'))"
            " + (SELECT count(*) FROM file WHERE state IN ('claiming', 'ingested'))"
        )
        return int(str(row[0]))

    def deeds(self, environment: dict[str, str]) -> set[str]:
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
        data = str(self.root / ".filemill")
        done = set()
        for name, act in asked.items():
            try:
                if ask(data, act).moved == (True,):
                    done.add(name)
            except (FilemillError, OSError, apsw.Error) as error:
                print(name, type(error).__name__, error)
        if self.edit(environment):
            done.add("edit")
        with self._power:
            (self.root / "filemill.yaml").write_text(RELOADED)
        try:
            if not ask_reload(data).problems:
                done.add("reload")
                self.late()  # under the configuration before it would be nobody's, and held
        except (FilemillError, OSError) as error:
            print("reload", type(error).__name__, error)
        return done

    def edit(self, environment: dict[str, str]) -> bool:
        """Mend a dead file by the command; whether it was told to be done."""
        with self._power:
            mended = self.root / "mended.csv"
            mended.write_text("id\n30\n")
            words = ("dead", "edit", self.runs["edit.csv"][0], "--with", mended, "-y")
            self._editor = subprocess.Popen(
                [sys.executable, *self.entry, *words],
                cwd=self.root,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        _, said = self._editor.communicate(timeout=120)
        print(said.decode())
        return self._editor.returncode == 0

    def late(self) -> None:
        """Drop the file that only the reloaded configuration has a place for."""
        with self._power:
            with (self.root / "late.txt").open("w") as late:
                late.write("late\n")
                late.flush()
                os.fsync(
                    late.fileno()
                )  # the power may go before the kernel writes it, and it would be empty
            os.rename(self.root / "late.txt", self.root / "in" / "late.txt")

    def outputs(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.root)): path.read_text()
            for sink in ("out", "paid", "lates")
            for path in (self.root / sink).glob("[!.]*")
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
        wanted["lates/late.txt"] = "late\n"
        ends = dict.fromkeys(("redrive.csv", "discard.csv", "edit.csv"), "dead")
        ends |= {"ask.csv": "held", "done.csv": "done"}
        if "redrive" in audit:
            ends["redrive.csv"] = "done"
            wanted["out/redrive.csv"] = "id,more,v\n1,1,2\n"
        if "release" in audit:
            ends["ask.csv"] = "done"
            wanted["paid/ask.csv"] = "id,more,v\n4,1,2\n"
        if "replay" in audit:
            wanted["out/done-2.csv"] = "id,more,v\n5,1,2\n"
        if "discard" in audit:
            ends["discard.csv"] = "discarded"
        if "edit" in audit:
            ends["edit.csv"] = "discarded"
            wanted["out/edit.csv"] = "id,more,v\n30,1,2\n"
        for name, state in ends.items():
            (now,) = self.rows(f"SELECT state FROM run WHERE id = '{self.runs[name][0]}'")
            assert now == (state,), f"{name} is {now}, and the audit has {audit}"
        later = self.rows("SELECT state FROM run WHERE replays IS NOT NULL")
        assert later == [("done",)] * ("replay" in audit), later
        assert self.outputs() == wanted, f"{self.outputs()}, not {wanted}"
        states = {state for (state,) in self.rows("SELECT DISTINCT state FROM publication")}
        assert states == {"published"}, f"publications are {states}"
        content = self.root / ".filemill" / "content"
        there = sorted(str(path.relative_to(content)) for path in content.rglob("*.input"))
        named = self.rows("SELECT input FROM run WHERE input IS NOT NULL ORDER BY input")
        assert there == [row[0] for row in named], "kept inputs and rows are not the same"

    def strike(self, fail: str) -> frozenset[int]:
        """Faults at some actions, a clean start, and the judge; at which actions they struck."""
        self.reset()
        fired, answered = self.act(fail)
        # Where it was not reached, or was lost with the power.
        (self.root / "filemill.yaml").write_text(RELOADED)
        if "reload" not in answered or not self.taken("late.txt"):
            self.late()
        self.once()
        self.judge(answered)
        return fired

    def taken(self, name: str) -> bool:
        """Whether a file that was dropped is there, or in the ledger."""
        known = self.rows(f"SELECT 1 FROM file WHERE CAST(relative AS TEXT) = '{name}'")
        return bool(known) or (self.root / "in" / name).exists()

    def actions(self, role: str) -> int:
        """How many durable actions of this role there are when nothing fails."""
        self.reset()
        fired, answered = self.act("")
        assert not fired
        assert answered == DEEDS
        self.once()
        self.judge(answered)
        lines = self.counts.read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith(f"{role}."))
