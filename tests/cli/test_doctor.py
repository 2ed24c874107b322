"""filemill doctor: it finds out by trying, says what to do, and leaves everything as it was."""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from shell import FILEMILL

from filemill.durable import Durable, Failpoints
from filemill.durable.barrier import GROUP
from filemill.durable.costs import Costs, Measurement, recall
from filemill.ports.examining import Level
from filemill.service.examining.syncing import tell
from filemill.sinks.examining import examine_sink
from filemill.sinks.permitting import Permissions


@pytest.fixture
def project(filemill, tmp_path):
    filemill("init")
    return tmp_path


def found(filemill, *, code=0, **environ):
    told = json.loads(filemill("doctor", "--json", code=code, **environ).stdout)
    assert told["schema"] == "filemill.doctor/1"
    assert sum(told["counts"].values()) == len(told["items"])
    for item in told["items"]:
        assert item["level"] == "ok" or item["help"], item
    return told["items"]


def levels(items, about):
    return {item["what"]: item["level"] for item in items if item["about"] == about}


def threshold_of(project):
    """What a server remembers of the disk of its data directory."""
    (known,) = recall(str(project / ".filemill" / "syncing.json")).values()
    return known.costs.threshold


def tree(root):
    """Every name below a folder, with what a change of it would change."""
    paths = [
        os.path.join(here, name)
        for here, folders, names in os.walk(root)
        for name in (*folders, *names)
    ]
    return {path: (os.lstat(path).st_mode, os.lstat(path).st_ino) for path in paths}


def test_a_fresh_project_is_well_and_stays_as_it_was(filemill, project):
    before = tree(project)
    items = found(filemill)
    assert tree(project) == before
    assert {item["about"] for item in items} == {
        "machine", "data", "access", "source inbox", "sink orders", "sink review",
    }  # fmt: skip
    what = " ".join(item["what"] for item in items)
    for said in ("SQLite 3.", "Python 3.", "open files", "inotify", "made at the start"):
        assert said in what


def test_beside_a_running_server_it_tries_the_folders_in_use(filemill, project):
    (project / "a.csv").write_text("order_id,amount\nA,1\n")
    filemill("run", "--once", "a.csv")
    with subprocess.Popen(
        [*FILEMILL, "-q", "run"], cwd=project, env=filemill.environ, stdout=subprocess.DEVNULL
    ) as server:
        try:
            deadline = time.monotonic() + 60
            # Its own measurement of the disk comes a moment after its start.
            last = {"control.sock", "syncing.json"}
            while not last.issubset(os.listdir(project / ".filemill")):
                assert time.monotonic() < deadline
                time.sleep(0.1)
            before = tree(project)
            items = found(filemill)
            assert tree(project) == before
        finally:
            server.terminate()
            server.wait(60)
    what = " ".join(item["what"] for item in items)
    assert f"process {server.pid} works on it" in what
    assert "the ledger knows 1 files" in what
    assert "each output appears by one rename, exactly once" in what
    assert "files are taken by one rename" in what
    assert "a sync takes" in what
    (syncing,) = (item for item in items if item["about"] == "syncing")
    assert syncing["values"]["in_force"] == threshold_of(project)


def test_what_is_missing_or_open_to_strangers_is_said_with_what_to_do(filemill, project):
    (project / "inbox").chmod(0o777)
    done = filemill("doctor")
    assert "everybody may write into it" in done.stdout
    assert "help: chmod o-w" in done.stdout
    (project / "out").rmdir()
    (project / "out").write_text("a file where the sinks' folder should be")
    items = found(filemill, code=1)
    assert set(levels(items, "sink orders").values()) == {"problem"}
    quiet = filemill("doctor", "-q", code=1)
    assert "✓" not in quiet.stdout
    assert "out/orders cannot be made in" in quiet.stdout
    shutil.rmtree(project / "inbox")
    items = found(filemill, code=1)
    assert any("mkdir -p inbox" in item["help"] for item in items)


def test_a_data_directory_that_others_can_look_into(filemill, project):
    (project / ".filemill").mkdir(mode=0o755)
    (project / ".filemill").chmod(0o755)
    items = found(filemill)
    assert "warning" in levels(items, "data").values()
    assert any("chmod 700" in item["help"] for item in items)


def test_what_restores_left_is_named(filemill, project):
    (project / "a.csv").write_text("order_id,amount\nA,1\n")
    filemill("run", "--once", "a.csv")
    filemill("backup", "saved")
    filemill("restore", "saved", "--force")
    (project / ".filemill.restoring-1795932813401996459").mkdir()
    items = levels(found(filemill), "data")
    (before,) = (what for what in items if "before-restore" in what)
    assert items[before] == "ok"
    assert "remove it when you are sure" in before
    (killed,) = (what for what in items if "restoring-1795932813401996459" in what)
    assert items[killed] == "warning"


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a second file system")
def test_data_on_another_file_system_means_copies(filemill, project):
    data = f"/dev/shm/filemill-doctor-test-{os.getpid()}"
    if os.stat("/dev/shm").st_dev == os.stat(project).st_dev:
        pytest.skip("/dev/shm is on the same file system")
    try:
        for _ in range(2):  # before there is a data directory, and with one
            items = found(filemill, FILEMILL_DATA_DIR=data)
            assert any("another file system" in each for each in levels(items, "source inbox"))
            os.makedirs(data, 0o700, exist_ok=True)
    finally:
        shutil.rmtree(data)


def test_a_source_that_is_only_copied_from_is_not_written(filemill, project):
    text = (project / "filemill.yaml").read_text()
    (project / "filemill.yaml").write_text(
        text.replace("{folder: inbox}", "{folder: inbox, claim: copy}")
    )
    before = os.stat(project / "inbox").st_mtime_ns
    items = found(filemill)
    assert any("copied, verified" in each for each in levels(items, "source inbox"))
    assert os.stat(project / "inbox").st_mtime_ns == before


def test_without_sync_it_says_what_a_power_cut_takes(filemill, project):
    with (project / "filemill.yaml").open("a") as file:
        file.write("durability: process\n")
    (project / ".filemill").mkdir(mode=0o700)
    assert any("a power cut may lose" in item["what"] for item in found(filemill))


def test_without_a_configuration_the_machine_is_examined_all_the_same(filemill, tmp_path):
    items = found(filemill, code=1)
    assert levels(items, "machine")
    assert set(levels(items, "configuration").values()) == {"problem"}
    (tmp_path / "filemill.yaml").write_text("version: 1\npipelines: {a: {wen: x}}\n")
    items = found(filemill, code=1)
    assert set(levels(items, "configuration").values()) == {"problem"}


def test_few_open_files_are_a_warning(filemill, project):
    command = f"ulimit -n 256; {' '.join(FILEMILL)} doctor"
    done = subprocess.run(
        ["bash", "-c", command], cwd=project, env=filemill.environ, capture_output=True, text=True, check=True
    )  # fmt: skip
    assert "only 256 open files are allowed" in done.stdout
    assert "LimitNOFILE" in done.stdout


LINE = re.compile(
    r"^(/\S*) \(\w+\): fsync [\d.]+ ms a file, [\d.]+ ms for each more at once, syncfs [\d.]+ ms: "
    r"(syncfs from \d+ files on|never syncfs)"
)


def test_how_the_disk_syncs_is_said_and_counted(filemill, project):
    (project / ".filemill").mkdir(mode=0o700)
    before = tree(project)
    (found_,) = (item for item in found(filemill) if item["about"] == "syncing")
    assert tree(project) == before
    values = found_["values"]
    if values["kind"] != "tmpfs":
        assert LINE.match(found_["what"]), found_["what"]
    assert os.path.ismount(values["mount"])
    assert min(values["fsync_ns"], values["fsync_more_ns"], values["syncfs_ns"]) > 0
    assert values["in_force"] == GROUP, "no server has measured"
    printed = filemill("doctor").stdout
    assert re.search(r"^syncing\n  \S /", printed, re.MULTILINE)


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a second file system")
def test_each_file_system_is_said_once_and_memory_for_what_it_is(filemill, project):
    memory = Path(f"/dev/shm/filemill-doctor-memory-{os.getpid()}")
    if os.stat("/dev/shm").st_dev == os.stat(project).st_dev:
        pytest.skip("/dev/shm is on the same file system")
    try:
        memory.mkdir()
        (project / ".filemill").mkdir(mode=0o700)
        (memory / ".filemill").mkdir()
        text = (project / "filemill.yaml").read_text()
        (project / "filemill.yaml").write_text(text.replace("out/orders", str(memory)))
        said = {i["what"]: i["level"] for i in found(filemill) if i["about"] == "syncing"}
        assert len(said) == 2
        assert said["/dev/shm (tmpfs): memory: nothing survives a power cut"] == "warning"
    finally:
        shutil.rmtree(memory)


def test_without_syncs_nothing_is_said_of_them(filemill, project):
    with (project / "filemill.yaml").open("a") as file:
        file.write("durability: process\n")
    (project / ".filemill").mkdir(mode=0o700)
    assert not levels(found(filemill), "syncing")


MS = 1_000_000


@pytest.mark.parametrize(
    ("costs", "level", "said"),
    [
        (
            Costs(900_000, 200_000, 2_100_000),
            "ok",
            "fsync 0.9 ms a file, 0.2 ms for each more at once, syncfs 2.1 ms: syncfs from 13 files on",
        ),
        (Costs(101 * MS, MS, MS), "warning", "fsync 101.0 ms a file"),
        (Costs(MS, 10_000, 150 * MS), "warning", "syncfs 150.0 ms: never syncfs"),
        (Costs(19_000, 5_000, 30_000), "warning", "no disk is that fast"),
        (Costs(21_000, 5_000, 30_000), "ok", "fsync 0.021 ms a file"),
    ],
)
def test_a_disk_that_is_too_slow_or_too_fast_to_be_true_is_a_warning(costs, level, said):
    told = tell("/data", "ext4", Measurement("/data", "", "", 0, costs), None)
    assert (told.level, said in told.what) == (level, True), told.what
    assert (told.help != "") is (level == "warning")


def test_what_a_server_has_measured_is_said_where_it_chooses_otherwise():
    now = Measurement("/data", "", "", 0, Costs(900_000, 200_000, 2_100_000))
    then = Measurement("/data", "", "", 0, Costs(900_000, 200_000, 400_000))
    assert "(a server has measured: syncfs from 2 files on)" in tell("/d", "xfs", now, then).what
    assert "a server" not in tell("/d", "xfs", now, now).what


class Replacing(Durable):
    """A file system whose rename takes away what is there, as some network file systems do."""

    def rename(self, source, target):
        os.replace(source, target)


def test_a_rename_that_replaces_is_a_problem(tmp_path):
    root = os.fsencode(tmp_path)
    good = examine_sink(
        "out", root, root + b"/.filemill", Durable(Failpoints("test")), Permissions()
    )
    assert {each.level for each in good} == {Level.OK}
    bad = examine_sink(
        "out", root, root + b"/.filemill", Replacing(Failpoints("test")), Permissions()
    )
    assert Level.PROBLEM in {each.level for each in bad}
    assert "replaces what is there" in bad[0].what
    assert os.listdir(tmp_path) == []
