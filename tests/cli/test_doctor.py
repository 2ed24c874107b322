"""filemill doctor: it finds out by trying, says what to do, and leaves everything as it was."""

import json
import os
import shutil
import subprocess
import time

import pytest
from shell import FILEMILL

from filemill.durable import Durable, Failpoints
from filemill.ports.examining import Level
from filemill.sinks.examining import examine_sink


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
        "machine", "data", "source inbox", "sink orders", "sink review",
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
            while not (project / ".filemill" / "control.sock").exists():
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


class Replacing(Durable):
    """A file system whose rename takes away what is there, as some network file systems do."""

    def rename(self, source, target):
        os.replace(source, target)


def test_a_rename_that_replaces_is_a_problem(tmp_path):
    root = os.fsencode(tmp_path)
    good = examine_sink("out", root, root + b"/.filemill", Durable(Failpoints("test")))
    assert {each.level for each in good} == {Level.OK}
    bad = examine_sink("out", root, root + b"/.filemill", Replacing(Failpoints("test")))
    assert Level.PROBLEM in {each.level for each in bad}
    assert "replaces what is there" in bad[0].what
    assert os.listdir(tmp_path) == []
