"""`filemill.testing.run_pipeline`: real components, in this process, nothing left."""

import importlib
import io
import os
import tempfile
import zipfile
from pathlib import Path

import pytest

from filemill import File, Reject, Tagged, pipeline, step
from filemill.builtin import (
    emit,
    filter,  # noqa: A004 -- the step's name
    read_csv,
    route,
    unpack,
    write,
)
from filemill.config import ConfigProblems
from filemill.testing import PipelineFailed, run_pipeline

ORDERS = b"id,amount\n1,100\n2,0\n3,20000\n"
calls: list[str] = []


@step
def judge(row: dict, *, limit: int = 1000) -> dict | Tagged:
    calls.append(row["id"])
    if row["id"] == 13:
        raise Reject("unlucky")
    return Tagged(row, "vip") if row["amount"] > limit else row


def double(file: File) -> str:
    with open(file.path, encoding="utf-8") as given:
        text = given.read()
    path = os.path.join(os.path.dirname(file.path), "doubled.txt")
    with open(path, "w", encoding="utf-8") as made:
        made.write(text * 2)
    return path


def explode(row: dict) -> dict:
    raise KeyboardInterrupt if row.get("never") else ZeroDivisionError("of " + str(row["id"]))


orders = pipeline(
    "orders",
    when="orders",
    tolerance=1,
    steps=[
        read_csv(types={"amount": float, "id": int}),
        filter("amount > 0"),
        judge.opts(limit=10_000),
        route({"vip": "review", "else": "books"}),
    ],
)


def test_outputs_bad_tags_and_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    calls.clear()
    done = run_pipeline(
        orders,
        {"a.csv": ORDERS, "acme/b.csv": b"id,amount\n13,5\n4,5\n"},
        tags=["orders"],
        sinks={"review": {"format": "jsonl"}},
    )
    assert done.outputs == {
        "books": {"a.csv": b"id,amount\n1,100\n", "acme/b.csv": b"id,amount\n4,5\n"},
        "review": {"a.jsonl": b'{"id":3,"amount":20000}\n'},
    }
    ((bad,),) = done.bad.values()
    assert (list(done.bad), bad.line, bad.error, bad.message) == (
        ["acme/b.csv"],
        2,
        "Reject",
        "unlucky",
    )
    assert (done.tags["a.csv"], done.record_tags) == (frozenset({"orders"}), {"vip": 1})
    count = done.count("filter")
    assert (count.taken, count.given, count.filtered) == (5, 4, 1)
    assert len(calls) == 4  # in this process: what the step did is seen here
    assert list(tmp_path.iterdir()) == []


def test_a_failure_is_raised_with_the_line_of_the_step():
    broken = pipeline("p", when="a", steps=[read_csv(), explode, write("out")])
    with pytest.raises(PipelineFailed, match="1 of 1 record is bad") as error:
        run_pipeline(broken, {"a.csv": b"id\n7\n"})
    assert "ZeroDivisionError: of 7" in str(error.value)
    assert error.value.failure.step.endswith("explode")
    kept = run_pipeline(broken, {"a.csv": b"id\n7\n", "b.csv": b"id\n"}, keep_failures=True)
    assert (list(kept.failures), kept.outputs) == (["a.csv"], {})
    (bad,) = kept.bad["a.csv"]
    assert bad.message.startswith("ZeroDivisionError: of 7 (test_run_pipeline.py:")


def test_whole_files_and_names_that_two_want():
    copies = pipeline("p", when="a", steps=[double, write("out")])
    done = run_pipeline(copies, {"a.txt": b"a", "b.txt": b"b"})
    assert done.outputs == {"out": {"doubled.txt": b"aa", "doubled-2.txt": b"bb"}}


def test_what_is_wrong_with_a_pipeline_is_all_in_the_message():
    wrong = pipeline("p", when="a", steps=[filter("x > 1"), judge.opts(limit="much"), write("out")])
    with pytest.raises(ConfigProblems) as error:
        run_pipeline(wrong, {})
    said = str(error.value)
    assert "`filter` takes records, but it is given the file" in said
    assert "option `limit`" in said
    assert f"{Path(__file__).name}:" in said
    with pytest.raises(KeyError, match="those that did: read_csv, filter"):
        run_pipeline(orders, {"a.csv": ORDERS}).count("fliter")


def test_a_whole_configuration_routes_by_its_own_rules(modules):
    folder = modules(own="def keep(row: dict) -> dict:\n    return row\n")
    (folder / "filemill.yaml").write_text("""\
version: 1
tags: {orders: {name: "*.csv", header: [id]}}
pipelines:
  orders: {when: orders, steps: [read_csv, own.keep, {write: books}]}
  copies: {when: orders or scan, steps: [{write: copies}]}
sinks:
  books: {folder: out/books, format: jsonl}
  copies: {folder: out/copies}
""")
    before = list(importlib.import_module("sys").path)
    done = run_pipeline(folder / "filemill.yaml", {"a.csv": ORDERS, "b.txt": b"?"})
    assert done.outputs["books"]["a.jsonl"].startswith(b'{"id":1,"amount":100}\n')
    assert done.outputs["copies"] == {"a.csv": ORDERS}
    assert done.held == {"b.txt": "unrouted"}
    assert done.tags["a.csv"] == {"orders"}
    assert done.count("write", "copies").taken == 1
    assert not (folder / "out").exists()
    assert importlib.import_module("sys").path == before
    scanned = run_pipeline(folder / "filemill.yaml", {"b.txt": b"?"}, tags=["scan"])
    assert scanned.outputs == {"copies": {"b.txt": b"?"}}


def test_emitted_files_are_told_and_the_project_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    boxes = pipeline("p", when="a", steps=[read_csv(), emit(tags=["new"]), write("out")])
    done = run_pipeline(boxes, {"a.csv": ORDERS})
    assert done.children == {"a.csv/a.csv": ORDERS}
    assert list(tmp_path.iterdir()) == []


def test_files_that_come_out_of_files(tmp_path):
    boxes = pipeline("boxes", when="box", steps=[unpack(tags=["part"])])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("in/a.csv", ORDERS)
    outcome = run_pipeline(boxes, {"x/feed.zip": packed.getvalue()}, root=tmp_path)
    assert outcome.children == {"x/feed.zip/in/a.csv": ORDERS}
    assert list(tmp_path.iterdir()) == [], "nothing is left, not even a data directory"
