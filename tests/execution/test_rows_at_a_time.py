"""Functions of one record are given some rows at a time: nobody can tell how many."""

from __future__ import annotations

import json

import pytest
from milling import Mill, route, step

from filemill.model.plan import Tolerance
from filemill.records import rows

RECORDS = 700

EVERYTHING = """
from filemill import Reject, Retry, Tagged
tried = set()
def f(row: dict, *, ctx):
    n = row["n"]
    row["seen"] = row.get("seen", 0) + 1
    if n % 11 == 3 and n not in tried:
        tried.add(n)
        raise Retry("busy")
    if n % 7 == 1: return None
    if n % 7 == 2: return [row, row | {"n": -n}, Tagged(dict(row), "third")]
    if n % 97 == 5: raise Reject("five")
    if n % 97 == 6: return [row, {"n": float("nan")}]
    if n % 97 == 7: return [row, 7]
    if n % 13 == 4: del row["s"]
    if n % 13 == 6: row["n"] = float(n)
    if n % 13 == 7: row["n"] = n == 7
    if n % 5 == 0: row["record"] = ctx.record
    return row
"""


def data_of(kind: str) -> bytes:
    if kind == "csv":
        return b"n,s\n" + b"".join(b'%d,"a, b"\n' % n for n in range(RECORDS))
    return b"".join(b'{"n": %d,"s":"a"}\n' % n for n in range(RECORDS))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_whatever_functions_give_does_not_depend_on_it(mill, monkeypatch, kind) -> None:
    found = []
    for number, few in enumerate((1, 3, 256, RECORDS)):
        monkeypatch.setattr(rows, "AT_A_TIME", few)
        mill.module(f"mine{number}", EVERYTHING)
        steps = [
            step(f"read_{kind}"),
            step(f"mine{number}.f"),
            route()(("third", ["vip"]), (None, ["out"])),
        ]
        order = mill.order(f"{number}.{kind}", data_of(kind))
        (result,), out = mill.run(steps, order, tolerance=Tolerance(count=99))
        assert result.failure is None
        (texts,) = out.values()
        found.append(
            (
                texts,
                [(bad.record, bad.error, bad.message) for bad in result.bad],
                [(s.taken, s.given, s.added, s.filtered, s.bad) for s in result.steps],
            )
        )
    assert found[0][2], "some are bad"
    assert b'"seen":2' not in found[0][0]["out"], "each try had the record as it was"
    for each in found[1:]:
        for one, other in zip(found[0], each, strict=True):
            assert one == other


@pytest.mark.parametrize("kind", ["csv", "jsonl", "lines"])
@pytest.mark.parametrize(
    "head", ["def f(row: dict)", "async def f(row: dict)", "def f(row: dict, *, ctx)", "@io"]
)
def test_another_try_is_given_the_record_as_it_was(mill: Mill, kind: str, head: str) -> None:
    marked = "from filemill import Retry, step\nseen = []\n"
    head = "@step(io=True)\ndef f(row: dict)" if head == "@io" else head
    mill.module(
        "mine",
        f"{marked}{head}:\n"
        "    seen.append(dict(row))\n"
        "    row.clear()\n"
        "    if len(seen) < 3: raise Retry('busy')\n"
        "    return {'line': 'done'}\n",
    )
    data = {"csv": b"a,b\n1,x\n", "jsonl": b'{"a":1,"b":[2]}\n', "lines": b"a line\n"}[kind]
    steps = [step(f"read_{kind}"), step("mine.f"), step("write", to="out")]
    (result,), _ = mill.run(steps, mill.order("a", data))
    assert result.failure is None

    import mine  # type: ignore[import-not-found]

    assert len(mine.seen) == 3
    assert mine.seen[0] == mine.seen[1] == mine.seen[2] != {}


def test_one_object_of_a_class_sees_all_records_of_its_file_and_no_others(
    mill: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "AT_A_TIME", 2)
    mill.module(
        "mine",
        "class F:\n"
        "    def __init__(self): self.seen = 0\n"
        "    def __call__(self, row: dict):\n"
        "        self.seen += 1\n"
        "        return row | {'nth': self.seen}\n"
        "    def state(self): return b''\n"
        "    def restore(self, state): ...\n",
    )
    steps = [step("read_jsonl"), step("mine.F"), step("write", to="out")]
    orders = [mill.order(f"{k}", b"".join(b'{"k":%d}\n' % k for _ in range(5))) for k in range(3)]
    _, out = mill.run(steps, *orders)
    for k in range(3):
        made = [json.loads(line) for line in out[str(k)]["out"].splitlines()]
        assert made == [{"k": k, "nth": n} for n in range(1, 6)]


TAKE = "OUT['k'] = row['k']"
ONE_OBJECT = {
    "a dict": f"def f(row: dict):\n    {TAKE}\n    return OUT\n",
    "its own record, changed later": "def f(row: dict):\n    for old in OUT.values(): old.clear()\n"
    "    OUT['last'] = row\n    return row\n",
    "a list of it": f"def f(row: dict):\n    {TAKE}\n    return [OUT]\n",
    "tagged": f"def f(row: dict):\n    {TAKE}\n    return Tagged(OUT, 'x')\n",
    "async": f"async def f(row: dict):\n    {TAKE}\n    return OUT\n",
    "a stream": f"def f(rows: Iterable[dict]):\n    for row in rows:\n        {TAKE}\n        yield OUT\n",
    "a stream of its records": "def f(rows: Iterable[dict]):\n    for row in rows:\n        yield row\n"
    "        row.clear()\n",
    "a tagged stream": f"def f(rows: Iterable[dict]):\n    for row in rows:\n        {TAKE}\n"
    "        yield Tagged(OUT, 'x')\n",
}


@pytest.mark.parametrize("how", ONE_OBJECT)
def test_what_a_function_gives_is_what_it_was_when_it_gave_it(mill: Mill, how: str) -> None:
    """Also where it uses one object for all its records."""
    imports = "from collections.abc import Iterable\nfrom filemill import Tagged\nOUT = {}\n"
    mill.module("mine", imports + ONE_OBJECT[how])
    steps = [step("read_jsonl"), step("mine.f"), step("write", to="out")]
    data = b'{"k":1}\n{"k":2}\n{"k":3}\n'
    (result,), out = mill.run(steps, mill.order("a", data))
    assert result.failure is None
    assert out["a"]["out"] == data
