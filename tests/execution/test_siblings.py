"""`if:`, `timeout:` and `retry:` beside each kind of step."""

from __future__ import annotations

import random
from typing import Any

import pytest
from milling import Mill, balanced, route, step

from filemill.engine.keeping_inputs import Inputs
from filemill.engine.trouble import Trouble
from filemill.engine.verdicts import Verdicts
from filemill.model.errors import FailureKind
from filemill.model.events import Event
from filemill.model.plan import PipelinePlan, RetryPlan, StepPlan
from filemill.model.runs import Failure, RunResult
from filemill.model.tags import parse_tag_expression
from filemill.ports.clock import Steady
from filemill.testing.clock import FakeClock

MODULE = """
import polars as pl
from collections.abc import Iterable
from filemill import File

def record(row: dict): return row | {"t": "changed"}
def frame(frame: pl.DataFrame): return frame.with_columns(t=pl.lit("changed"))
def stream(rows: Iterable[dict]):
    for row in rows: yield row | {"t": "changed"}
def whole(file: File):
    with open(file.path + ".csv", "w") as made: made.write("id,t\\n9,changed\\n")
    return file.path + ".csv"
seen = []
def collect(row: dict):
    seen.append((row["id"], row["t"]))
    return row
def later(frame: pl.DataFrame):
    from filemill import Retry
    raise Retry("not yet", after=7)
"""
SCHEMA = {"path": "/s.json", "text": '{"properties": {"t": {"maxLength": 1}}}'}
TEXTS = ["one", "two", "two", "three"]
STEPS: dict[str, tuple[StepPlan, list[str | None]]] = {
    # With `if: hit` on the second and third record: what becomes of their text; None is gone.
    "record": (step("mine.record"), ["changed", "changed"]),
    "frame": (step("mine.frame"), ["changed", "changed"]),
    "stream": (step("mine.stream"), ["changed", "changed"]),
    "map": (StepPlan("map", "map", {"function": "mine.record"}), ["changed", "changed"]),
    "derive": (step("derive", columns={"t": "UPPER(t)"}), ["TWO", "TWO"]),
    "select": (step("select", columns=["id", {"t": "'x'"}]), ["x", "x"]),
    "filter": (step("filter", where="t = 'none'"), [None, None]),
    "dedupe": (step("dedupe", keys=["t"]), ["two", None]),
    "redact": (step("redact", columns=["t"]), ["***", "***"]),
    "tag_records": (step("tag_records", tags={"x": "t = 'two'"}), ["two", "two"]),
    "check": (step("check", schema=SCHEMA, else_tag="bad"), ["two", "two"]),
    "hold": (step("hold", message="look"), ["two", "two"]),
    "write": (step("write", to="rest"), ["two", "two"]),
}  # fmt: skip


def guarded(plan: StepPlan, guard: str, **more: Any) -> StepPlan:
    parsed = parse_tag_expression(guard)
    return StepPlan(plan.id, plan.uses, plan.options, guard=parsed, **more)


@pytest.mark.parametrize("reader", ["read_csv", "read_jsonl"])
@pytest.mark.parametrize("kind", STEPS)
def test_a_guard_keeps_the_others_out_and_the_order(mill: Mill, kind: str, reader: str) -> None:
    mill.module("mine", MODULE)
    plan, changed = STEPS[kind]
    if reader == "read_csv":
        data = "id,t\n" + "".join(f"{n},{t}\n" for n, t in enumerate(TEXTS))
    else:
        data = "".join(f'{{"id":{n},"t":"{t}"}}\n' for n, t in enumerate(TEXTS))
    steps = [
        step(reader),
        step("tag_records", tags={"hit": "t = 'two'"}),
        guarded(plan, "hit"),
        step("mine.collect"),
        step("write", to="out"),
    ]
    (result,), out = mill.run(steps, mill.order("a", data.encode()))
    assert result.failure is None
    assert balanced(result)
    assert result.steps[2].taken == 2
    expected = list(enumerate(["one", *changed, "three"]))
    import mine  # type: ignore[import-not-found]

    assert mine.seen == [(n, t) for n, t in expected if t is not None]
    assert bool(result.hold) == (kind == "hold")
    if kind == "write":
        assert len(out["a"]["rest"].splitlines()) == 2 + (reader == "read_csv")


def test_a_guard_before_a_reader_is_of_the_files_tags(mill: Mill) -> None:
    mill.module("mine", MODULE)
    steps = [guarded(step("mine.whole"), "hit"), step("read_csv"), step("write", to="out")]
    hit = mill.order("a.csv", b"id,t\n1,x\n", tags=["hit"])
    _, out = mill.run(steps, hit, mill.order("b.csv", b"id,t\n1,x\n"))
    assert [out[name]["out"].split()[1] for name in ("a.csv", "b.csv")] == [b"9,changed", b"1,x"]


def test_each_steps_own_timeout_is_told_before_it_works(mill: Mill) -> None:
    mill.module("mine", MODULE)
    inner = StepPlan("inner", "derive", {"columns": {"u": "t"}}, timeout=60)
    steps = [
        StepPlan("whole", "mine.whole", timeout=10),
        StepPlan("read_csv", "read_csv", timeout=20),
        StepPlan("derive", "derive", {"columns": {"v": "t"}}, timeout=30),
        StepPlan("frame", "mine.frame", timeout=40),
        StepPlan("stream", "mine.stream", timeout=50),
        route()(("nobody", ["vip"]), (None, ["out"], [inner])),
    ]
    told: list[float] = []
    (result,) = mill.executor(steps).execute(
        [mill.order("a.csv", b"id,t\n1,x\n")], lambda _: None, told.append
    )
    assert result.failure is None
    in_order = list(dict.fromkeys(told[told.index(20) :]))
    assert told[0] == 10
    assert [each for each in in_order if each in (20, 30, 40, 50, 60)] == [20, 30, 40, 50, 60]


def test_a_steps_own_retry_counts_whatever_it_is(mill: Mill) -> None:
    """The policy of the step that failed, in a branch too; of others the pipeline's."""
    patient = RetryPlan(attempts=9, min=1, max=1)
    inner = StepPlan("inner", "derive", {"columns": {"u": "t"}}, retry=patient)
    pipeline = PipelinePlan(
        "p",
        parse_tag_expression("*"),
        (
            StepPlan("read_csv", "read_csv", retry=patient),
            StepPlan("f", "mine.record"),
            route()((None, ["out"], [inner])),
        ),
        retry=RetryPlan(attempts=1),
    )
    clock, said = FakeClock(), list[Event]()
    verdicts = Verdicts(
        ledger=None,  # type: ignore[arg-type] -- judging records nothing
        clock=clock,
        steady=Steady(clock),
        emit=said.append,
        trouble=Trouble(clock, said.append),
        chance=random.Random(1),
        inputs=Inputs(None, None),  # type: ignore[arg-type] -- nothing is kept here
    )
    order = mill.order("a", b"")
    states = []
    for name in ("read_csv", "f", "inner"):
        failure = Failure(FailureKind.TRANSIENT, name, "OSError", "away")
        verdict = verdicts.judge(order, RunResult(order.run, 1, failure=failure), failure, pipeline)
        states.append(verdict.decision.state)
    assert states == ["retrying", "dead", "retrying"]


def test_retry_of_a_frame_function_sends_the_run_back_with_its_wait(mill: Mill) -> None:
    mill.module("mine", MODULE)
    (result,), _ = mill.run(
        [step("read_csv"), step("mine.later"), step("write", to="out")],
        mill.order("a", b"id\n1\n"),
    )
    assert result.failure is not None
    assert (result.failure.kind, result.failure.retry_after) == ("transient", 7)
    assert result.failure.step == "later"
