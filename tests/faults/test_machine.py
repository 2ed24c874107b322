"""Faults of the machine around the server: descriptors, locks, clocks, processes that stand still, other servers."""

from __future__ import annotations

import asyncio
import os
import random
import re
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
from killing import under_way
from misbehaving import CONFIG as MISBEHAVING
from misbehaving import ended, once
from misbehaving import make_project as make_misbehaving
from oracle import CONFIG, SINKS, drop, expected, judge, make_project
from program import Program, wait_for
from test_disk_full import fill

from filemill.engine.keeping_inputs import Inputs
from filemill.engine.trouble import Trouble
from filemill.engine.verdicts import Verdicts
from filemill.model.errors import FailureKind
from filemill.model.files import FileRef
from filemill.model.plan import PipelinePlan, RetryPlan, StepPlan
from filemill.model.runs import Failure, RunOrder, RunResult
from filemill.model.tags import parse_tag_expression
from filemill.ports.clock import RandomIds, Steady
from filemill.ports.ledger import Fail
from filemill.telemetry.lines import SHORT
from filemill.testing.clock import FakeClock

pytestmark = [pytest.mark.timeout(240)]


def runs(root: Path) -> set[tuple[str, int]]:
    """States and attempts of all runs."""
    db = apsw.Connection(str(root / ".filemill/ledger.db"), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        return set(db.execute("SELECT state, attempt FROM run").fetchall())
    finally:
        db.close()


def processor_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_without_a_free_descriptor_the_server_waits_and_goes_on(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    program = under_way(root, start)
    log = root / "server.log"
    pid = program.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    opened = max(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (opened + 1, before[1]))
    drop(root, range(10, 60))
    assert wait_for(lambda: "Too many open files" in log.read_text(), 20), log.read_text()
    used = processor_seconds(pid)
    time.sleep(1.5)
    assert processor_seconds(pid) - used < 0.75, "it must not try in a busy loop"
    assert program.process.poll() is None
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    assert wait_for(lambda: not judge(root, 60), 60), (judge(root, 60)[:5], log.read_text())
    assert program.stop() == 0
    assert runs(root) == {("done", 1)}


def test_a_ledger_that_another_process_locks_is_waited_for(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    program = under_way(root, start, files=5)
    log = root / "server.log"
    db = apsw.Connection(str(root / ".filemill/ledger.db"))
    db.set_busy_timeout(5_000)  # the server still writes
    db.execute("BEGIN IMMEDIATE")
    drop(root, range(5, 30))
    # Longer than SQLite itself waits (5 s): then it is a trouble of the machine, which nobody is charged for.
    said = wait_for(lambda: "locked" in log.read_text(), 20)
    db.execute("ROLLBACK")
    db.close()
    assert said, log.read_text()
    assert wait_for(lambda: not judge(root, 30), 30), (judge(root, 30)[:5], log.read_text())
    assert program.stop() == 0
    assert runs(root) == {("done", 1)}


def test_two_servers_on_one_folder_take_each_file_once(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    make_project(first)
    make_project(second)
    (second / "inbox").rmdir()
    (second / "filemill.yaml").write_text(CONFIG.replace("folder: inbox", "folder: ../first/inbox"))
    programs = [start(first), start(second)]
    drop(first, range(300))

    def outputs() -> list[tuple[str, str]]:
        return [
            (sink, path.name)
            for root in (first, second)
            for sink in SINKS.values()
            for path in (root / "out" / sink).glob("*.log")
        ]

    assert wait_for(lambda: len(outputs()) >= 900, 60), len(outputs())
    assert [program.stop() for program in programs] == [0, 0]
    assert len(outputs()) == len(set(outputs())) == 900
    for number in range(300):
        for sink, content in expected(number).items():
            name = f"in-{number:05}.log"
            (path,) = [
                p for p in (first / "out" / sink / name, second / "out" / sink / name) if p.exists()
            ]
            assert path.read_text() == content


@pytest.mark.crash
def test_a_worker_that_stands_still_past_its_deadline_never_publishes(tmp_path: Path) -> None:
    make_misbehaving(tmp_path, {"a.log": "once_stop"}, MISBEHAVING)
    with open(tmp_path / "misstep.py", "a") as steps:
        steps.write(
            "\n\ndef do_stop(row):\n"
            "    open('pid', 'w').write(str(os.getpid()))\n"
            "    os.kill(os.getpid(), signal.SIGSTOP)\n"
            "    return row | {'line': 'published by one that should be dead'}\n"
        )
    once(tmp_path, code=0)
    run = ended(tmp_path)["a.log"]
    assert (run.state, run.attempt) == ("done", 2)
    assert run.failure
    assert run.failure.message.endswith("timed out after 2s")
    assert not Path("/proc", (tmp_path / "pid").read_text()).exists()
    assert [path.read_text() for path in (tmp_path / "out").glob("*.log")] == ["fine\n"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_step_without_room_in_its_work_folder_waits_and_is_not_charged(
    tmp_path: Path, small_disk: Path, start: Callable[..., Program]
) -> None:
    root = tmp_path / "project"
    make_misbehaving(root, {}, MISBEHAVING.replace("2s", "30s"))
    with open(root / "misstep.py", "a") as steps:
        steps.write(
            "\n\ndef do_scratch(row):\n"
            "    with tempfile.NamedTemporaryFile() as out:\n"
            "        out.write(bytes(256 << 10))\n"
            "        out.flush()\n"
        )
    (root / ".filemill").mkdir(mode=0o700)
    (root / ".filemill/work").symlink_to(small_disk)
    ballast = fill(small_disk)
    program = start(root)
    log = root / "server.log"
    (root / "inbox/a.log").write_text("scratch\n")
    assert wait_for(lambda: "no space left for the work folders" in log.read_text(), 30), (
        log.read_text()
    )
    ballast.unlink()
    assert wait_for((root / "out/a.log").exists, 40), log.read_text()
    assert program.stop() == 0
    assert runs(root) == {("done", 1)}


class _Ledger:
    """Takes failures down."""

    def __init__(self) -> None:
        self.fails: list[Fail] = []

    async def fail(self, fails: list[Fail]) -> list[bool]:
        self.fails += fails
        return [True] * len(fails)


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_a_clock_that_is_set_moves_no_retry(jump: float) -> None:
    clock = FakeClock()
    steady = Steady(clock)
    ledger = _Ledger()
    verdicts = Verdicts(
        ledger=ledger,  # type: ignore[arg-type]
        clock=clock,
        steady=steady,
        emit=lambda _: None,
        trouble=Trouble(clock, lambda _: None),
        chance=random.Random(1),
        inputs=Inputs(None, None),  # type: ignore[arg-type] -- nothing is kept here
    )
    file = FileRef(
        file="f" * 13, path=b"x", relative=b"x", size=1, source="s", arrived_ns=clock.wall_ns()
    )
    order = RunOrder("r" * 13, file, "p", 1, 1, 1)
    failure = Failure(FailureKind.TRANSIENT, "step", "TimeoutError", "no answer", retry_after=60.0)
    pipeline = PipelinePlan(
        "p", parse_tag_expression("a"), (StepPlan("step", "read_lines"),), retry=RetryPlan()
    )
    result = RunResult(order.run, order.fence, failure=failure)
    verdict = verdicts.judge(order, result, failure, pipeline)

    clock.advance(5)
    clock.jump(jump)
    asyncio.run(verdicts.record([verdict]))
    (fail,) = ledger.fails
    assert fail.at_ns == clock.wall_ns()
    assert round((fail.retry_at_ns - steady.ns()) / 1e9) == 60
    clock.jump(-jump / 2)
    clock.advance(59)
    assert steady.ns() < fail.retry_at_ns
    clock.advance(1.1)
    assert steady.ns() >= fail.retry_at_ns


def test_ids_do_not_come_of_the_clock() -> None:
    one, other = RandomIds(), RandomIds()
    made: list[str] = []

    def make(ids: RandomIds) -> None:
        made.extend(ids.new() for _ in range(20_000))

    threads = [threading.Thread(target=make, args=(ids,)) for ids in (one, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 40_000


def test_ids_made_together_begin_alike_and_can_be_told_apart_on_a_screen() -> None:
    ids = RandomIds()
    groups = [[ids.new() for _ in range(256)] for _ in range(40)]
    for group in groups:
        assert len({each[:3] for each in group}) == 1
        assert all(re.fullmatch("[a-z2-7]{13}", each) for each in group)
    assert len({group[0][:3] for group in groups}) > 35
    shown = [each[:SHORT] for group in groups for each in group]
    assert len(set(shown)) >= len(shown) - 3
