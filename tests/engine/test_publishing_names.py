"""Taken names, refused sinks and consumers that are quicker than we are, with the real ledger and sink."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from filemill.model.events import Event, RunFailed, RunFinished
from filemill.model.plan import PipelinePlan, Plan, SinkPlan, SourcePlan, StepPlan
from filemill.model.tags import parse_tag_expression
from filemill.ports.registry import Registry
from filemill.service.running import once
from filemill.service.server import Revision


def plan(root: Path, **sink: str) -> Plan:
    (root / "inbox").mkdir(exist_ok=True)
    source = {"folder": str(root / "inbox"), "tags": ["from:test"]}
    return Plan(
        revision=0,
        root=str(root),
        data=str(root / ".filemill"),
        sources=(SourcePlan("inbox", "folder", source),),
        pipelines=(
            PipelinePlan(
                "copy",
                parse_tag_expression("from:test"),
                (StepPlan("write", "write", {"to": ["out"]}),),
            ),
        ),
        sinks=(SinkPlan("out", "folder", {"folder": str(root / "out"), **sink}),),
        workers=1,
    )


def run(plan: Plan) -> list[Event]:
    events: list[Event] = []
    asyncio.run(once(plan, Revision("digest", "text"), Registry(), events.append))
    return events


def drop(root: Path, content: dict[str, str]) -> None:
    for name, text in content.items():
        path = root / "inbox" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def outputs(root: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in (root / "out").iterdir() if p.is_file()}


def test_many_outputs_of_one_name_each_get_their_own(tmp_path: Path) -> None:
    made = plan(tmp_path, name="{name}")
    drop(tmp_path, {f"{n:02}/a.csv": f"content {n}\n" for n in range(30)})
    run(made)
    assert sorted(outputs(tmp_path).values()) == sorted(f"content {n}\n" for n in range(30))
    assert set(outputs(tmp_path)) == {"a.csv", *(f"a-{n}.csv" for n in range(2, 31))}


def test_a_name_somebody_else_took_is_left_alone(tmp_path: Path) -> None:
    made = plan(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.csv").write_text("theirs")
    (tmp_path / "out" / "a-2.csv").symlink_to("nowhere")
    drop(tmp_path, {"a.csv": "ours\n"})
    (done,) = [e for e in run(made) if isinstance(e, RunFinished)]
    assert done.outputs == (("out", 1, b"a-3.csv"),) or done.outputs[0][2] == b"a-3.csv"
    assert (tmp_path / "out" / "a.csv").read_text() == "theirs"
    assert (tmp_path / "out" / "a-3.csv").read_text() == "ours\n"


def test_collision_fail_is_a_dead_letter_that_keeps_its_staged_output(tmp_path: Path) -> None:
    made = plan(tmp_path, collision="fail")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.csv").write_text("theirs")
    drop(tmp_path, {"a.csv": "ours\n", "b.csv": "fine\n"})
    events = run(made)
    (dead,) = [e for e in events if isinstance(e, RunFailed)]
    assert (dead.step, dead.error, dead.state) == ("publish:out", "NameTaken", "dead")
    assert outputs(tmp_path) == {"a.csv": "theirs", "b.csv": "fine\n"}
    kept = os.listdir(tmp_path / "out" / ".filemill")
    assert len(kept) == 1
    run(made)  # a restart sweeps what nobody knows, and only that
    assert os.listdir(tmp_path / "out" / ".filemill") == kept


def test_collision_replace_replaces(tmp_path: Path) -> None:
    made = plan(tmp_path, collision="replace")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.csv").write_text("old")
    drop(tmp_path, {"a.csv": "new\n"})
    run(made)
    assert outputs(tmp_path) == {"a.csv": "new\n"}
