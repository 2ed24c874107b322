"""A failed step's kept input: what begins there ends as what begins with the file does."""

from __future__ import annotations

import gzip
import importlib
import linecache
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from chunk_world import story
from hypothesis import given, settings
from hypothesis import strategies as st
from milling import Mill, balanced, route, step
from test_record_laws import reconciles, worlds

from filemill.engine.inputs import InputReader, InputUnusable
from filemill.model.plan import StepPlan, Tolerance
from filemill.model.runs import Captured, RunOrder, RunResult

CSV = b"id,name\n1,a\n2,b\nx\n3,c\n"
BOOM = """
from collections.abc import Iterable
from pathlib import Path
from filemill import File, Tagged

calls = []

def boom(row: dict):
    raise SystemExit("no")

def mark(row: dict):
    calls.append(row["id"])
    return Tagged(row | {"more": row["id"] * 2}, "odd") if row["id"] % 2 else row

def second(rows: Iterable[dict]):
    held = []
    for at, row in enumerate(rows):
        if at % 2:
            yield row
        else:
            held.append(row)
    yield from held

def file(file: File):
    Path("UPPER.csv").write_bytes(Path(file.path).read_bytes().upper())
    return "UPPER.csv"
"""


def keep(
    mill: Mill, steps: Sequence[StepPlan], order: RunOrder, at: str, **plan: object
) -> Captured:
    """What is kept of a run that ended at this step."""
    return mill.executor(steps, **plan).inputs.capture(order, at, lambda _: None)


def begin(order: RunOrder, captured: Captured, **more: object) -> RunOrder:
    """The order that begins with it."""
    assert captured.kept is not None, captured.why
    return msgspec.structs.replace(
        order, input=captured.path, from_step=captured.kept.step, kept="c/kept", **more
    )


def told(mill: Mill, result: RunResult) -> dict[str, object]:
    """All that may not depend on where an attempt began."""
    said = story(mill, result) | {"hold": (result.hold, result.hold_step)}
    for output in result.outputs:
        os.unlink(output.staged)
    return said


def both(
    mill: Mill, steps: Sequence[StepPlan], order: RunOrder, captured: Captured, **plan: object
) -> tuple[dict[str, object], dict[str, object]]:
    """The story from the start, and the one from what is kept."""
    stories = []
    for each in (order, begin(order, captured)):
        (result,) = mill.executor(steps, **plan).execute([each], lambda _: None)
        assert balanced(result)
        assert result.failure is None or result.failure.step != "p", result.failure
        assert result.began_at == each.from_step
        stories.append(told(mill, result))
    return stories[0], stories[1]


def test_a_mended_step_goes_on_where_it_failed(mill: Mill) -> None:
    mill.module("mine", BOOM)
    tolerant = {"tolerance": Tolerance(5)}
    before = [step("read_csv"), step("mine.mark"), step("derive", columns={"up": "UPPER(name)"})]
    behind = [step("write", to="out")]
    order = mill.order("a", CSV)
    broken = [*before, step("filter", id="last", where="nothing > 1"), *behind]
    captured = keep(mill, broken, order, "last", **tolerant)
    assert captured.kept is not None, captured.why
    assert (captured.kept.step, captured.kept.records) == ("last", 3)
    assert captured.kept.size == os.path.getsize(captured.path)
    import mine  # type: ignore[import-not-found]

    mine.calls.clear()
    mended = [*before, step("filter", id="last", where="id > 1 AND more <> 2"), *behind]
    (result,), out = mill.run(mended, begin(order, captured), **tolerant)
    assert mine.calls == []
    assert result.began_at == "last"
    assert out["a"]["out"] == b"id,name,more,up\n3,c,6,C\n"
    assert [(s.step, s.taken, s.given, s.bad) for s in result.steps] == [
        ("read_csv", 4, 3, 1),
        ("mark", 3, 3, 0),
        ("derive", 3, 3, 0),
        ("last", 3, 1, 0),
        ("write", 1, 1, 0),
    ]
    assert [(bad.line, bad.step) for bad in result.bad] == [(4, "read_csv")]
    reconciles(result)


@settings(max_examples=20, deadline=None)
@given(made=worlds(), at=st.integers(1, 9), size=st.sampled_from([24, 60, 1 << 20]))
def test_whatever_the_pipeline_and_wherever_it_begins(
    made: tuple[list[StepPlan], bytes], at: int, size: int
) -> None:
    steps, data = made
    root = Path(tempfile.mkdtemp(prefix="filemill-test-"))
    try:
        mill = Mill(root)
        plan = {"tolerance": Tolerance(1_000), "chunk_size": size}
        order = mill.order("a.txt", data)
        asked = steps[min(at, len(steps) - 1)]
        # The step was broken when its input was kept, and is mended when the run begins there.
        broken = [
            step("filter", id=each.id, where="no_such_column = 1") if each is asked else each
            for each in steps
        ]
        if asked.uses == "write":
            broken = steps
        captured = keep(mill, broken, order, asked.id, **plan)
        if captured.kept is None:
            assert captured.why == ""
            # Only what stands behind the reader is given the file, and behind a `hold` nobody begins.
            assert steps.index(asked) == 1 or steps[1].uses == "hold"
            return
        from_start, from_input = both(mill, steps, order, captured, **plan)
        assert from_input == from_start
    finally:
        shutil.rmtree(root)


@pytest.mark.parametrize(
    ("uses", "id_", "kept"),
    [
        ("first", "read_csv", None),
        ("second", "mark", None),
        ("third", "second", "second"),
        ("inner", "deep", "route"),
        ("sink", "stage:rest", "route"),
    ],
)
def test_where_a_run_may_begin(mill: Mill, uses: str, id_: str, kept: str | None) -> None:
    mill.module("mine", BOOM)
    steps = [
        step("read_csv"),
        step("mine.mark"),
        step("mine.second"),
        route()(("odd", ["vip"], [step("filter", id="deep", where="id > 1")]), (None, ["rest"])),
    ]
    order = mill.order("a", CSV)
    captured = keep(mill, steps, order, id_)
    assert captured.why == ""
    assert (captured.kept and captured.kept.step) == kept, uses
    if kept:
        one, other = both(mill, steps, order, captured, tolerance=Tolerance(5))
        assert one == other


def test_nothing_that_was_sent_before_is_missing(mill: Mill) -> None:
    mill.module("mine", BOOM)
    steps = [
        step("read_csv"),
        step("mine.mark"),
        step("write", id="copy", to="rest"),
        step("derive", columns={"up": "UPPER(name)"}),
        step("write", to="out"),
    ]
    order = mill.order("a", CSV)
    captured = keep(mill, steps, order, "derive")
    assert captured.kept is not None
    assert captured.kept.step == "copy"
    one, other = both(mill, steps, order, captured, tolerance=Tolerance(5))
    assert one == other
    assert set(one["outputs"]) == {"out", "rest"}  # type: ignore[call-overload]


def test_a_file_is_kept_as_the_step_was_given_it(
    mill: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    mill.module("mine", BOOM)
    order = msgspec.structs.replace(mill.order("deep/a.csv.gz", gzip.compress(CSV)), run="r-a")
    steps = [
        step("decompress"),
        step("mine.file"),
        step("read_csv"),
        step("mine.second"),
        step("write", to="out"),
    ]
    monkeypatch.chdir(mill.folder)
    for at, kept in (("file", "file"), ("read_csv", "read_csv"), ("second", "read_csv")):
        captured = keep(mill, steps, order, at)
        assert captured.kept is not None, captured.why
        assert captured.kept.step == kept
        one, other = both(mill, steps, order, captured, tolerance=Tolerance(5))
        assert one == other
        assert one["names"] == {"out": b"deep/UPPER.csv"} or one["names"] == {"out": b"deep/a.csv"}


def test_a_run_that_ends_further_on_is_kept_there(mill: Mill) -> None:
    mill.module("mine", BOOM)
    steps = [
        step("read_csv"),
        step("mine.mark"),
        step("derive", columns={"up": "UPPER(name)"}),
        step("mine.second"),
        step("write", to="out"),
    ]
    order = mill.order("a", CSV)
    first = keep(mill, steps, order, "derive")
    again = msgspec.structs.replace(begin(order, first), fence=2)
    import mine  # type: ignore[import-not-found]

    mine.calls.clear()
    further = keep(mill, steps, again, "second")
    assert further.kept is not None
    assert further.kept.step == "second"
    assert mine.calls == []
    one, other = both(mill, steps, order, further, tolerance=Tolerance(5))
    assert one == other
    same = keep(mill, steps, again, "derive")
    assert (same.path, same.kept) == (b"", first.kept)


def test_why_nothing_is_kept(mill: Mill) -> None:
    mill.module("mine", BOOM)
    steps = [
        step("read_csv"),
        step("mine.mark"),
        step("mine.boom"),
        step("mine.second"),
        step("write", to="out"),
    ]
    order = mill.order("a", CSV)
    small = keep(mill, steps, order, "boom", max_kept=100)
    assert small.why == "it is more than `max_kept` allows (100B)"
    assert keep(mill, steps, order, "boom", max_kept=0).why == "`max_kept` is 0"
    broken = keep(mill, steps, order, "second")
    assert broken.why == "the steps before it failed when they worked again: SystemExit: no"
    assert [each for each in (small, broken) if each.kept or each.path] == []
    assert list((mill.folder / "data" / "inputs").iterdir()) == []


def test_no_beginning_for_another_pipeline(mill: Mill) -> None:
    mill.module("mine", BOOM)
    steps = [step("read_csv"), step("mine.mark"), step("mine.second"), step("write", to="out")]
    order = mill.order("a", CSV)
    captured = keep(mill, steps, order, "second")
    gone = [*steps[:2], *steps[3:]]
    changed = [step("read_csv", separator=","), *steps[1:]]
    slower = [msgspec.structs.replace(steps[0], timeout=1.0), *steps[1:]]
    for other, said in ((gone, "no such step"), (changed, "have changed")):
        (result,), _ = mill.run(other, begin(order, captured, insists=True))
        assert result.failure is not None
        assert (result.failure.error, result.failure.step) == ("InputUnusable", "second")
        assert said in result.failure.message
        assert "--from start" in result.failure.help
        # Where nobody insists it begins with the file instead, and says so.
        (result,), _ = mill.run(other, begin(order, captured), tolerance=Tolerance(5))
        assert (result.failure, result.began_at) == (None, "")
        assert said in result.fell_back
    (result,), _ = mill.run(slower, begin(order, captured), tolerance=Tolerance(5))
    assert (result.failure, result.began_at, result.fell_back) == (None, "second", "")
    (result,), _ = mill.run(steps, msgspec.structs.replace(order, from_step="second", insists=True))
    assert result.failure is not None
    assert "nothing is kept" in result.failure.message


def test_a_function_that_is_mended_makes_other_records_than_those_kept(mill: Mill) -> None:
    mill.module("mine", BOOM)
    order = mill.order("a", CSV)

    def steps(module: str) -> list[StepPlan]:
        """The same steps, their functions from a module of another revision."""
        named = [f"{module}.mark", f"{module}.second"]
        return [step("read_csv"), *map(step, named), step("write", to="out")]

    captured = keep(mill, steps("mine"), order, "second")
    for text, ended in (
        (BOOM.replace("held = []", "held: list = []"), None),
        (BOOM.replace('["id"] * 2', '["id"] * 3'), "InputUnusable"),
    ):
        mill.module("mine", text)
        sys.modules.pop("mine")
        importlib.invalidate_caches()
        linecache.clearcache()
        begun = begin(order, captured, insists=True)
        (result,), _ = mill.run(steps("mine"), begun, tolerance=Tolerance(5))
        assert (result.failure and result.failure.error) == ended


def test_what_is_not_whole_is_no_beginning(mill: Mill) -> None:
    mill.module("mine", BOOM)
    steps = [step("read_csv"), step("mine.mark"), step("mine.second"), step("write", to="out")]
    captured = keep(mill, steps, mill.order("a", CSV), "second")
    path = Path(os.fsdecode(captured.path))
    data = path.read_bytes()
    for cut in (0, 5, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(InputUnusable, match="damaged"):
            InputReader(captured.path)
    path.unlink()
    with pytest.raises(InputUnusable, match="gone"):
        InputReader(captured.path)


def test_many_runs_of_one_job_begin_where_each_has_to(mill: Mill) -> None:
    mill.module("mine", BOOM)
    steps = [step("read_csv"), step("mine.mark"), step("mine.second"), step("write", to="out")]
    orders = [mill.order(name, CSV) for name in "abc"]
    captured = [keep(mill, steps, order, "second") for order in orders[:2]]
    mixed = [begin(o, c) for o, c in zip(orders, captured, strict=False)] + orders[2:]
    results, out = mill.run(steps, *mixed, tolerance=Tolerance(5))
    assert [result.began_at for result in results] == ["second", "second", ""]
    assert out["a"] == out["b"] == out["c"]
