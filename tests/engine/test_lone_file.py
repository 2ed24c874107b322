"""A lone file goes ahead of its acknowledgement, and never further than that: each commit on its way fails once."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from filemill.model.errors import SystemFault
from filemill.model.events import Event, FileIngested, FileRouted, RunFinished
from filemill.model.plan import PipelinePlan, Plan, SinkPlan, SourcePlan, StepPlan, TagRulePlan
from filemill.model.tags import parse_tag_expression
from filemill.ports.registry import Registry
from filemill.service.running import once
from filemill.service.server import Revision

TAGGER = """
import sqlite3
from pathlib import Path

ROOT = Path({root!r})

def looks(file):
    ledger = sqlite3.connect(f"file:{{ROOT}}/.filemill/ledger.db?mode=ro", uri=True)
    states = [state for (state,) in ledger.execute("SELECT state FROM file")]
    ledger.close()
    with open(ROOT / "seen", "a") as seen:
        print(*states, file=seen)
    return ["wanted"]
"""


def make_plan(root: Path) -> Plan:
    (root / "inbox").mkdir(exist_ok=True)
    (root / "lone_taggers.py").write_text(TAGGER.format(root=str(root)))
    return Plan(
        revision=0,
        root=str(root),
        data=str(root / ".filemill"),
        sources=(SourcePlan("inbox", "folder", {"folder": str(root / "inbox")}),),
        tags=(TagRulePlan("wanted", tagger="lone_taggers.looks"),),
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


def process(plan: Plan) -> list[Event]:
    events: list[Event] = []
    asyncio.run(once(plan, Revision("digest", "text"), Registry(), events.append))
    return events


def kinds(events: list[Event]) -> list[type[Event]]:
    wanted = (FileIngested, FileRouted, RunFinished)
    return [type(event) for event in events if isinstance(event, wanted)]


@pytest.mark.parametrize("commit", range(1, 13))
def test_it_is_routed_once_whichever_commit_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commit: int
) -> None:
    plan = make_plan(tmp_path)
    (tmp_path / "inbox" / "a.txt").write_text("one\n")
    monkeypatch.setenv("FILEMILL_FAIL", f"server.commit:{commit}:ENOSPC")
    try:
        events = process(plan)
    except SystemFault:
        monkeypatch.delenv("FILEMILL_FAIL")
        events = process(plan)
    assert kinds(events) == [FileIngested, FileRouted, RunFinished]
    assert sorted(os.listdir(tmp_path / "out")) == [".filemill", "a.txt"]


def test_it_is_looked_at_before_it_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The acknowledgement is made to take a second, by a disk that is full once: nobody waits for it to look."""
    (tmp_path / "inbox").mkdir()
    seen: list[str] = []
    commit = 0
    while "claiming" not in seen and commit < 12:
        commit += 1
        (tmp_path / "seen").unlink(missing_ok=True)
        plan = make_plan(tmp_path)
        (tmp_path / "inbox" / f"{commit}.txt").write_text(f"{commit}\n")
        monkeypatch.setenv("FILEMILL_FAIL", f"server.commit:{commit}:ENOSPC")
        try:
            process(plan)
        except SystemFault:
            continue
        seen += [line.split()[-1] for line in (tmp_path / "seen").read_text().splitlines()]
    assert "claiming" in seen
