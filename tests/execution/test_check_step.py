"""check: records against a JSON Schema, in csv and jsonl."""

from __future__ import annotations

import json
from typing import Any

import pytest
from milling import Mill, balanced, step

from filemill.model.plan import StepPlan, Tolerance

ORDER = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "minLength": 2},
        "amount": {"type": "number", "minimum": 0},
        "count": {"type": "integer"},
        "note": {"type": ["string", "null"]},
    },
    "required": ["id", "amount"],
}


def check(schema: dict[str, Any], else_tag: str | None = None) -> StepPlan:
    text = json.dumps(schema)
    return step("check", schema={"path": "/s.json", "text": text}, else_tag=else_tag)


def bad(mill: Mill, reader: str, data: bytes, schema: dict[str, Any]) -> dict[int, str]:
    """Record number to message of what the check refuses."""
    (result,), out = mill.run(
        [step(reader), check(schema), step("write", to="out")],
        mill.order("a", data),
        tolerance=Tolerance(1_000),
    )
    assert result.failure is None
    assert balanced(result)
    assert {each.error for each in result.bad} <= {"Schema"}
    assert {each.step for each in result.bad} <= {"check"}
    assert len(out["a"].get("out", b"").splitlines()) == (
        result.records - result.bad_total + (reader == "read_csv") * bool(result.outputs)
    )
    return {each.record: each.message for each in result.bad}


def test_csv_cells_are_read_as_the_schemas_types(mill: Mill) -> None:
    data = (
        b"id,amount,count,note\n"
        b"aa,3,4,x\n"
        b"ab,-3,4,x\n"
        b"ac,abc,4,x\n"
        b"a,007,+4,\n"
        b",1.5,,\n"
        b"ad,,1.5,\n"
        b'"ae","1e3","12345678901234567890",\n'
        b"x,-1,y,\n"
    )
    assert bad(mill, "read_csv", data, ORDER) == {
        2: "amount: -3 is less than the minimum of 0",
        3: 'amount: "abc" is not of type "number"',
        4: 'id: "a" is shorter than 2 characters',
        5: "id: it is required",
        6: 'amount: it is required; count: "1.5" is not of type "integer"',
        7: 'count: "12345678901234567890" is not of type "integer"',
        8: 'id: "x" is shorter than 2 characters; amount: -1 is less than the minimum of 0; '
        'count: "y" is not of type "integer"',
    }


def test_jsonl_values_are_what_they_are(mill: Mill) -> None:
    schema = ORDER | {
        "properties": ORDER["properties"]  # type: ignore[operator]
        | {"items": {"items": {"properties": {"p/q": {"type": "number"}}}}},
        "additionalProperties": False,
    }
    lines = [
        '{"id":"aa","amount":0,"count":1.0,"note":null}',
        '{"id":"ab","amount":"3"}',
        '{"amount":1}',
        '{"id":"ad","amount":1,"count":1e30}',
        '{"id":"ae","amount":1e999}',
        '{"id":"af","amount":1,"items":[{"p/q":1},{"p/q":"x"}]}',
        '{"id":"ag","amount":1,"other":{"secret":1}}',
    ]
    found = bad(mill, "read_jsonl", "\n".join(lines).encode(), schema)
    assert found.pop(4).endswith(" is greater than the maximum of 9223372036854775807")
    assert found == {
        2: 'amount: "3" is not of type "number"',
        3: "id: it is required",
        5: "a number that no float can hold",
        6: 'items/1/p~1q: "x" is not of type "number"',
        7: 'not allowed here: "other"',
    }


def test_with_else_tag_every_record_goes_on_as_it_came(mill: Mill) -> None:
    data = b'id,amount\naa,007\nb,x\n"c c",1.10\n'
    (result,), out = mill.run(
        [
            step("read_csv"),
            check(ORDER, "bad"),
            step("tag_records", tags={"low": "amount < 5"}),
            step("filter", where="amount IS NULL OR amount < 5", guard="not bad"),
            step("write", to="rejects", guard="bad"),
            step("write", to="out", guard="low"),
        ],
        mill.order("a", data),
    )
    assert result.failure is None
    assert result.bad_total == 0
    assert out["a"]["rejects"] == b"id,amount\nb,x\n"
    assert out["a"]["out"] == b'id,amount\n"c c",1.10\n'
    assert balanced(result)


def test_the_schemas_types_hold_for_later_steps_from_the_first_chunk_on(mill: Mill) -> None:
    """Without the schema, `amount` would be integers until a later chunk says otherwise."""
    mill.module("mine", "def f(row: dict):\n    return {'kind': type(row['amount']).__name__}\n")
    rows = [b"a%d,%d\n" % (n, n) for n in range(10, 60)] + [b"bb,1.5\n", b"cc,x\n"]
    (result,), out = mill.run(
        [step("read_csv"), check(ORDER), step("mine.f"), step("write", to="out")],
        mill.order("a", b"id,amount\n" + b"".join(rows)),
        chunk_size=64,
        tolerance=Tolerance(1),
    )
    assert result.failure is None
    assert set(out["a"]["out"].split()[1:]) == {b"float"}


def test_a_readers_own_types_come_first(mill: Mill) -> None:
    (result,), _ = mill.run(
        [
            step("read_csv", types={"amount": "integer"}),
            check(ORDER, "bad"),
            step("derive", columns={"a": "amount + 1"}),
            step("write", to="out"),
        ],
        mill.order("a", b"id,amount\naa,1\nbb,x\n"),
        tolerance=Tolerance(1),
    )
    assert [(each.step, each.error) for each in result.bad] == [("read_csv", "Type")]


def test_behind_other_steps_it_judges_what_they_made(mill: Mill) -> None:
    schema = {"properties": {"total": {"maximum": 10}, "line": {"pattern": "^a"}}}
    (result,), _ = mill.run(
        [
            step("read_csv"),
            step("derive", columns={"total": "amount * 2"}),
            check(schema),
            step("write", to="out"),
        ],
        mill.order("a", b"id,amount\naa,1\nbb,9\n"),
        tolerance=Tolerance(1),
    )
    assert [each.message for each in result.bad] == ["total: 18 is greater than the maximum of 10"]
    assert bad(mill, "read_lines", b"abc\nxyz\n", schema) == {2: 'line: "xyz" does not match "^a"'}


@pytest.mark.parametrize("chunk_size", [40, 1 << 20])
def test_what_is_refused_does_not_depend_on_chunks(mill: Mill, chunk_size: int) -> None:
    data = b"id,amount\n" + b"".join(b"k%d,%d\n" % (n, n % 7 - 2) for n in range(100))
    (result,), _ = mill.run(
        [step("read_csv"), check(ORDER), step("write", to="out")],
        mill.order("a", data),
        chunk_size=chunk_size,
        tolerance=Tolerance(1_000),
    )
    expected = [n + 1 for n in range(100) if n % 7 < 2 or len(f"k{n}") < 2]
    assert [each.record for each in result.bad] == expected


def test_a_schema_that_is_none_fails_the_run_with_its_place(mill: Mill) -> None:
    broken = step("check", schema={"path": "/s.json", "text": "{"})
    steps = [step("read_csv"), broken, step("write", to="out")]
    (result,), _ = mill.run(steps, mill.order("a", b"id\n1\n"))
    assert result.failure is not None
    assert (result.failure.step, result.failure.error) == ("check", "SchemaError")
    assert result.failure.message.startswith("1:2: not JSON")
