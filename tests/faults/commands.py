"""Faults within a migration, `gc`, `backup` and `restore`, and the judgement of what each leaves.

A fault strikes at a command's n-th durable action: it is killed there, the action fails with EIO or ENOSPC, or it is
stopped just before it, the power is cut, and all is mounted again. The next fault is one action later (`stride` of
them, in `make test`), until the command has none left.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import promises
import scenario
from machine import DISKS, Machine
from program import stands_still, wait_for

sys.path.insert(0, str(Path(__file__).parents[1] / "ledger"))

from test_migration_crashes import first_version, migrated

MIGRATING = Path(__file__).parents[1] / "ledger/migrating.py"
CLI = "import sys\nfrom filemill.cli.main import main\nsys.argv[0] = 'filemill'\nsys.exit(main())\n"
UNSYNCED = (
    "from filemill.durable import Durable\n"
    "Durable.sync_path = Durable.sync_file = Durable.sync_directory = lambda self, _: None\n"
    "Durable.sync_group = lambda self, *_: None\n"
)
"""The negative control: commands whose syncs are left out."""
FILEMILL = (sys.executable, "-m", "filemill")
POWER = "stop"
ACTIONS = ("kill", "EIO", "ENOSPC", POWER)
Strike = Callable[[int], tuple[bool, bool]]
"""Has the n-th action of a command fail: whether it did, and whether the command said that it has done its work."""
Judge = Callable[[bool], list[str]]
"""What is wrong behind a command that said, or did not say, that it has done its work."""


class Folders(Machine):
    """Folders in the places of a machine's disks, for faults that are no power cuts."""

    def build(self) -> None:
        """Make them."""
        for name in DISKS:
            (self.place / name).mkdir(parents=True)

    def sync(self, *names: str) -> None:
        """Nothing is lost here."""

    def off(self) -> None:
        """There is nothing to unmount."""


def filemill(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command that nothing happens to."""
    return subprocess.run(
        [*FILEMILL, *words], cwd=root, capture_output=True, text=True, timeout=120, check=False
    )


def at_rest(machine: Machine) -> Path:
    """A world at rest, durable, with the data directory to begin each round with beside it."""
    root = scenario.build_on(machine)
    scenario.run(root)
    shutil.copytree(root / ".filemill", root / "before")
    machine.sync()
    return root


def begin(machine: Machine, root: Path) -> None:
    """The data directory as it was before the first round."""
    shutil.rmtree(root / ".filemill")
    shutil.copytree(root / "before", root / ".filemill")
    machine.sync()


def strike_in(
    machine: Machine, root: Path, command: tuple[str | Path, ...], fail: str
) -> tuple[bool, bool]:
    """Run it with a fault: whether it struck, and whether the command ended well.

    What ended well is true when the power goes right behind it.
    """
    log = machine.place / "told.log"
    with open(log, "w") as told, tempfile.TemporaryDirectory(prefix="filemill-fired-") as once:
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=root,
            env=os.environ | {"FILEMILL_FAIL": fail, "FILEMILL_FAIL_ONCE": once},
            stdout=told,
            stderr=told,
        )
        ended = wait_for(lambda: process.poll() is not None or stands_still(process), 120)
        assert ended, log.read_text()
        fired = bool(os.listdir(once))
    code, said = process.poll(), log.read_text()
    if not isinstance(machine, Folders):
        machine.cut(process)
        machine.on()
    elif code not in (0, -signal.SIGKILL) and "migrating" not in str(command):
        assert "error: " in said, said
        assert "help: " in said, said
        assert "Traceback" not in said, said
    return fired or "struck" in said, code == 0


def walk(strike: Strike, judge: Judge, stride: int = 1, first: int = 1) -> int:
    """Strike at an action, and then at every one a stride further, until there is none; how many were.

    Raises:
        AssertionError: something is wrong after a fault, or at the end.
    """
    number = first
    while True:
        fired, done = strike(number)
        wrong = judge(done)
        assert not wrong, f"struck at action {number} (done: {done}): {wrong}"
        if not fired:
            assert done
            return number - 1
        number += stride


def fresh(folder: Path) -> Path:
    """A folder's path with nothing there."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def wrong_with(root: Path) -> list[str]:
    """What `verify` says of the data directory."""
    done = filemill(root, "verify", "--deep")
    return [] if done.returncode == 0 else [done.stdout + done.stderr]


# -- backup -----------------------------------------------------------------------------------------------


def backing_up(
    machine: Machine, action: str, disk: str, entry: tuple[str, ...] = FILEMILL
) -> tuple[Strike, Judge]:
    """A backup onto this disk: linked on the same one, copied to another."""
    root = at_rest(machine)
    backup = machine.place / disk / "backup"

    def strike(number: int) -> tuple[bool, bool]:
        fresh(backup)
        machine.sync()
        return strike_in(machine, root, (*entry, "backup", backup), f"backup.*:{number}:{action}")

    def judge(done: bool) -> list[str]:
        whole = filemill(root, "restore", str(backup), "--dry-run", "--data", str(root / "again"))
        if whole.returncode:
            return [f"told, and refused: {whole.stdout}{whole.stderr}"] if done else []
        again = fresh(machine.place / "far/again")
        filemill(root, "restore", str(backup), "--data", str(again))
        wrong = [] if (again / "ledger.db").exists() else ["whole, and not restored"]
        content = promises.files_below(again / "content")
        if content != promises.files_below(root / ".filemill/content"):
            wrong.append("its content is not what was backed up")
        fresh(again)
        return wrong + wrong_with(root)

    return strike, judge


# -- restore ----------------------------------------------------------------------------------------------


def restoring(machine: Machine, action: str) -> tuple[Callable[..., tuple[bool, bool]], Judge]:
    """A restore in the place of a data directory; `strike` can be told at which kind of action."""
    root = at_rest(machine)
    assert filemill(root, "backup", str(machine.place / "sinks/backup")).returncode == 0
    machine.sync()
    wanted = promises.files_below(root / "before/content")

    def strike(number: int, point: str = "*") -> tuple[bool, bool]:
        for each in root.glob(".filemill.*"):
            shutil.rmtree(each)
        shutil.rmtree(root / ".filemill", ignore_errors=True)
        shutil.copytree(root / "before", root / ".filemill")
        machine.sync()
        command = (*FILEMILL, "restore", machine.place / "sinks/backup", "--force")
        return strike_in(machine, root, command, f"restore.{point}:{number}:{action}")

    def judge(_: bool) -> list[str]:
        if not (root / ".filemill").exists():
            return ["there is no data directory: the next start would begin anew"]
        wrong = wrong_with(root)
        if promises.files_below(root / ".filemill/content") != wanted:
            wrong.append("its content is neither the old nor the new one")
        return wrong

    return strike, judge


# -- gc ---------------------------------------------------------------------------------------------------


def collecting(
    machine: Machine, action: str, entry: tuple[str, ...] = FILEMILL
) -> tuple[Strike, Judge]:
    """A `gc` of all that is done; the judge lets the next one end it."""
    root = at_rest(machine)
    words = ("gc", "--older-than", "1ms", "--yes")

    def strike(number: int) -> tuple[bool, bool]:
        begin(machine, root)
        return strike_in(machine, root, (*entry, *words), f"gc.*:{number}:{action}")

    def judge(_: bool) -> list[str]:
        wrong = wrong_with(root)
        again = filemill(root, *words)
        if again.returncode:
            wrong.append(again.stdout + again.stderr)
        # What waits for a person stays, with its bytes and what is kept of it; the others' bytes are gone.
        ledger = promises.read(root)
        waits = {run["file"] for run in ledger.runs if run["state"] in ("dead", "held")}
        waits |= {f["no"] for f in ledger.files if f["state"] in ("held", "rejected")}
        named = {file["content"] for file in ledger.files if file["no"] in waits}
        named |= {run["input"] for run in ledger.runs if run["input"]}
        there = promises.files_below(root / ".filemill/content").keys()
        if len(waits) != 5 or named - there:
            wrong.append(f"{len(waits)} wait for a person, without bytes: {named - there}")
        if there - named:
            wrong.append(f"left: {sorted(there - named)}")
        return wrong + wrong_with(root)

    return strike, judge


# -- migration --------------------------------------------------------------------------------------------


def migrating(machine: Machine, action: str, *words: str) -> tuple[Strike, Judge]:
    """A ledger of the first version that is opened; every write, sync and cut of SQLite's is an action."""
    place = machine.place / "data/new"
    old = machine.place / "data/old"
    old.mkdir()
    first_version(old / "ledger.db")
    place.mkdir()
    for each in old.iterdir():
        shutil.copy(each, place)
    wanted = migrated(place / "ledger.db")

    def strike(number: int) -> tuple[bool, bool]:
        fresh(place).mkdir()
        for each in old.iterdir():
            shutil.copy(each, place)
        machine.sync()
        command = (sys.executable, MIGRATING, place / "ledger.db", str(number), action, *words)
        return strike_in(machine, machine.place, command, "")

    def judge(_: bool) -> list[str]:
        return [] if migrated(place / "ledger.db") == wanted else ["another schema"]

    return strike, judge
