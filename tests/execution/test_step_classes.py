"""Steps that are classes: one object a file, its records in order, and a state that another object takes up."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from filemill.records.finding import FunctionError
from filemill.records.functions import Function
from filemill.testing import run_pipeline

CONFIG = """\
version: 1
chunk_size: 64KiB
tags: {any: {name: "*.csv"}}
pipelines:
  all: {when: any, tolerance: 5, steps: [read_csv, classes_here.Count: {from_: 10}, {write: out}]}
sinks: {out: {folder: out}}
"""
CLASSES = """\
from collections.abc import Iterable

from filemill import Context, Reject, Tagged, step

MADE = []


@step(summary="Count what was good.")
class Count:
    def __init__(self, *, from_: int = 0) -> None:
        MADE.append(self)
        self.seen = from_

    def __call__(self, row: dict, *, ctx: Context) -> dict | Tagged | None:
        if row["a"] == "bad":
            raise Reject("no good")
        if row["a"] == "drop":
            return None
        self.seen += 1
        return row | {"seen": self.seen, "record": ctx.record}

    def state(self) -> bytes:
        return str(self.seen).encode()

    def restore(self, state: bytes) -> None:
        self.seen = int(state)


class Stateless:
    def __call__(self, row: dict) -> dict:
        return row


class WithOptions(Count):
    def __call__(self, row: dict, *, much: int = 1) -> dict:
        return row


class Positional(Count):
    def __init__(self, start: int) -> None:
        pass


class Streams(Count):
    def __call__(self, rows: Iterable[dict]) -> Iterable[dict]:
        return rows


class Async(Count):
    async def __call__(self, row: dict) -> dict:
        return row


class Says(Count):
    def state(self) -> str:
        return "text"
"""


@pytest.fixture
def classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "classes_here.py").write_text(CLASSES)
    (tmp_path / "filemill.yaml").write_text(CONFIG)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield str(tmp_path / "filemill.yaml")
    sys.modules.pop("classes_here", None)


def test_an_object_sees_one_file_in_order(classes: str) -> None:
    done = run_pipeline(classes, {"a.csv": b"a\nx\nbad\ndrop\ny\n", "b.csv": b"a\nz\n"})
    assert done.outputs["out"] == {
        "a.csv": b"a,seen,record\nx,11,1\ny,12,4\n",
        "b.csv": b"a,seen,record\nz,11,1\n",
    }
    assert [(bad.record, bad.message) for bad in done.bad["a.csv"]] == [(2, "no good")]
    assert done.count("classes_here.Count").filtered == 1


def test_what_it_says_of_itself(classes: str) -> None:
    spec = Function("classes_here.Count").spec()
    assert (spec.scope, spec.grain, spec.summary) == ("file", "record", "Count what was good.")
    assert list(spec.options_schema["properties"]) == ["from_"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Stateless", "without `state`"),
        ("WithOptions", "`__call__` takes `much`"),
        ("Positional", "`start` of `__init__` is no option"),
        ("Streams", "one record after the other"),
        ("Async", "one record after the other"),
    ],
)
def test_a_class_that_is_no_step_is_refused_with_help(classes: str, name: str, says: str) -> None:
    with pytest.raises(FunctionError, match=says) as raised:
        Function(f"classes_here.{name}")
    assert raised.value.help
