"""`backup`, `restore` and `config rollback` killed at one durable action after the other, and without power in it.

A backup is whole or refused, a restore leaves the old data directory or the new one, a rollback leaves each file old or
new with what it replaced kept; and whoever says the command again gets what he wanted.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import promises
import pytest
import scenario
from commands import CLI, FILEMILL, UNSYNCED, fresh, strike_in, walk, wrong_with
from machine import Machine
from oracle import content_of
from program import Program, wait_for

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]
KILLED = (True, False)
LATE = """
import os, shutil
from filemill.service import backups
make, late = backups.make, []

def copy(source, path):
    # A backup that says it is whole before its bytes are there.
    with open(path, "wb") as out:
        out.truncate(os.stat(source).st_size)
    late.append((source, path))
    return True

def made(*given, **more):
    done = make(*given, **more)
    for source, path in late:
        shutil.copyfile(source, path)
    return done

backups._copy, backups.make = copy, made
"""
TRUSTS = "from filemill.service import restoring\nrestoring.problems_of = lambda *given: []\n"
"""A restore that does not read back."""
IN_TWO_STEPS = """
import os
from filemill.service import restoring

def change(data, building, now, durable):
    # The old directory goes before the new one comes.
    durable.rename(os.fsencode(data), os.fsencode(data + ".before-restore"))
    durable.rename(os.fsencode(building), os.fsencode(data))

restoring._change_places = change
"""
IN_PLACE = """
import os
from filemill.durable import Durable
from filemill.config import restoring

def put(data, path, durable):
    # Written where it lies, with a kill in the middle of it.
    with open(path, "wb") as out:
        out.write(data[: len(data) // 2])
        out.flush()
        durable.sync_file(out.fileno())
        out.write(data[len(data) // 2 :])

restoring._put = put
"""


def command(
    root: Path, *words: str | Path, patch: str = "", fail: str = "", counts: Path | str = ""
) -> subprocess.CompletedProcess[str]:
    """A command of a program that may be broken, with a fault or without one."""
    entry = [sys.executable, "-c", patch + CLI] if patch else list(FILEMILL)
    return subprocess.run(
        [*entry, *map(str, words)],
        cwd=root,
        env=os.environ | {"FILEMILL_FAIL": fail, "FILEMILL_FAIL_COUNTS": str(counts)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def killed_or_done(done: subprocess.CompletedProcess[str]) -> tuple[bool, bool]:
    """Whether it was killed, and whether it said that it has done its work."""
    return done.returncode == -signal.SIGKILL, done.returncode == 0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A world at rest."""
    root = tmp_path / "world"
    root.mkdir()
    scenario.build(root)
    scenario.run(root)
    return root


# -- backup, beside a server ------------------------------------------------------------------------------


class BackingUp:
    """One backup after the other of a data directory at which a server is at work."""

    def __init__(self, root: Path, *options: str, patch: str = "", trusts: str = "") -> None:
        self.root, self.options = root, options
        self.backup = root.parent / "backup"
        self.patch, self.trusts = patch, trusts
        self.number = 100

    def strike(self, number: int, point: str = "*") -> tuple[bool, bool]:
        fresh(self.backup)
        self.drop()
        fail = f"backup.{point}:{number}:kill"
        words = ("backup", self.backup, *self.options)
        return killed_or_done(command(self.root, *words, patch=self.patch, fail=fail))

    def drop(self) -> None:
        """One more file for the server, which may be anywhere in its work on it."""
        self.number += 1
        part = self.root / "elsewhere" / "part"
        part.write_text(content_of(self.number))
        part.rename(self.root / "inbox" / f"in-{self.number:05}.log")

    def judge(self, done: bool) -> list[str]:
        again = fresh(self.root.parent / "again")
        restored = command(self.root, "restore", self.backup, "--data", again, patch=self.trusts)
        if restored.returncode:
            wrong = [f"told, and refused: {restored.stderr}"] if done else []
            left = [again] if again.exists() else []
            return wrong + [f"refused, and made: {each}" for each in left]
        shutil.rmtree(self.root.parent / "other", ignore_errors=True)
        # Of what is restored the ledger and the bytes agree.
        other = self.root.parent / "other"
        other.mkdir()
        shutil.copy(self.root / "filemill.yaml", other)
        shutil.copy(self.root / "schema.json", other)
        again.rename(other / ".filemill")
        return wrong_with(other)


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--copy",)], ids=["linked", "copied"])
def test_a_backup_that_is_killed_beside_a_server_is_whole_or_refused(
    root: Path, start: Callable[..., Program], options: tuple[str, ...]
) -> None:
    program = start(root)
    assert wait_for(lambda: "Ready in" in (root / "server.log").read_text(), 60)
    backing_up = BackingUp(root, *options)
    assert walk(backing_up.strike, backing_up.judge, stride=5) > 10
    # The last moments, which a stride may pass by.
    assert backing_up.strike(1, "replace") == KILLED
    assert not backing_up.judge(done=False)
    refused = command(root, "backup", backing_up.backup)
    assert refused.returncode == 2, "a folder with a backup that was killed is no place for another"
    assert "is not empty" in refused.stderr
    assert wait_for(lambda: not list((root / "inbox").glob("*.log")), 60)
    assert program.stop() == 0
    assert wrong_with(root) == []


def test_a_backup_that_says_too_early_that_it_is_whole_is_noticed(root: Path) -> None:
    """The negative control, with a restore that believes it."""
    backing_up = BackingUp(root, "--copy", patch=LATE, trusts=TRUSTS)
    counts = root.parent / "counts"
    assert command(root, "backup", backing_up.backup, "--copy", counts=counts).returncode == 0
    last = sum(int(line.split()[1]) for line in counts.read_text().splitlines())
    assert backing_up.strike(last) == KILLED
    assert backing_up.judge(done=False)


# -- restore ----------------------------------------------------------------------------------------------


class Restoring:
    """Restores over a data directory that has come a file further than the backup."""

    def __init__(self, root: Path, *, patch: str = "") -> None:
        self.root, self.patch = root, patch
        self.backup = root.parent / "backup"
        assert command(root, "backup", self.backup).returncode == 0
        self.wanted = promises.files_below(root / ".filemill/content")
        (root / "inbox/in-00200.log").write_text(content_of(200))
        scenario.run(root)
        self.before = promises.files_below(root / ".filemill/content")
        assert len(self.before) == len(self.wanted) + 1
        shutil.copytree(root / ".filemill", root.parent / "before")

    def strike(self, number: int, point: str = "*") -> tuple[bool, bool]:
        for each in (self.root / ".filemill", *self.root.glob(".filemill.*")):
            shutil.rmtree(each, ignore_errors=True)
        shutil.copytree(self.root.parent / "before", self.root / ".filemill")
        words = ("restore", self.backup, "--force")
        fail = f"restore.{point}:{number}:kill"
        return killed_or_done(command(self.root, *words, patch=self.patch, fail=fail))

    def judge(self, done: bool) -> list[str]:
        if not (self.root / ".filemill").exists():
            return ["there is no data directory: the next start would begin anew"]
        wrong = wrong_with(self.root)
        content = promises.files_below(self.root / ".filemill/content")
        states = [self.wanted] if done else [self.wanted, self.before]
        if content not in states:
            wrong.append("its content is neither the old nor the new one")
        if not done and not wrong:
            again = command(self.root, "restore", self.backup, "--force")
            if again.returncode:
                wrong.append(f"again: {again.stderr}")
            elif promises.files_below(self.root / ".filemill/content") != self.wanted:
                wrong.append("again, and it is not restored")
        return wrong


@pytest.mark.slow
def test_a_restore_that_is_killed_leaves_the_old_data_directory_or_the_new_one(root: Path) -> None:
    restoring = Restoring(root)
    assert walk(restoring.strike, restoring.judge, stride=6) > 8
    for point in ("exchange", "rename"):
        assert restoring.strike(1, point) == KILLED
        assert not restoring.judge(done=False), point
    assert scenario.run(root).code in (0, 1), "what was restored runs"
    assert wrong_with(root) == []


def test_a_restore_in_two_steps_is_noticed(root: Path) -> None:
    restoring = Restoring(root, patch=IN_TWO_STEPS)
    assert restoring.strike(2, "rename") == KILLED
    assert restoring.judge(done=False)


# -- config rollback --------------------------------------------------------------------------------------

FIRST = {
    "filemill.yaml": """\
version: 1
sources: {inbox: {folder: inbox, settle: 5ms}}
tags: {log: {name: "*.log"}}
pipelines: {logs: {when: log, steps: [read_lines, steps.mark, write: out]}}
sinks: {out: {folder: out}}
""",
    "steps.py": "def mark(row: dict) -> dict:\n    return row\n",
}
SECOND = {
    "filemill.yaml": FIRST["filemill.yaml"].replace("5ms", "7ms"),
    "steps.py": FIRST["steps.py"] + "# the second version\n",
    "conf.d/more.yaml": "workers: 1\n",
}


class RollingBack:
    """Rolls a project back from its second revision to its first, at `root`, saved beside it."""

    def __init__(self, root: Path, *, patch: str = "") -> None:
        self.root, self.patch = root, patch
        for version in (FIRST, SECOND):
            self.put(version)
            (root / "inbox").mkdir(exist_ok=True)
            done = command(root, "run", "--once")
            assert done.returncode == 0, done.stderr
        self.saved = root.parent / "saved"
        shutil.copytree(root, self.saved)

    def put(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    @property
    def words(self) -> tuple[str, ...]:
        return ("config", "rollback", "1", "--yes")

    def reset(self) -> None:
        for each in self.root.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()
        shutil.copytree(self.saved, self.root, dirs_exist_ok=True)

    def strike(self, number: int, point: str = "*") -> tuple[bool, bool]:
        self.reset()
        fail = f"rollback.{point}:{number}:kill"
        return killed_or_done(command(self.root, *self.words, patch=self.patch, fail=fail))

    def judge(self, done: bool) -> list[str]:
        wrong = []
        kept = self._kept()
        for name, text in SECOND.items():
            path = self.root / name
            now = path.read_text() if path.exists() else None
            if now not in ([FIRST.get(name)] if done else [FIRST.get(name), text]):
                wrong.append(f"{name} is neither the old nor the new one: {now!r}")
            if now != text and text not in kept:
                wrong.append(f"what {name} was is not kept")
        if not done and not wrong:
            again = command(self.root, *self.words)
            if again.returncode:
                wrong.append(f"again: {again.stderr}")
            else:
                wrong += self.judge(done=True)
        return wrong

    def _kept(self) -> list[str]:
        return [p.read_text() for p in self.root.glob(".filemill/replaced/*/*") if p.is_file()]


def test_a_rollback_that_is_killed_leaves_each_file_old_or_new(tmp_path: Path) -> None:
    (tmp_path / "world").mkdir()
    rolling_back = RollingBack(tmp_path / "world")
    assert walk(rolling_back.strike, rolling_back.judge, stride=3) > 8


def test_a_rollback_in_place_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "world").mkdir()
    rolling_back = RollingBack(tmp_path / "world", patch=IN_PLACE)
    assert rolling_back.strike(2, "sync_file") == KILLED  # the first is that of what is kept
    assert "neither the old nor the new" in rolling_back.judge(done=False)[0]


def without_power(machine: Machine, *entry: str) -> RollingBack:
    """Rolls back on a machine whose power goes."""

    class WithoutPower(RollingBack):
        def strike(self, number: int, point: str = "*") -> tuple[bool, bool]:
            self.reset()
            machine.sync()
            words = (*(entry or FILEMILL), *self.words)
            return strike_in(machine, self.root, words, f"rollback.{point}:{number}:stop")

    (machine.place / "data/project").mkdir()
    return WithoutPower(machine.place / "data/project")


@pytest.mark.slow
def test_a_rollback_that_loses_its_power_leaves_each_file_old_or_new(machine: Machine) -> None:
    rolling_back = without_power(machine)
    assert walk(rolling_back.strike, rolling_back.judge, stride=3) > 8


def test_a_rollback_that_syncs_nothing_is_noticed(machine: Machine) -> None:
    rolling_back = without_power(machine, sys.executable, "-c", UNSYNCED + CLI)
    _, done = rolling_back.strike(1_000)
    assert done
    assert rolling_back.judge(done), "told, and gone"
