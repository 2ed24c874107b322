"""The power goes within a migration, `gc`, `backup` and `restore`: what they leave is whole, or known not to be.

Each command is stopped just before its n-th durable action, the power is cut, and all is mounted again; the next cut
is one action later (`stride` of them, in `make test`), until the command has none left and ends by itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import apsw
import promises
import pytest
import scenario
from cutting import NORMAL
from machine import Machine
from program import stands_still, wait_for

sys.path.insert(0, str(Path(__file__).parents[1] / "ledger"))

from test_migration_crashes import first_version, migrated

from filemill.model.errors import FilemillError

pytestmark = [pytest.mark.crash, pytest.mark.timeout(400)]
MIGRATING = Path(__file__).parents[1] / "ledger/migrating.py"
CLI = "import sys\nfrom filemill.cli.main import main\nsys.argv[0] = 'filemill'\nsys.exit(main())\n"
UNSYNCED = (
    "from filemill.durable import Durable\n"
    "Durable.sync_path = Durable.sync_file = Durable.sync_directory = lambda self, _: None\n"
    "Durable.sync_group = lambda self, *_: None\n"
)
"""The negative control: commands whose syncs are left out."""
FILEMILL = (sys.executable, "-m", "filemill")
Judge = Callable[[int | None], list[str]]
"""What is wrong after a cut (None) or the command's end (its exit code)."""


def filemill(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command that nothing happens to."""
    return subprocess.run(
        [*FILEMILL, *words], cwd=root, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def root(machine: Machine) -> Path:
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


def cut_in(
    machine: Machine, root: Path, command: tuple[str | Path, ...], fail: str = ""
) -> int | None:
    """Run it until it stops, and cut the power: None; or until it ends: its exit code."""
    log = machine.place / "told.log"
    with open(log, "w") as told:
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=root,
            env=os.environ | {"FILEMILL_FAIL": fail},
            stdout=told,
            stderr=told,
        )
    assert wait_for(lambda: process.poll() is not None or stands_still(process), 120), (
        log.read_text()
    )
    if process.poll() is not None:
        return process.returncode
    machine.cut(process)
    machine.on()
    return None


def walk(strike: Callable[[int], int | None], judge: Judge, stride: int = 1) -> int:
    """Strike at the first action, and then at every one a stride further, until there is none; how many were.

    Raises:
        AssertionError: something is wrong after a cut, or at the end.
    """
    stride = int(os.environ.get("FILEMILL_STRIDE", stride))
    number = 1
    while True:
        code = strike(number)
        wrong = judge(code)
        assert not wrong, f"cut at action {number} (exit code {code}): {wrong}"
        if code is not None:
            assert code == 0
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
    machine: Machine, root: Path, disk: str, *entry: str
) -> tuple[Callable[[int], int | None], Judge]:
    backup = machine.place / disk / "backup"

    def strike(number: int) -> int | None:
        fresh(backup)
        machine.sync()
        command = (*(entry or FILEMILL), "backup", backup)
        code = cut_in(machine, root, command, f"backup.*:{number}:stop")
        if code is not None:  # what it told is true when the power goes right behind it
            machine.cut()
            machine.on()
        return code

    def judge(code: int | None) -> list[str]:
        whole = filemill(root, "restore", str(backup), "--dry-run", "--data", str(root / "again"))
        if whole.returncode:
            return [] if code is None else [f"told, and refused: {whole.stdout}{whole.stderr}"]
        again = fresh(machine.place / "far/again")
        filemill(root, "restore", str(backup), "--data", str(again))
        wrong = [] if (again / "ledger.db").exists() else ["whole, and not restored"]
        content = promises.files_below(again / "content")
        if content != promises.files_below(root / ".filemill/content"):
            wrong.append("its content is not what was backed up")
        fresh(again)
        return wrong + wrong_with(root)

    return strike, judge


@pytest.mark.slow
@pytest.mark.parametrize("disk", ["data", "sinks"])
def test_a_backup_is_whole_or_refused(machine: Machine, root: Path, disk: str) -> None:
    """Linked on the same disk, copied to another."""
    assert walk(*backing_up(machine, root, disk), stride=6) > 2


def test_a_backup_that_syncs_nothing_is_noticed(machine: Machine, root: Path) -> None:
    strike, judge = backing_up(machine, root, "sinks", sys.executable, "-c", UNSYNCED + CLI)
    assert judge(strike(1_000)), "told, and gone"


# -- restore ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_restore_leaves_the_old_data_directory_or_the_new_one(
    machine: Machine, root: Path
) -> None:
    assert filemill(root, "backup", str(machine.place / "sinks/backup")).returncode == 0
    machine.sync()
    wanted = promises.files_below(root / "before/content")

    def strike(number: int, point: str = "*") -> int | None:
        for each in root.glob(".filemill.*"):
            shutil.rmtree(each)
        shutil.rmtree(root / ".filemill", ignore_errors=True)
        begin_with = root / ".filemill"
        shutil.copytree(root / "before", begin_with)
        machine.sync()
        command = (*FILEMILL, "restore", machine.place / "sinks/backup", "--force")
        code = cut_in(machine, root, command, f"restore.{point}:{number}:stop")
        if code is not None:
            machine.cut()
            machine.on()
        return code

    def judge(_: int | None) -> list[str]:
        if not (root / ".filemill").exists():
            return ["there is no data directory: the next start would begin anew"]
        wrong = wrong_with(root)
        if promises.files_below(root / ".filemill/content") != wanted:
            wrong.append("its content is neither the old nor the new one")
        return wrong

    assert walk(strike, judge, stride=3) > 2
    for point in ("exchange", "rename"):  # the walk may step over where the two change places
        assert strike(1, point) is None
        assert not judge(None), point


# -- gc ---------------------------------------------------------------------------------------------------


def collecting(
    machine: Machine, root: Path, *entry: str
) -> tuple[Callable[[int], int | None], Judge]:
    words = ("gc", "--older-than", "1ms", "--yes")

    def strike(number: int) -> int | None:
        begin(machine, root)
        code = cut_in(machine, root, (*(entry or FILEMILL), *words), f"gc.*:{number}:stop")
        if code is not None:
            machine.cut()
            machine.on()
        return code

    def judge(_: int | None) -> list[str]:
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


@pytest.mark.slow
def test_gc_leaves_no_row_without_bytes_and_the_next_one_ends_it(
    machine: Machine, root: Path
) -> None:
    assert walk(*collecting(machine, root), stride=4) > 2


def test_gc_whose_ledger_does_not_sync_is_noticed(machine: Machine, root: Path) -> None:
    strike, judge = collecting(machine, root, sys.executable, "-c", NORMAL)
    with pytest.raises(AssertionError, match="cut at action"):
        walk(strike, judge)


# -- migration --------------------------------------------------------------------------------------------


def migrating(machine: Machine, *words: str) -> tuple[Callable[[int], int | None], Judge]:
    place = machine.place / "data/new"
    old = machine.place / "data/old"
    old.mkdir()
    first_version(old / "ledger.db")
    place.mkdir()
    for each in old.iterdir():
        shutil.copy(each, place)
    wanted = migrated(place / "ledger.db")

    def strike(number: int) -> int | None:
        fresh(place).mkdir()
        for each in old.iterdir():
            shutil.copy(each, place)
        machine.sync()
        command = (sys.executable, MIGRATING, place / "ledger.db", str(number), "stop", *words)
        return cut_in(machine, machine.place, command)

    def judge(_: int | None) -> list[str]:
        return [] if migrated(place / "ledger.db") == wanted else ["another schema"]

    return strike, judge


@pytest.mark.slow
def test_a_migration_that_loses_its_power_is_done_at_the_next_start(machine: Machine) -> None:
    assert walk(*migrating(machine), stride=16) > 20


def test_a_migration_without_a_transaction_is_noticed(machine: Machine) -> None:
    strike, judge = migrating(machine, "naked")
    with pytest.raises((apsw.Error, FilemillError, AssertionError)) as caught:
        walk(strike, judge, stride=5)
    print(caught.value)
