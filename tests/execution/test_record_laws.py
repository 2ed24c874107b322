"""Laws of any pipeline of record steps: counts reconcile, and nothing depends on how a file was cut."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from chunk_world import ChunkWorld, story
from hypothesis import given, settings
from hypothesis import strategies as st
from milling import Mill, balanced, step

from filemill.model.plan import StepPlan, Tolerance
from filemill.model.runs import RunResult
from filemill.queries import Attempt, balance_of

SCHEMA = json.dumps(
    {
        "properties": {
            "id": {"type": "integer", "minimum": 0},
            "n": {"type": ["number", "null"], "maximum": 1_000},
            "text": {"type": "string", "maxLength": 8},
        },
        "required": ["id"],
    }
)
FILE = {"path": "/schema.json", "text": SCHEMA}
MENU = [
    lambda: step("check", schema=FILE),
    lambda: step("check", schema=FILE, else_tag="odd"),
    lambda: step("redact", columns=["n"]),
    lambda: step("redact", columns={"text": {"pattern": "[aeiou]", "by": ""}}),
    lambda: step("filter", where="text <> 'otto'"),
    lambda: step("tag_records", tags={"small": "text LIKE 'a%'"}),
    lambda: step("derive", columns={"loud": "UPPER(text)"}),
    lambda: step("law_steps.record"),
    lambda: step("law_steps.record", odd=1),
    lambda: step("law_steps.frame"),
    lambda: step("hold", message="look"),
]
WHOLE = [
    # Steps that see the whole file: without them it is worked on in chunks.
    lambda: step("dedupe", keys=["n", "text"]),
    lambda: step("dedupe", keys=["text"], else_tag="again"),
    lambda: step("law_steps.stream"),
]
GUARDS = ["", "", "", "odd", "not small", "again or tagged"]
CELLS = st.tuples(
    st.sampled_from(["0", "1", "2", "3", "7", "12", "-1", "007"]),
    st.sampled_from(["", "1", "2.5", "1e3", "5000", "7"]),
    st.sampled_from(["", "a", "aa", "otto", "far too long", '"a, b"', '"two\nlines"', "x y z"]),
)
LINES = st.one_of(CELLS.map(",".join), st.sampled_from(["", "1,2", "x,1,aa", '1,"a"b,aa']))
OBJECTS = st.one_of(
    st.tuples(
        st.sampled_from([0, 1, 2, 3, 7, 12, -1, 1.0, "x", 10**20]),
        st.sampled_from([None, 1, 2.5, 1e3, 5000, "7", [1]]),
        st.sampled_from(["", "a", "aa", "otto", "far too long", "x\ny", None]),
    ).map(lambda cells: json.dumps(dict(zip(("id", "n", "text"), cells, strict=True)))),
    st.sampled_from(['{"text": "aa"}', "", "no", '{"id": 1, "text": "a", "text": "bb"}', "{}"]),
)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[StepPlan], bytes]:
    """A reader, some steps with guards, and a sink; a file for the reader."""
    reader = draw(st.sampled_from(["read_csv", "read_jsonl"]))
    lines = draw(st.lists(LINES if reader == "read_csv" else OBJECTS, min_size=8, max_size=30))
    menu = MENU + WHOLE * draw(st.integers(0, 4).map(lambda n: n == 4))
    data = "\n".join(["id,n,text"] * (reader == "read_csv") + [*lines, ""]).encode()
    made = [step(reader)]
    for number, build in enumerate(draw(st.lists(st.sampled_from(menu), min_size=1, max_size=4))):
        plan = build()
        guard = draw(st.sampled_from(GUARDS))
        made.append(step(plan.uses, id=f"s{number}", guard=guard, **plan.options))
    return [*made, step("write", to="out")], data


def reconciles(result: RunResult) -> None:
    """Every step's books close, and what the whole run read is somewhere."""
    assert balanced(result)
    attempt = Attempt(1, 0, 0, "", result.steps, result.records, result.blank, result.bad_total, 0)
    balance = balance_of(attempt)
    if balance is None:
        assert result.records == 0
        return
    assert balance.read + balance.added == balance.out + balance.filtered + balance.bad
    assert balance.bad == result.bad_total
    assert balance.out == result.steps[-1].taken == result.steps[-1].given
    if not result.hold:
        assert balance.out == sum(output.records for output in result.outputs)


@settings(max_examples=25, deadline=None)
@given(
    made=worlds(),
    size=st.integers(12, 60),
    workers=st.integers(1, 3),
)
def test_counts_reconcile_and_nothing_depends_on_chunks(
    made: tuple[list[StepPlan], bytes], size: int, workers: int
) -> None:
    steps, data = made
    root = Path(tempfile.mkdtemp(prefix="filemill-test-"))
    world = ChunkWorld(Mill(root), steps, data, chunk_size=size, tolerance=Tolerance(1_000))
    try:
        tales = []
        ended = world.chunked(workers)
        for result in (ended and ended.result, world.whole, world.whole):
            if callable(result):
                result = result()  # noqa: PLW2901 -- one after the other: they stage under the same names
                world.executor = world.mill.executor(steps, tolerance=Tolerance(1_000))
            if result is None:
                continue
            assert result.failure is None, result.failure
            reconciles(result)
            tales.append(story(world.mill, result) | {"hold": (result.hold, result.hold_step)})
            for output in result.outputs:
                os.unlink(output.staged)
        for tale in tales:
            assert tale == tales[-1]
    finally:
        world.close()
        shutil.rmtree(root)
