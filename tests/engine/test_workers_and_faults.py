"""Workers that die, hang and print: only the guilty run pays, and its record says why."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from filemill.engine import frames
from filemill.engine.announcing import Announced
from filemill.engine.processes import is_alive
from filemill.engine.supervisor import Limits, WorkerDied, WorkerPool, make_folder
from filemill.model.events import Event, RunFailed, RunFinished, WorkerLost, WorkerStarted
from filemill.model.files import FileRef
from filemill.model.plan import PipelinePlan, Plan, RetryPlan, SinkPlan, SourcePlan, StepPlan
from filemill.model.runs import RunOrder
from filemill.model.tags import parse_tag_expression
from filemill.ports.clock import SystemClock
from filemill.ports.describe import Question
from filemill.ports.registry import Registry
from filemill.service.running import once
from filemill.service.server import Revision

STEPS = """
import ctypes, os, sys, time

def crash(row: dict) -> dict:
    if "poison" in row["line"]:
        print("about to die")
        sys.stdout.flush()
        ctypes.string_at(0)
    return row

def hang(row: dict) -> dict:
    if "poison" in row["line"]:
        time.sleep(600)
    return row

def leave(row: dict) -> dict:
    if "poison" in row["line"]:
        os._exit(3)
    return row

def chatter(row: dict) -> dict:
    print("x" * 100_000)
    raise ConnectionError("the other side is away")
"""


def make_plan(root: Path, step: str, *, timeout: float = 30.0, attempts: int = 2) -> Plan:
    (root / "inbox").mkdir()
    (root / "steps.py").write_text(STEPS)
    steps = (
        StepPlan("read_lines", "read_lines"),
        StepPlan(step, f"steps.{step}", timeout=timeout),
        StepPlan("write", "write", {"to": ["out"]}),
    )
    return Plan(
        revision=0,
        root=str(root),
        data=str(root / ".filemill"),
        sources=(SourcePlan("inbox", "folder", {"folder": str(root / "inbox")}),),
        pipelines=(
            PipelinePlan(
                "lines",
                parse_tag_expression("from:test"),
                steps,
                retry=RetryPlan(attempts=attempts, min=0.01, max=0.02),
            ),
        ),
        sinks=(SinkPlan("out", "folder", {"folder": str(root / "out")}),),
        workers=2,
    )


def process(plan: Plan, contents: Sequence[str]) -> list[Event]:
    """Run the files through the plan to their ends; everything that happened."""
    root = Path(plan.root)
    source = SourcePlan("inbox", "folder", {"folder": str(root / "inbox"), "tags": ["from:test"]})
    plan = Plan(**{f: getattr(plan, f) for f in plan.__struct_fields__} | {"sources": (source,)})
    paths = []
    for number, content in enumerate(contents):
        path = root / "inbox" / f"{number:03}.txt"
        path.write_text(content)
        paths.append(os.fsencode(path))
    events: list[Event] = []
    asyncio.run(once(plan, Revision("digest", "text"), Registry(), events.append, paths))
    return events


@pytest.mark.parametrize(("step", "reason"), [("crash", "SIGSEGV"), ("leave", "exit code 3")])
def test_a_poison_file_among_many_dies_alone(tmp_path: Path, step: str, reason: str) -> None:
    events = process(make_plan(tmp_path, step), ["fine\n"] * 20 + ["poison\n"] + ["fine\n"] * 20)

    done = [e for e in events if isinstance(e, RunFinished)]
    dead = [e for e in events if isinstance(e, RunFailed) and e.state == "dead"]
    assert len(done) == 40
    assert [e.relative for e in dead] == [b"020.txt"]
    assert reason in dead[0].message
    assert dead[0].kind == "crash"
    assert {p.name for p in (tmp_path / "out").iterdir()} >= {"000.txt", "040.txt"}
    assert not (tmp_path / "out" / "020.txt").exists()


def test_a_hanging_step_is_killed_at_its_deadline(tmp_path: Path) -> None:
    events = process(make_plan(tmp_path, "hang", timeout=0.5), ["fine\n", "poison\n"])

    dead = [e for e in events if isinstance(e, RunFailed) and e.state == "dead"]
    assert [e.relative for e in dead] == [b"001.txt"]
    assert "timed out after 0.5s" in dead[0].message
    assert [e.relative for e in events if isinstance(e, RunFinished)] == [b"000.txt"]


def test_a_transient_error_is_retried_then_dead(tmp_path: Path) -> None:
    events = process(make_plan(tmp_path, "chatter", attempts=3), ["fine\n"])

    failed = [e for e in events if isinstance(e, RunFailed)]
    assert [e.state for e in failed] == ["retrying", "retrying", "dead"]
    assert [e.attempt for e in failed] == [1, 2, 3]
    assert "the other side is away" in failed[-1].message


def with_pool(
    tmp_path: Path, limits: Limits, body: Callable[[WorkerPool, list[Event]], object]
) -> list[Event]:
    """Run an async body with a started pool."""
    events: list[Event] = []

    async def main() -> None:
        plan = make_plan(tmp_path, "crash")
        folder = os.fsencode(tmp_path / "workers")
        pool = WorkerPool(plan, folder, limits, SystemClock(), events.append)
        try:
            make_folder(folder)
            await pool.start()
            await body(pool, events)  # type: ignore[misc]
        finally:
            await pool.stop()

    asyncio.run(main())
    return events


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while is_alive(pid):  # noqa: ASYNC110 -- of another process nobody tells us
            await asyncio.sleep(0.001)


async def in_hand_of_one_that_stands_still(
    pool: WorkerPool, started: WorkerStarted
) -> asyncio.Task[tuple[frames.FromWorker, str]]:
    """A job that the pool's only worker has, and does not answer."""
    os.kill(started.pid, signal.SIGSTOP)
    job = asyncio.create_task(pool.run(ask, 10))
    async with asyncio.timeout(10):
        while not pool.busy:  # noqa: ASYNC110 -- a few turns of the loop, not a wait
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    return job


def ask(job: int) -> frames.Ask:
    return frames.Ask(job, Question("/"))


def test_an_idle_workers_death_costs_nothing(tmp_path: Path) -> None:
    async def body(pool: WorkerPool, events: list[Event]) -> None:
        (started,) = [e for e in events if isinstance(e, WorkerStarted)]
        # The server knows its keeper, which ends with it.
        keeper = parent_of(started.pid)
        os.kill(started.pid, signal.SIGKILL)
        await gone(keeper)
        reply, _ = await pool.run(ask, 10)
        assert isinstance(reply, frames.Answered)

    events = with_pool(tmp_path, Limits(1), body)
    assert [e.held for e in events if isinstance(e, WorkerLost)] == [0]


def test_a_killed_fork_server_costs_the_job_in_hand_alone(tmp_path: Path) -> None:
    async def body(pool: WorkerPool, events: list[Event]) -> None:
        (started,) = [e for e in events if isinstance(e, WorkerStarted)]
        job = await in_hand_of_one_that_stands_still(pool, started)
        os.kill(parent_of(parent_of(started.pid)), signal.SIGKILL)
        with pytest.raises(WorkerDied, match="killed by SIGKILL"):
            await job
        reply, _ = await pool.run(ask, 10)
        assert isinstance(reply, frames.Answered)
        assert not is_alive(started.pid)

    events = with_pool(tmp_path, Limits(1), body)
    assert len([e for e in events if isinstance(e, WorkerStarted)]) == 2


def test_a_job_on_a_killed_worker_says_that_nothing_was_announced(tmp_path: Path) -> None:
    async def body(pool: WorkerPool, events: list[Event]) -> None:
        (started,) = [e for e in events if isinstance(e, WorkerStarted)]
        job = await in_hand_of_one_that_stands_still(pool, started)
        os.kill(started.pid, signal.SIGKILL)
        with pytest.raises(WorkerDied) as died:
            await job
        assert died.value.announced.kind is Announced.NOTHING
        assert died.value.reason == "killed by SIGKILL"

    with_pool(tmp_path, Limits(1), body)


def test_a_worker_is_replaced_after_its_share_of_jobs(tmp_path: Path) -> None:
    async def body(pool: WorkerPool, events: list[Event]) -> None:
        for _ in range(5):
            await pool.run(ask, 10)

    events = with_pool(tmp_path, Limits(1, max_jobs=2), body)
    assert len([e for e in events if isinstance(e, WorkerStarted)]) == 3
    assert not [e for e in events if isinstance(e, WorkerLost)]


def test_a_worker_that_holds_much_is_replaced(tmp_path: Path) -> None:
    async def body(pool: WorkerPool, events: list[Event]) -> None:
        for _ in range(3):
            await pool.run(lambda job: frames.Inspect(job, ()), 10)

    events = with_pool(tmp_path, Limits(1, max_resident=1 << 20), body)
    # The one that did the last job went with it: nobody waited for another.
    assert len([e for e in events if isinstance(e, WorkerStarted)]) == 3
    assert not [e for e in events if isinstance(e, WorkerLost)]


def test_a_worker_in_which_steps_left_much_open_is_replaced(tmp_path: Path) -> None:
    leave = (
        "import os, resource\n\nKEPT = []\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (800, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n\n"
        "def crash(row: dict) -> dict:\n"
        "    KEPT.extend(os.pipe() for _ in range(300))\n"
        "    return row\n"
    )

    async def body(pool: WorkerPool, events: list[Event]) -> None:
        (tmp_path / "steps.py").write_text(leave)
        (tmp_path / "a.txt").write_text("a\n")
        path = os.fsencode(tmp_path / "a.txt")
        file = FileRef("f" * 13, path, b"a.txt", 2, "inbox", 1)
        for number in range(2):
            order = RunOrder(f"{number}" * 13, file, "lines", 0, 1, 1)
            reply, _ = await pool.run(lambda job, order=order: frames.Execute(job, (order,)), 10)
            assert isinstance(reply, frames.Executed)
            assert reply.results[0].failure is None
            assert reply.spent

    events = with_pool(tmp_path, Limits(1), body)
    assert len([e for e in events if isinstance(e, WorkerStarted)]) == 2
    assert not [e for e in events if isinstance(e, WorkerLost)]


def test_more_workers_start_while_jobs_wait(tmp_path: Path) -> None:
    async def body(pool: WorkerPool, events: list[Event]) -> None:
        await asyncio.gather(*(pool.run(ask, 10) for _ in range(30)))

    events = with_pool(tmp_path, Limits(2), body)
    assert 1 <= len([e for e in events if isinstance(e, WorkerStarted)]) <= 2


def test_another_worker_starts_only_when_a_patient_job_waited_long(tmp_path: Path) -> None:
    async def body(pool: WorkerPool, events: list[Event]) -> None:
        (first,) = [e for e in events if isinstance(e, WorkerStarted)]
        os.kill(first.pid, signal.SIGSTOP)
        held = asyncio.create_task(pool.run(ask, 10))
        try:
            patient = asyncio.create_task(pool.run(ask, 10, patience=1.5))
            await asyncio.sleep(0.2)
            assert pool.size == 1
            await patient
            assert pool.size == 2
        finally:
            os.kill(first.pid, signal.SIGCONT)
        await held

    events = with_pool(tmp_path, Limits(2), body)
    assert len([e for e in events if isinstance(e, WorkerStarted)]) == 2


def test_where_there_is_no_worker_a_patient_job_gets_one_at_once(tmp_path: Path) -> None:
    async def body(pool: WorkerPool, events: list[Event]) -> None:
        (first,) = [e for e in events if isinstance(e, WorkerStarted)]
        keeper = parent_of(first.pid)
        os.kill(first.pid, signal.SIGKILL)
        await gone(keeper)
        await asyncio.wait_for(pool.run(ask, 10, patience=3_600), 30)

    with_pool(tmp_path, Limits(2), body)


def test_no_worker_outlives_the_pool(tmp_path: Path) -> None:
    async def body(pool: WorkerPool, events: list[Event]) -> None:
        await asyncio.gather(*(pool.run(ask, 10) for _ in range(4)))

    events = with_pool(tmp_path, Limits(2), body)
    for started in (e for e in events if isinstance(e, WorkerStarted)):
        with pytest.raises(ProcessLookupError):
            os.kill(started.pid, 0)
