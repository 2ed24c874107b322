"""What happens between acknowledgement and routing: duplicates, taggers that die, files nobody wants."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TypeVar

import pytest

from filemill.model.events import Event, FileHeld, FileRouted, RunFinished, WorkerLost
from filemill.model.plan import PipelinePlan, Plan, SinkPlan, SourcePlan, StepPlan, TagRulePlan
from filemill.model.tags import parse_tag_expression
from filemill.ports.registry import Registry
from filemill.service.running import once
from filemill.service.server import Revision

TAGGERS = """
import os

def deadly(file):
    if b"poison" in file.head:
        os._exit(9)
    return ["wanted"]
"""


def make_plan(root: Path, tagger: str | None = None, **source: str) -> Plan:
    (root / "inbox").mkdir()
    (root / "taggers.py").write_text(TAGGERS)
    rule = (
        TagRulePlan("wanted", tagger=tagger) if tagger else TagRulePlan("wanted", name=("*.txt",))
    )
    return Plan(
        revision=0,
        root=str(root),
        data=str(root / ".filemill"),
        sources=(SourcePlan("inbox", "folder", {"folder": str(root / "inbox"), **source}),),
        tags=(rule,),
        pipelines=(
            PipelinePlan(
                "copy",
                parse_tag_expression("wanted"),
                (StepPlan("write", "write", {"to": ["out"]}),),
            ),
        ),
        sinks=(SinkPlan("out", "folder", {"folder": str(root / "out")}),),
        workers=1,
    )


def process(plan: Plan, files: dict[str, str]) -> list[Event]:
    for name, text in files.items():
        (Path(plan.root) / "inbox" / name).write_text(text)
    events: list[Event] = []
    asyncio.run(once(plan, Revision("digest", "text"), Registry(), events.append))
    return events


E = TypeVar("E", bound=Event)


def of(kind: type[E], events: list[Event]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize(
    ("policy", "done", "held"), [("process", 2, 0), ("hold", 1, 1), ("skip", 1, 1)]
)
def test_the_same_content_again(tmp_path: Path, policy: str, done: int, held: int) -> None:
    plan = make_plan(tmp_path, duplicates=policy)
    first = process(plan, {"a.txt": "same\n"})
    again = process(plan, {"b.txt": "same\n"})
    assert len(of(RunFinished, first)) + len(of(RunFinished, again)) == done
    said = of(FileHeld, again)
    assert len(said) == held
    (original,) = {event.file for event in of(FileRouted, first)}
    assert all(event.reason == f"duplicate of {original}" for event in said)


def test_a_tagger_that_kills_its_worker_holds_only_its_file(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, tagger="taggers.deadly")
    files = {f"{n}.txt": f"fine {n}\n" for n in range(6)} | {"bad.txt": "poison\n"}
    events = process(plan, files)
    assert len(of(RunFinished, events)) == 6
    (held,) = of(FileHeld, events)
    assert held.relative == b"bad.txt"
    assert "exit code 9" in held.reason
    # Three times alone, and once before if it came in company.
    assert len(of(WorkerLost, events)) in {3, 4}
    assert {event.reason for event in of(WorkerLost, events)} == {"exit code 9"}
    assert sorted(os.listdir(tmp_path / "out")) == [".filemill", *(f"{n}.txt" for n in range(6))]
