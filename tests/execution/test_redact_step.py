"""redact: nothing of a hidden value is left in outputs or in messages."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
from milling import Mill, balanced, step

from filemill.model.plan import StepPlan, Tolerance

KEY = "0123456789abcdef"


def redact(**columns: object) -> StepPlan:
    return step("redact", columns=columns)


def through(mill: Mill, reader: str, data: bytes, *steps: StepPlan) -> str:
    (result,), out = mill.run(
        [step(reader), *steps, step("write", to="out")], mill.order("a", data)
    )
    assert result.failure is None
    assert balanced(result)
    return out["a"]["out"].decode()


def hashed(value: str) -> str:
    return hmac.new(KEY.encode(), value.encode(), hashlib.sha256).hexdigest()


def test_csv_values_go_and_other_cells_keep_their_text(mill: Mill) -> None:
    data = (
        b'id,email,card,who,note\n007,a@b.de,4111111111111234,Ann,"call 0171, ""now"""\n'
        b"1.10,,123,Ann,\n"
    )
    made = through(
        mill,
        "read_csv",
        data,
        redact(
            email="mask",
            card={"keep_last": 4},
            who={"hash": KEY},
            note={"pattern": r"\d+", "by": "$1"},
        ),
    )
    assert made == (
        f'id,email,card,who,note\n007,***,***1234,{hashed("Ann")},"call $1, ""now"""\n'
        f"1.10,,***,{hashed('Ann')},\n"
    )


def test_json_members_go_however_they_are_written(mill: Mill) -> None:
    lines = [
        '{"id": 1.0, "email": "a@secret"}',
        '{"email": "first-secret", "email": "second-secret", "id": 2}',
        '{"em\\u0061il": "escaped-secret", "email": null}',
        '{"email": {"deep": ["secret"]}}',
        '{"email": 5}',
        '{"id": 3}',
        '{"email": null}',
    ]
    made = through(mill, "read_jsonl", "\n".join(lines).encode(), step("redact", columns=["email"]))
    assert "secret" not in made
    assert made.splitlines()[0] == '{"id":1.0,"email":"***"}'
    said = [json.loads(line) for line in made.splitlines()]
    assert [each.get("email", "absent") for each in said] == [
        "***", "***", None, "***", "***", "absent", None,
    ]  # fmt: skip
    assert made.splitlines()[5] == lines[5]


def test_a_pattern_sees_what_json_says_not_how(mill: Mill) -> None:
    lines = [
        '{"note": "pin \\u0031234"}',
        '{"note": {"a": "\\u0031234", "a": "x"}}',
        '{"note": {"a": "1234", "a": "x"}}',
        '{"note": 12345}',
        '{"note": 5}',
    ]
    made = through(
        mill, "read_jsonl", "\n".join(lines).encode(), redact(note={"pattern": r"\d{4}"})
    )
    assert [json.loads(line)["note"] for line in made.splitlines()] == [
        "pin ***", {"a": "x"}, {"a": "x"}, "***5", 5,
    ]  # fmt: skip
    assert "1234" not in made.replace("***5", "")


def test_equal_values_of_both_formats_are_joinable(mill: Mill) -> None:
    csv = through(mill, "read_csv", b"who\nAnn\n42\n", redact(who={"hash": KEY}))
    jsonl = through(mill, "read_jsonl", b'{"who":"Ann"}\n{"who":42}\n', redact(who={"hash": KEY}))
    assert csv.split()[1:] == [json.loads(line)["who"] for line in jsonl.splitlines()]


@pytest.mark.parametrize("reader", ["read_csv", "read_jsonl"])
def test_later_steps_and_their_messages_see_only_the_mask(mill: Mill, reader: str) -> None:
    mill.module(
        "mine",
        "import polars as pl\n"
        "def each(row: dict):\n    raise ValueError(str(row))\n"
        "def frame(frame: pl.DataFrame):\n    raise ValueError(str(frame.to_dicts()))\n",
    )
    data = b"id,pin\n1,s3cret\n" if reader == "read_csv" else b'{"id":1,"pin":"s3cret"}\n'
    for later in (
        step("mine.each"),
        step("mine.frame"),
        step("derive", columns={"n": "CAST(pin AS INT)"}),
        step("check", schema={"path": "s", "text": '{"properties": {"pin": {"const": 1}}}'}),
    ):
        (result,), _ = mill.run(
            [step(reader), step("tag_records", tags={"x": "pin = 's3cret'"}),
             step("redact", columns=["pin"]), later, step("write", to="out", guard="x")],
            mill.order("a", data),
            tolerance=Tolerance(1),
        )  # fmt: skip
        assert result.bad_total == 1
        assert "s3cret" not in repr(result)
        assert "***" in result.bad[0].message


def test_a_line_and_a_derived_column_too(mill: Mill) -> None:
    lines = through(mill, "read_lines", b"user 12345\nnone\n", redact(line={"pattern": r"\d+"}))
    assert lines == "user ***\nnone\n"
    made = through(
        mill,
        "read_csv",
        b"a\nx\n",
        step("derive", columns={"b": "a || '!'"}),
        redact(b="mask"),
    )
    assert made == "a,b\nx,***\n"


def test_a_column_that_is_not_there_ends_the_run_rather_than_pass_unmasked(mill: Mill) -> None:
    (result,), _ = mill.run(
        [step("read_csv"), step("redact", columns=["emial"]), step("write", to="out")],
        mill.order("a", b"id,email\n1,x\n"),
    )
    assert result.failure is not None
    assert result.failure.help == "did you mean `email`?"
    assert result.outputs == ()
