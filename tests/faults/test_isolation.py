"""Whatever a step does to its process, only its own run suffers, and its record says why."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from misbehaving import CONFIG, ended, make_project, once
from program import wait_for

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(240)]

GUILTY = {
    "raise": ("permanent", "raised"),
    "interrupt": ("permanent", "from the step"),
    "exit": ("permanent", "left by sys.exit"),
    "junk": ("permanent", "object"),
    "segfault": ("crash", "SIGSEGV"),
    "abort": ("crash", "SIGABRT"),
    "memory": ("crash", "out of memory"),
    "native_memory": ("crash", "out of memory"),
    "hang": ("crash", "timed out after 2s"),
    "close": ("crash", "exit code 70"),
    "close_some": (None, ""),
    "scribble": (None, ""),
    "daemon": (None, ""),
    "dying_daemon": ("crash", "SIGSEGV"),
    "change": (None, ""),
}
"""By verb: the kind of the failure and what its message says; None: it harms nobody, not even itself."""
FINE = 60


def test_every_way_to_misbehave_in_one_batch_costs_only_its_own_run(tmp_path: Path) -> None:
    files = {f"fine-{number:03}.log": "fine" for number in range(FINE)}
    files |= {f"fine-{number:03}-{verb}.log": verb for number, verb in enumerate(GUILTY)}
    make_project(tmp_path, files)

    said = once(tmp_path, code=1)

    after = ended(tmp_path)
    assert after.keys() == files.keys()
    for name, line in files.items():
        run = after[name]
        kind, message = GUILTY.get(line, (None, ""))
        if kind is None:
            assert (run.state, run.attempt) == ("done", 1), (name, run, said[-3_000:])
            continue
        assert run.state == "dead", (name, run)
        assert run.failure is not None
        assert run.failure.kind == kind, (name, run)
        assert message in run.failure.message, (name, run)
        assert run.attempt == (3 if kind == "crash" else 1), (name, run)
    # What one run changed of its process, no other met.
    outputs = {path.name: path.read_text() for path in (tmp_path / "out").glob("fine-???.log")}
    assert outputs == {f"fine-{number:03}.log": "fine\n" for number in range(FINE)}
    daemons = [int(pid) for pid in (tmp_path / "daemon").read_text().split()]
    assert len(daemons) >= 2
    assert [pid for pid in daemons if Path(f"/proc/{pid}").exists()] == []
    assert list((tmp_path / ".filemill/work").rglob("*.*")) == []


def show(root: Path, name: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "filemill", "files", "show", "-v", name],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout


def file_id(root: Path) -> str:
    listed = subprocess.run(
        [sys.executable, "-m", "filemill", "files", "ls", "--json"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout
    found = re.search(r'"id": ?"(\w+)"', listed)
    assert found, listed
    return found[1]


@pytest.mark.parametrize(
    ("verb", "reason"),
    [
        ("ignore_term", "timed out after 2s"),
        ("childrens_memory", "`worker_memory` allows 400MiB"),
        ("fill", "`max_work` allows 20MiB"),
    ],
)
def test_what_a_worker_must_be_stopped_from(tmp_path: Path, verb: str, reason: str) -> None:
    config = CONFIG if verb == "ignore_term" else CONFIG.replace("2s", "30s")
    make_project(tmp_path, {"a.log": f"once_{verb}"}, config)
    once(tmp_path, code=0)
    after = ended(tmp_path)["a.log"]
    assert (after.state, after.attempt) == ("done", 2)
    assert after.failure
    assert (after.failure.kind, after.failure.error) == ("crash", "WorkerDied")
    assert after.failure.message.endswith(reason)
    assert list((tmp_path / ".filemill/work").rglob("*.*")) == []


@pytest.mark.parametrize("verb", ["bomb", "hop"])
def test_of_a_fork_bomb_nothing_is_left(tmp_path: Path, verb: str) -> None:
    make_project(tmp_path, {"a.log": f"once_{verb}"})
    once(tmp_path, code=0)
    left = [pid for pid in filter(str.isdigit, os.listdir("/proc")) if _is_bomb(pid, tmp_path)]
    assert left == []
    after = ended(tmp_path)["a.log"]
    assert (after.state, after.attempt) == ("done", 2)
    assert after.failure
    assert (after.failure.kind, after.failure.error) == ("crash", "WorkerDied")


def _is_bomb(pid: str, place: Path) -> bool:
    try:
        return f"{place}/bomb".encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_gigabytes_of_output_are_drained_and_their_end_is_shown_escaped(tmp_path: Path) -> None:
    config = CONFIG.replace("2s", "60s").replace("attempts: 2", "attempts: 1")
    make_project(tmp_path, {"a.log": "print"}, config)
    once(tmp_path, code=1)
    failure = ended(tmp_path)["a.log"].failure
    assert failure
    assert "after half a gigabyte" in failure.message
    assert len(failure.output.encode()) <= 4 * (64 << 10)  # escapes take more room than bytes
    assert failure.output.endswith("xend\n")
    shown = show(tmp_path, file_id(tmp_path))
    assert "\x1b" not in shown
    assert "\x00" not in shown


def test_poison_files_among_a_thousand_find_themselves(tmp_path: Path) -> None:
    poison = {"0400.log": "segfault", "0500.log": "hang", "0600.log": "raise"}
    files = {f"{number:04}.log": "fine" for number in range(1_000)} | poison
    make_project(tmp_path, files)

    once(tmp_path, code=1)

    after = ended(tmp_path)
    found = [after.pop(name) for name in poison]
    assert [(run.state, run.attempt) for run in found] == [("dead", 3), ("dead", 3), ("dead", 1)]
    assert {(run.state, run.attempt) for run in after.values()} == {("done", 1)}
    assert len(list((tmp_path / "out").glob("*.log"))) == 997


def test_workers_do_not_see_secrets(tmp_path: Path) -> None:
    seen = (
        "import os\n\nHIDDEN = (b'SEEN_PLACE', b'FILEMILL_KEY=')\n\n\n"
        "def act(row: dict) -> dict:\n"
        "    seen = [n for n in os.environ if n.startswith(('SEEN_', 'FILEMILL_KEY'))]\n"
        "    above = int(open(f'/proc/{os.getppid()}/stat').read().rpartition(')')[2].split()[1])\n"
        "    for pid in (os.getpid(), os.getppid(), above):  # the fork server\n"
        "        began = open(f'/proc/{pid}/environ', 'rb').read()\n"
        "        assert b'PATH=' in began and not [n for n in HIDDEN if n in began], began\n"
        "    return row | {'line': ' '.join(sorted(seen))}\n"
    )
    config = CONFIG.replace(
        "sinks: {out: {folder: out}}", "sinks: {out: {folder: {secret: SEEN_PLACE}}}"
    )
    make_project(tmp_path, {"a.log": "fine"}, config)
    (tmp_path / "misstep.py").write_text(seen)
    once(tmp_path, code=0, SEEN_PLACE="out", SEEN_OTHER="1", FILEMILL_KEY="fm_another_servers")
    assert (tmp_path / "out/a.log").read_text() == "SEEN_OTHER\n"

    (tmp_path / "filemill.yaml").write_text(config + "worker_environment: [SEEN_T*]\n")
    (tmp_path / "inbox/b.log").write_text("fine\n")
    once(tmp_path, code=0, SEEN_PLACE="out", SEEN_OTHER="1", SEEN_TOO="1", SEEN_THAT="1")
    assert (tmp_path / "out/b.log").read_text() == "SEEN_THAT SEEN_TOO\n"


def test_a_killed_server_leaves_no_daemon_of_a_step(tmp_path: Path) -> None:
    config = CONFIG.replace("2s", "60s")
    make_project(tmp_path, {"a.log": "daemon_and_wait"}, config)
    with open(tmp_path / "misstep.py", "a") as steps:
        steps.write("\n\ndef do_daemon_and_wait(row):\n    do_daemon(row)\n    time.sleep(600)\n")
    server = subprocess.Popen(
        [sys.executable, "-m", "filemill", "run", "--once"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        daemon = tmp_path / "daemon"
        assert wait_for(lambda: daemon.exists() and len(daemon.read_text().split()) == 2, 30)
    finally:
        server.kill()
        server.wait()
    pids = [int(pid) for pid in daemon.read_text().split()]
    assert wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), 60)


def test_nothing_stays_of_what_a_lost_worker_was_writing(tmp_path: Path) -> None:
    """Neither of its own run nor of those beside it; no start has to sweep."""
    (tmp_path / "steps.py").write_text(
        "import os, signal\n"
        "def f(row: dict):\n"
        "    if row['line'].startswith('poison'): os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return row\n"
    )
    (tmp_path / "filemill.yaml").write_text(
        "version: 1\n"
        "sources: {in: {folder: in}}\n"
        "defaults: {retry: {attempts: 3, min: 0.01s, max: 0.01s}}\n"
        "tags: {log: {name: '*.log'}}\n"
        "pipelines: {p: {when: log, steps: [read_lines, steps.f, write: out]}}\n"
        "sinks: {out: {folder: out}}\n"
    )
    (tmp_path / "in").mkdir()
    lines = [f"{number} {'x' * 100}\n" for number in range(110_000)]
    (tmp_path / "in/a.log").write_text("".join([*lines, "poison\n"]))

    said = once(tmp_path, code=1)

    after = ended(tmp_path)["a.log"]
    assert (after.state, after.attempt) == ("dead", 3), said[-3_000:]
    assert after.failure
    assert "SIGKILL" in after.failure.message
    assert [path.name for path in (tmp_path / "out/.filemill").iterdir()] == []
