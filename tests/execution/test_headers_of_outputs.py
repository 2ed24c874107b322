"""A csv output's header follows from its own file: not from its neighbours in a batch, nor from how it is cut."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from milling import Mill, route, step

from filemill.model.plan import StepPlan

A = b"id,amount\n1,20000\n2,5\n3,30000\n"
B = b"id,amount\n4,6\n5,7\n6,8\n"
C = b"id,amount\n7,9\n8,40000\n"
EMPTY = b"id,amount\n"
OTHER = b"id,amount,note\n9,50000,x\n"
CHUNKS = (16 << 20, 24, 12)

FUNCTIONS = """
from collections.abc import Iterable
import polars as pl

def mark(row: dict):
    if row["amount"] > 10000:
        row["big"] = True
    return row

def mark_some(row: dict):
    if row["id"] in (3, 8):
        row["seen"] = 1
    if row["id"] in (2, 4):
        return None
    return row

def narrow(row: dict):
    if row["amount"] > 10000:
        return row
    return {"id": row["id"]}

def pair(rows: Iterable[dict]):
    before = None
    for row in rows:
        if before is not None:
            row["before"] = before["id"]
        before = row
        yield row

def parse(row: dict):
    name, _, value = row["line"].partition("=")
    return {name: value}

def leave(frame: pl.DataFrame):
    return frame.with_columns(twice=pl.col("amount") * 2)
"""


def runs(
    mill: Mill, steps: Sequence[StepPlan], files: Mapping[str, bytes], sinks: Any = None
) -> dict[str, dict[str, bytes]]:
    """Each file's outputs; asserts that they are the same alone, in any company and for any chunk size."""
    n = itertools.count()

    def run(names: Sequence[str], **plan: Any) -> dict[str, dict[str, bytes]]:
        folder = mill.folder / f"world{next(n)}"
        folder.mkdir()
        world = Mill(folder)
        orders = [world.order(name, files[name]) for name in names]
        results, outputs = world.run(steps, *orders, sinks=sinks, **plan)
        assert [r.failure for r in results] == [None] * len(results)
        return outputs

    alone: dict[str, dict[str, bytes]] = {}
    for name in files:
        alone |= run([name])
    for chunk in CHUNKS:
        for names in (list(files), list(files)[::-1], *itertools.permutations(files, 2)):
            together = run(names, chunk_size=chunk)
            assert together == {name: alone[name] for name in names}, (chunk, names)
    return alone


FILES = {"a.csv": A, "b.csv": B, "c.csv": C, "d.csv": OTHER}


def test_a_column_that_a_branch_derives_is_in_every_file_of_its_sink(mill: Mill) -> None:
    steps = [
        step("read_csv"),
        step("tag_records", tags={"vip": "amount > 10000"}),
        route()(
            ("vip", ["out", "vip"], [step("derive", columns={"v": "amount / 2"})]),
            (None, ["out", "rest"]),
        ),
    ]
    out = runs(mill, steps, FILES)
    assert out["b.csv"] == {
        "out": b"id,amount,v\n4,6,\n5,7,\n6,8,\n",
        "rest": B,
    }
    assert out["a.csv"]["out"] == b"id,amount,v\n1,20000,10000.0\n2,5,\n3,30000,15000.0\n"
    assert out["d.csv"]["vip"] == b"id,amount,note,v\n9,50000,x,25000.0\n"


def test_a_guarded_derive_gives_its_column_to_files_without_such_records(mill: Mill) -> None:
    steps = [
        step("read_csv"),
        step("tag_records", tags={"vip": "amount > 10000"}),
        step("derive", guard="vip", columns={"fee": "amount / 100"}),
        step("filter", where="fee IS NULL OR fee > 250"),
        step("write", to="out"),
    ]
    out = runs(mill, steps, FILES)
    assert out["b.csv"]["out"] == b"id,amount,fee\n4,6,\n5,7,\n6,8,\n"
    assert out["a.csv"]["out"] == b"id,amount,fee\n2,5,\n3,30000,300.0\n"


def test_branches_that_select_differently_share_one_header(mill: Mill) -> None:
    steps = [
        step("read_csv"),
        step("tag_records", tags={"vip": "amount > 10000"}),
        route()(
            ("vip", ["out"], [step("select", columns=["amount", {"half": "amount / 2"}])]),
            (None, ["out"], [step("select", id="s2", columns=["id"])]),
        ),
    ]
    out = runs(mill, steps, FILES)
    assert out["b.csv"]["out"] == b"amount,half,id\n,,4\n,,5\n,,6\n"
    assert out["a.csv"]["out"] == b"amount,half,id\n20000,10000.0,\n,,2\n30000,15000.0,\n"


def test_a_guarded_select_shares_one_header_with_the_others(mill: Mill) -> None:
    steps = [
        step("read_csv"),
        step("tag_records", tags={"vip": "amount > 10000"}),
        step("select", guard="vip", columns=["amount", {"half": "amount / 2"}]),
        step("write", to="out"),
    ]
    out = runs(mill, steps, FILES)
    assert out["b.csv"]["out"].splitlines()[0] == b"id,amount,half"
    assert out["a.csv"]["out"] == b"id,amount,half\n,20000,10000.0\n2,5,\n,30000,15000.0\n"


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (
            "mark",
            {
                "a.csv": b"id,amount,big\n1,20000,true\n2,5,\n3,30000,true\n",
                "b.csv": B,
                "c.csv": b"id,amount,big\n7,9,\n8,40000,true\n",
            },
        ),
        (
            "mark_some",
            {
                "a.csv": b"id,amount,seen\n1,20000,\n3,30000,1\n",
                "b.csv": b"id,amount\n5,7\n6,8\n",
                "c.csv": b"id,amount,seen\n7,9,\n8,40000,1\n",
            },
        ),
        (
            "narrow",
            {"a.csv": b"id,amount\n1,20000\n2,\n3,30000\n", "b.csv": b"id\n4\n5\n6\n"},
        ),
        (
            "pair",
            {
                "a.csv": b"id,amount,before\n1,20000,\n2,5,1\n3,30000,2\n",
                "d.csv": b"id,amount,note\n9,50000,x\n",
            },
        ),
        ("leave", {"b.csv": b"id,amount,twice\n4,6,12\n5,7,14\n6,8,16\n"}),
    ],
)
def test_what_a_function_adds_counts_for_its_own_file_alone(
    mill: Mill, function: str, expected: dict[str, bytes]
) -> None:
    mill.module("headers_mod", FUNCTIONS)
    steps = [step("read_csv"), step(f"headers_mod.{function}"), step("write", to="out")]
    out = runs(mill, steps, FILES)
    assert {name: out[name]["out"] for name in expected} == expected


def test_a_function_in_a_branch_and_behind_a_guard(mill: Mill) -> None:
    mill.module("headers_mod", FUNCTIONS)
    steps = [
        step("read_csv"),
        step("tag_records", tags={"even": "id % 2 = 0", "vip": "amount > 10000"}),
        step("headers_mod.mark_some", guard="vip"),
        route()(
            ("even", ["out"], [step("headers_mod.mark")]),
            (None, ["out", "rest"]),
        ),
    ]
    out = runs(mill, steps, FILES)
    assert out["b.csv"]["out"] == B
    assert out["c.csv"]["out"] == b"id,amount,seen,big\n7,9,,\n8,40000,1,true\n"


def test_a_later_step_sees_a_files_own_columns(mill: Mill) -> None:
    """Behind a function, a neighbour's column is not there: the file fails in company as it does alone."""
    mill.module("headers_mod", FUNCTIONS)
    steps = [
        step("read_csv"),
        step("headers_mod.mark"),
        step("select", columns=["id", "big"]),
        step("write", to="out"),
    ]
    results, out = mill.run(steps, mill.order("a.csv", A), mill.order("b.csv", B))
    assert [r.failure and r.failure.step for r in results] == [None, "select"]
    assert out["a.csv"]["out"] == b"id,big\n1,true\n2,\n3,true\n"


def test_ndjson_to_csv(mill: Mill) -> None:
    files = {
        "a.jsonl": b'{"i":1,"x":1}\n{"i":20000}\n{"z":1,"i":3}\n',
        "b.jsonl": b'{"i":1}\n{"y":2,"i":3}\n',
        "c.jsonl": b'{"i":30000,"x":"q"}\n',
    }
    steps = [
        step("read_jsonl"),
        step("tag_records", tags={"vip": "i > 10000"}),
        step("derive", guard="vip", columns={"v": "i * 2"}),
        step("write", to="out"),
    ]
    out = runs(mill, steps, files, sinks={"out": {"format": "csv"}})
    assert out["a.jsonl"]["out"] == b"i,x,v,z\n1,1,,\n20000,,40000,\n3,,,1\n"
    assert out["b.jsonl"]["out"] == b"i,y,v\n1,,\n3,2,\n"


def test_lines_that_a_function_parses_to_csv(mill: Mill) -> None:
    mill.module("headers_mod", FUNCTIONS)
    files = {"a.log": b"x=1\ny=2\n", "b.log": b"z=3\nz=4\n"}
    steps = [step("read_lines"), step("headers_mod.parse"), step("write", to="out")]
    out = runs(mill, steps, files, sinks={"out": {"format": "csv"}})
    assert out["a.log"]["out"] == b"x,y\n1,\n,2\n"
    assert out["b.log"]["out"] == b"z\n3\n4\n"


def test_an_empty_file_knows_its_header(mill: Mill) -> None:
    steps = [
        step("read_csv"),
        step("tag_records", tags={"vip": "amount > 10000"}),
        route()(
            ("vip", ["vip"], [step("derive", columns={"v": "amount / 2"})]),
            (None, ["out"], [step("select", columns=["amount"])]),
        ),
    ]
    write = {"empty": "write"}
    files = {"a.csv": A, "e.csv": EMPTY, "o.csv": b"x,amount\r\n", "b.csv": B, "n.csv": b""}
    sinks = {"vip": write, "out": write, "rest": write}
    out = runs(mill, steps, files, sinks=sinks)
    assert out["e.csv"] == {"vip": b"id,amount,v\n", "out": b"amount\n"}
    assert out["o.csv"] == {"vip": b"x,amount,v\r\n", "out": b"amount\r\n"}
    assert out["b.csv"] == {"vip": b"id,amount,v\n", "out": b"amount\n6\n7\n8\n"}
    assert out["n.csv"] == {"vip": b"", "out": b""}


def test_empty_files_through_a_function_and_as_received(mill: Mill) -> None:
    mill.module("headers_mod", FUNCTIONS)
    steps = [step("read_csv"), step("headers_mod.mark"), step("write", to=["out", "rest"])]
    files = {"a.csv": A, "e.csv": EMPTY, "d.csv": b"id,amount,note\n"}
    sinks = {"out": {"empty": "write"}, "rest": {"empty": "write", "as": "received"}}
    out = runs(mill, steps, files, sinks=sinks)
    assert out["e.csv"] == {"out": EMPTY, "rest": EMPTY}
    assert out["d.csv"] == {"out": files["d.csv"], "rest": files["d.csv"]}


def test_a_column_that_appears_late_in_a_big_file_is_read_again_and_streams(
    mill: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filemill.sinks import staging

    monkeypatch.setattr(staging, "SPILL", 100)
    monkeypatch.setattr(staging, "HELD", 1_000)
    mill.module("headers_mod", FUNCTIONS)
    steps = [
        step("read_csv"),
        step("headers_mod.mark"),
        route()(("never", ["rest"]), (None, ["out"])),
    ]
    data = b"id,amount\n" + b"".join(b"%d,1\n" % i for i in range(200)) + b"9,20000\n1,1\n"
    small = {"s.csv": B}
    out = runs(mill, steps, {"a.csv": data, **small})
    lines = out["a.csv"]["out"].splitlines()
    assert lines[0] == b"id,amount,big"
    assert lines[-2:] == [b"9,20000,true", b"1,1,"]
    assert len(lines) == 203
    assert out["s.csv"]["out"] == B


def test_without_what_the_pipeline_says_the_column_would_be_missing(mill: Mill) -> None:
    """The negative control of the tests above: the header comes from the configuration, not from the records."""
    from filemill.engine.headers import Headers

    steps = [
        step("read_csv"),
        step("tag_records", tags={"vip": "amount > 10000"}),
        route()(("vip", ["out"], [step("derive", columns={"v": "amount"})]), (None, ["out"])),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Headers, "of", lambda *_: {})
        _, out = mill.run(steps, mill.order("a.csv", A), mill.order("b.csv", B))
    assert out["b.csv"]["out"] == B
    assert out["a.csv"]["out"].startswith(b"id,amount,v\n")
