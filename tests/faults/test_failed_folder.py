"""The folder of what failed: one whole copy of each death with its reason, and gone when it is over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from filemill.durable import Durable, Failpoints
from filemill.service.copying import Copies

FILEMILL = [sys.executable, "-m", "filemill"]
CONFIG = """\
version: 1
workers: 1
failed: {folder: errors}
sources:
  inbox: {folder: inbox, create: true, settle: 5ms, settle_unproven: 20ms, max_size: 1KB}
tags:
  table: {name: "*.csv"}
pipelines:
  tables: {when: table, steps: [read_csv, {write: out}]}
sinks:
  out: {folder: out}
"""
BAD = b"a,b\n1,2\none field\n"
BIG = b"x" * 2_000


@pytest.fixture
def project(tmp_path):
    (tmp_path / "filemill.yaml").write_text(CONFIG)
    (tmp_path / "inbox" / "below").mkdir(parents=True)
    return tmp_path


def environ(project):
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(project),
        "FILEMILL__WEB__LISTEN": "off",
        "PYTHONUTF8": "1",
    }


def run(project, *words, code=None, **more):
    done = subprocess.run(
        [*FILEMILL, *words],
        cwd=project,
        env=environ(project) | more,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert code is None or done.returncode == code, done.stdout + done.stderr
    return done


def copies(project) -> dict[str, bytes]:
    """What lies in the folder; every visible reason is whole and has its copy."""
    found = {path.name: path.read_bytes() for path in (project / "errors").glob("*")}
    for name, data in found.items():
        if name.endswith(".reason.json") and not name.startswith("."):
            assert json.loads(data)["schema"] == "filemill.reason/1"
            assert name.removesuffix(".reason.json") in found
    return found


def of(found, end):
    return [name for name in found if name.endswith(end)]


def test_what_dies_and_what_is_rejected_is_there_with_its_reason(project):
    (project / "inbox" / "below" / "bad.csv").write_bytes(BAD)
    (project / "inbox" / "good.csv").write_bytes(b"a,b\n1,2\n")
    (project / "inbox" / "big.csv").write_bytes(BIG)
    run(project, "run", "--once", code=1)
    found = copies(project)
    assert len(found) == 4
    (bad,) = [name for name in of(found, ".csv") if name.startswith("bad.")]
    (big,) = [name for name in of(found, ".csv") if name.startswith("big.")]
    assert (found[bad], found[big]) == (BAD, BIG)
    reason = json.loads(found[f"{bad}.reason.json"])
    assert (reason["name"], reason["state"]) == ("below/bad.csv", "dead")
    assert reason["error"] == "BadRecords"
    assert "max_size" in json.loads(found[f"{big}.reason.json"])["reason"]


def test_a_copy_goes_when_its_run_is_not_dead_any_more_unless_somebody_changed_it(project):
    for name in ("one.csv", "two.csv"):
        (project / "inbox" / name).write_bytes(BAD)
    run(project, "run", "--once", code=1)
    (two,) = (project / "errors").glob("two.*.csv")
    two.write_bytes(b"a,b\n1,2\nmended,1\n")
    run(project, "dead", "discard", "--all", "--yes", code=0)
    run(project, "run", "--once", code=0)
    assert list(copies(project)) == [two.name]
    assert two.read_bytes() == b"a,b\n1,2\nmended,1\n"


def test_a_copy_that_somebody_took_away_does_not_come_back_but_the_next_death_does(project):
    (project / "inbox" / "one.csv").write_bytes(BAD)
    run(project, "run", "--once", code=1)
    for path in (project / "errors").iterdir():
        path.unlink()
    run(project, "run", "--once")
    assert copies(project) == {}
    run(project, "dead", "redrive", "--all", "--yes", code=0)
    run(project, "run", "--once")
    assert len(copies(project)) == 2


@pytest.mark.parametrize("action", ["sync_file", "rename", "sync_directory"])
def test_a_kill_at_any_step_leaves_one_whole_copy_of_each_death(project, action):
    """Killed at the first, second... durable step of a kind until none is left; then a clean run, and all is there."""
    (project / "inbox" / "bad.csv").write_bytes(BAD)
    (project / "inbox" / "big.csv").write_bytes(BIG)
    killed = 0
    for number in range(1, 40):
        done = run(project, "run", "--once", FILEMILL_FAIL=f"server.{action}:{number}:kill")
        copies(project)
        if done.returncode != -signal.SIGKILL:
            break
        killed += 1
    run(project, "run", "--once")
    found = copies(project)
    assert killed > 0
    assert len(found) == 4, sorted(found)
    assert sorted(found[name] for name in of(found, ".csv")) == sorted([BAD, BIG])


def test_a_copy_whose_name_could_not_be_made_durable_is_told_of_only_when_it_is(tmp_path):
    """What is there is not yet durable: the ledger's word that it is would outlive it in a power cut."""
    failpoints = Failpoints("test", "sync_directory:1:EIO")
    copies = Copies(str(tmp_path), Durable(failpoints))
    with pytest.raises(OSError, match="injected"):
        copies.add("a.csv", [BAD], b"{}")
    assert copies.has("a.csv")
    assert copies.add("a.csv", [BAD], b"{}") is False
    assert failpoints.counts["sync_directory"] == 2


def test_a_folder_that_cannot_be_written_stops_nothing_and_is_filled_later(project):
    with (project / "log").open("w") as log:
        server = subprocess.Popen(
            [*FILEMILL, "run"], cwd=project, env=environ(project), stdout=log, stderr=log
        )

    def until(holds):
        deadline = time.monotonic() + 90
        while not holds():
            said = (project / "log").read_text()
            assert time.monotonic() < deadline, said
            assert server.poll() is None, said
            time.sleep(0.05)

    try:
        until(lambda: "Ready" in (project / "log").read_text())
        (project / "errors").write_text("in the way")
        (project / "inbox" / "bad.csv").write_bytes(BAD)
        (project / "inbox" / "good.csv").write_bytes(b"a,b\n3,4\n")
        until(lambda: "failed folder" in (project / "log").read_text())
        until((project / "out" / "good.csv").exists)
        (project / "errors").unlink()
        until(lambda: len(copies(project)) == 2)
        until(lambda: "kept again" in (project / "log").read_text())
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)
