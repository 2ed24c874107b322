"""Many runs in one batch: who fails, who is announced, what is left behind."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from milling import Mill, balanced, step

from filemill.durable import Failpoints
from filemill.engine.execution import Executor
from filemill.model.plan import StepPlan
from filemill.model.runs import RunOrder

STEPS = [step("read_csv"), step("derive", columns={"b": "a * 2"}), step("write", to="out")]


def files(mill: Mill, count: int) -> list[RunOrder]:
    return [mill.order(f"{i:03}.csv", b"a\n%d\n" % i) for i in range(count)]


def test_a_hundred_files_share_one_attempt(mill: Mill) -> None:
    orders = files(mill, 100)
    results, out = mill.run(STEPS, *orders)
    assert [r.run for r in results] == [o.run for o in orders]
    assert all(r.failure is None and balanced(r) for r in results)
    assert out["042.csv"]["out"] == b"a,b\n42,84\n"
    assert len(mill.announced) == 1


def test_a_poison_file_among_a_hundred_fails_alone(mill: Mill) -> None:
    orders = files(mill, 100)
    orders[57] = mill.order("057.csv", b"\xff\xfea\0\n\0")  # UTF-16
    results, _ = mill.run(STEPS, *orders)
    failed = [r.run for r in results if r.failure]
    assert failed == ["r-057.csv"]
    assert sum(len(r.outputs) for r in results) == 99
    assert len(mill.staged()) == 99
    assert len(mill.announced[0]) == 100
    assert mill.announced[1:] == [[o.run] for o in orders]


def test_without_running_alone_a_poison_files_neighbours_fail_with_it(
    mill: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control of the test above: it is the second, lonely try that saves the neighbours."""
    real = Executor._try

    def only_together(self: Executor, orders: Sequence[RunOrder], progress: Any) -> Any:
        if len(orders) > 1:
            tried[:] = [real(self, orders, progress)]
        return tried[0]

    tried: list[Any] = []
    monkeypatch.setattr(Executor, "_try", only_together)
    orders = files(mill, 10)
    orders[5] = mill.order("005.csv", b"\xff\xfea\0\n\0")
    results, _ = mill.run(STEPS, *orders)
    assert [r.run for r in results if r.failure] == [o.run for o in orders]
    assert mill.staged() == []


def test_a_file_that_is_gone_is_dead_and_alone(mill: Mill) -> None:
    orders = files(mill, 3)
    os.unlink(orders[1].file.path)
    results, _ = mill.run(STEPS, *orders)
    assert [r.failure and r.failure.kind for r in results] == [None, "permanent", None]
    assert results[1].failure is not None
    assert "the content of this file is gone" in results[1].failure.message
    assert "filemill restore" in results[1].failure.help


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="it is read to get a real EIO")
@pytest.mark.parametrize("steps", [STEPS, [step("write", to="out")]], ids=["records", "whole"])
def test_content_that_cannot_be_read_is_its_own_runs_transient_fault(
    mill: Mill, steps: list[StepPlan]
) -> None:
    orders = files(mill, 3)
    # Where nothing is mapped the kernel answers with EIO, as it does for a bad sector.
    file = msgspec.structs.replace(orders[1].file, path=b"/proc/self/mem", size=0)
    orders[1] = msgspec.structs.replace(orders[1], file=file)
    results, _ = mill.run(steps, *orders)
    assert [r.failure and r.failure.kind for r in results] == [None, "transient", None]
    assert results[1].failure is not None
    assert "Input/output error" in results[1].failure.message
    assert len(mill.staged()) == 2


def test_solo_orders_run_alone(mill: Mill) -> None:
    orders = [*files(mill, 2), mill.order("solo.csv", b"a\n1\n", solo=True)]
    results, _ = mill.run(STEPS, *orders)
    assert all(r.failure is None for r in results)
    assert mill.announced == [["r-000.csv", "r-001.csv"], ["r-solo.csv"]]


@pytest.mark.parametrize("code", ["ENOSPC", "EIO"])
def test_a_disk_that_fails_is_the_machines_fault_and_no_file_runs_alone(
    mill: Mill, code: str
) -> None:
    mill.failpoints = Failpoints("worker", f"sync_group:1:{code}")
    executor = mill.executor(STEPS)
    from filemill.durable import Durable

    executor._sinks._durable = Durable(mill.failpoints, sync=True)
    results = executor.execute(files(mill, 5), lambda some: mill.announced.append(list(some)))
    assert {r.failure.kind for r in results if r.failure} == {"system"}
    assert {r.failure.step for r in results if r.failure} == {"stage:out"}
    assert len(mill.announced) == 1
    assert mill.staged() == []


def test_a_pipeline_that_does_not_compile_fails_every_run_with_its_step(mill: Mill) -> None:
    steps = [step("read_csv"), step("filter", where="SUM(a) > 1"), step("write", to="out")]
    results, _ = mill.run(steps, *files(mill, 2))
    assert [r.failure and r.failure.step for r in results] == ["filter", "filter"]


def test_progress_is_told(mill: Mill) -> None:
    seen = []
    data = b"a\n" + b"1\n" * 2000
    mill.executor(STEPS, chunk_size=1000).execute(
        [mill.order("a.csv", data)], lambda some: None, seen.append
    )
    assert len(seen) > 3


def test_bad_records_are_kept_in_detail_up_to_a_thousand(mill: Mill) -> None:
    from filemill.model.plan import Tolerance

    data = b"a,b\n" + b"1\n" * 2500 + b"1,2\n"
    steps = [step("read_csv"), step("write", to="out")]
    (result,), out = mill.run(steps, mill.order("a.csv", data), tolerance=Tolerance(count=2500))
    assert result.failure is None
    assert (result.bad_total, len(result.bad)) == (2500, 1000)
    assert out["a.csv"]["out"] == b"a,b\n1,2\n"
    assert balanced(result)
