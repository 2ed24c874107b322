"""Steps on records through the real program: refused, tagged, redacted, deduplicated, held, and all of it told."""

from __future__ import annotations

import json
from pathlib import Path

from test_records_end_to_end import filemill

CONFIG = r"""
version: 1
sources: {inbox: {folder: inbox}}
tags:
  orders: {name: "*.csv"}
  big: {name: "big*"}
pipelines:
  orders:
    when: orders
    tolerance: 5
    steps:
      - read_csv
      - check: {schema: schemas/order.json, else_tag: odd}
      - dedupe: [order_id]
      - redact: {columns: {email: {hash: {secret: PEPPER}}, note: {pattern: '\d{4,}', by: "#"}}}
      - map: {function: mine.rate, with: {rate: 2}}
        if: not odd
      - hold: {message: a big file, choices: [yes, no]}
        if: big
      - route: {odd: rejects, else: out}
sinks: {out: {folder: out}, rejects: {folder: rejects}}
"""
MINE = """
import polars as pl

def rate(frame: pl.DataFrame, *, rate: float):
    if (frame["amount"] == 13).any():
        raise ValueError("unlucky")
    return frame.with_columns(rated=frame["amount"] * rate)
"""
SCHEMA = {
    "properties": {
        "order_id": {"type": "string", "pattern": "^[a-z]"},
        "amount": {"type": "number", "minimum": 0},
    },
    "required": ["order_id", "amount"],
}
DATA = (
    "order_id,amount,email,note\n"
    "a1,3,ann@example.com,pin 12345\n"
    "a2,-3,bob@example.com,\n"
    "a1,5,,\n"
    "a3,13,,\n"
    "a4,1.50,ann@example.com,\n"
    "a5,2\n"
)


def test_records_are_checked_hidden_held_and_accounted_for(
    tmp_path: Path, monkeypatch: object
) -> None:
    monkeypatch.setenv("PEPPER", "a-key-nobody-knows")  # type: ignore[attr-defined]
    (tmp_path / "filemill.yaml").write_text(CONFIG)
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "order.json").write_text(json.dumps(SCHEMA))
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "a.csv").write_text(DATA)
    (tmp_path / "inbox" / "big.csv").write_text("order_id,amount,email,note\nb1,1,,\n")

    ran = filemill(tmp_path, "run", "--once")
    assert ran.returncode == 1, ran.stderr  # one is held
    assert "held at hold" in ran.stdout + ran.stderr

    out = (tmp_path / "out" / "a.csv").read_text().splitlines()
    assert out[0] == "order_id,amount,email,note,rated"
    first, last = (line.split(",") for line in out[1:])
    assert [first[0], first[1], first[3], first[4]] == ["a1", "3", "pin #", "6.0"]
    assert [last[0], last[1], last[4]] == ["a4", "1.50", "3.0"]
    assert first[2] == last[2]
    assert len(first[2]) == 64
    rejects = (tmp_path / "rejects" / "a.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in rejects] == ["order_id", "a2"]
    assert "example.com" not in "".join([*out, *rejects])
    assert not (tmp_path / "out" / "big.csv").exists()

    shown = filemill(tmp_path, "files", "show", "a.csv").stdout
    assert "6 read = 3 out + 1 filtered + 2 bad" in shown
    start = DATA.index("a3,13")
    assert f"line 5  bytes {start}-{start + 7}" in shown
    assert "mine.rate  ValueError: unlucky (mine.py:6 in rate)" in shown
    assert "line 7 " in shown
    told = json.loads(filemill(tmp_path, "files", "show", "a.csv", "--json").stdout)
    (run,) = told["file"]["runs"]
    assert run["attempts"][0]["balance"] == {
        "read": 6, "added": 0, "out": 3, "filtered": 1, "bad": 2,
    }  # fmt: skip
    assert [(each["line"], each["start"], each["type"]) for each in run["bad_records"]] == [
        (5, start, "ValueError"),
        (7, DATA.index("a5"), "FieldCount"),
    ]

    listed = json.loads(filemill(tmp_path, "held", "ls", "--json").stdout)["items"]
    assert [(each["name"], each["step"], each["reason"]) for each in listed] == [
        ("big.csv", "hold", "a big file (line 2)")
    ]
    held = filemill(tmp_path, "held", "show", "big.csv").stdout
    assert "held at hold: a big file (line 2)" in held
    assert "choices: yes, no" in held
    assert "a-key-nobody-knows" not in ran.stdout + ran.stderr + shown + held
