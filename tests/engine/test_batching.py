"""How leased runs are cut into jobs."""

from __future__ import annotations

from filemill.engine.batching import GROUP_BYTES, batches
from filemill.model.files import FileRef
from filemill.model.runs import RunOrder


def order(name: str, pipeline: str = "orders", size: int = 10, *, solo: bool = False) -> RunOrder:
    file = FileRef(name, b"/c", name.encode(), size, "inbox", 0)
    return RunOrder(name, file, pipeline, 1, 1, 1, solo=solo)


def cut(*orders: RunOrder) -> list[list[str]]:
    return [[o.run for o in batch] for batch in batches(orders)]


def test_runs_of_one_pipeline_travel_together() -> None:
    assert cut(order("a"), order("b"), order("c", "logs"), order("d", "logs")) == [
        ["a", "b"],
        ["c", "d"],
    ]


def test_a_solo_run_travels_alone() -> None:
    assert cut(order("a"), order("b", solo=True), order("c")) == [["a"], ["b"], ["c"]]


def test_a_job_holds_no_more_bytes_than_a_worker_may_hold() -> None:
    big = GROUP_BYTES // 2 + 1
    assert cut(order("a", size=big), order("b", size=big), order("c", size=1)) == [
        ["a"],
        ["b", "c"],
    ]
    assert cut(order("huge", size=10 * GROUP_BYTES)) == [["huge"]]


def test_nothing_leased_is_no_job() -> None:
    assert cut() == []
