"""The main job through the real program: records routed by tag, untouched text untouched, counts that reconcile."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import subprocess
import sys
from pathlib import Path

CONFIG = """\
version: 1
sources:
  inbox: {folder: inbox, tags: ["partner:{dir}"]}
tags:
  orders: {name: "*.csv", header: [order_id]}
pipelines:
  orders:
    when: orders
    steps:
      - read_csv
      - tag_records: {big: "amount >= 900", odd: "note LIKE '%\\"%'"}
      - route: {big: big, odd: odd, else: rest}
sinks:
  big: {folder: out/big}
  odd: {folder: out/odd}
  rest: {folder: out/rest}
"""


def filemill(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the program as a user would."""
    return subprocess.run(
        [sys.executable, "-m", "filemill", *words],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env=os.environ | {"NO_COLOR": "1"},
    )


def make_records(count: int) -> list[tuple[list[str], str]]:
    """(cells, exact line) of each record: quoted newlines, quotes, leading zeros, trailing zeros, blanks."""
    chance = random.Random(20260101)
    records = []
    for number in range(count):
        note = chance.choice(
            ["plain", "two\nlines", 'say "hi"', "a,b", "", "\u00e4\u00f6\u00fc \u2713", "x\r\ny"]
        )
        amount = chance.choice(
            ["007", "1.10", "1e3", str(chance.randrange(1000)), f"{chance.random() * 1000:.2f}"]
        )
        amount = amount if amount != "007" else str(chance.randrange(100, 1000)) + ".50"
        cells = [f"{number:06}", amount, note, chance.choice(["TRUE", "no", "1.10", "00123"])]
        quote = any(c in note for c in '\n\r",') or chance.random() < 0.2
        written = '"' + note.replace('"', '""') + '"' if quote else note
        records.append((cells, ",".join([cells[0], amount, written, cells[3]])))
    return records


def test_twenty_thousand_records_with_quoted_newlines_to_three_sinks(tmp_path: Path) -> None:
    (tmp_path / "filemill.yaml").write_text(CONFIG)
    (tmp_path / "inbox" / "acme").mkdir(parents=True)
    records = make_records(20_000)
    header = "order_id,amount,note,code"
    text = "\n".join([header, *(line for _, line in records)])  # no newline at the end
    (tmp_path / "inbox" / "acme" / "orders.csv").write_bytes(text.encode())

    ended = filemill(tmp_path, "run", "--once")
    assert ended.returncode == 0, ended.stdout + ended.stderr

    def sink_of(cells: list[str]) -> str:
        if float(cells[1]) >= 900:
            return "big"
        return "odd" if '"' in cells[2] else "rest"

    total = 0
    for sink in ("big", "odd", "rest"):
        mine = [line for cells, line in records if sink_of(cells) == sink]
        total += len(mine)
        output = (tmp_path / "out" / sink / "acme" / "orders.csv").read_bytes().decode()
        # Order, count and every byte: exactly the input's own lines under the input's own header.
        assert output == "\n".join([header, *mine]) + "\n"
        parsed = list(csv.reader(io.StringIO(output, newline="")))[1:]
        assert parsed == [cells for cells, _ in records if sink_of(cells) == sink]
    assert total == 20_000
    assert not (tmp_path / "inbox" / "acme" / "orders.csv").exists()


def test_one_bad_record_kills_the_file_and_says_where(tmp_path: Path) -> None:
    (tmp_path / "filemill.yaml").write_text(CONFIG)
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "bad.csv").write_text(
        "order_id,amount,note,code\n1,5,a,b\n2,6\n3,7,c,d\n"
    )
    (tmp_path / "inbox" / "good.csv").write_text("order_id,amount,note,code\n1,5,a,b\n")

    ended = filemill(tmp_path, "run", "--once")
    assert ended.returncode == 1
    assert not list((tmp_path / "out").rglob("bad.csv"))
    assert (
        tmp_path / "out" / "rest" / "good.csv"
    ).read_text() == "order_id,amount,note,code\n1,5,a,b\n"

    dead = json.loads(filemill(tmp_path, "dead", "ls", "--json").stdout)
    assert dead["schema"].startswith("filemill.dead/")
    assert len(dead["items"]) == 1
    shown = filemill(tmp_path, "dead", "ls").stdout
    assert "bad.csv" in shown or "read_csv" in shown
    files = json.loads(filemill(tmp_path, "files", "ls", "--state", "dead", "--json").stdout)[
        "items"
    ]
    assert [item["name"] for item in files] == ["bad.csv"]
    history = filemill(tmp_path, "files", "show", files[0]["id"]).stdout
    assert "line 3" in history


def test_tolerated_bad_records_become_dead_letters_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "filemill.yaml").write_text(
        CONFIG.replace("    when: orders\n", "    when: orders\n    tolerance: 1\n")
    )
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "bad.csv").write_text(
        "order_id,amount,note,code\n1,5,a,b\n2,6\n3,7,c,d\n"
    )
    assert filemill(tmp_path, "run", "--once").returncode == 0
    assert (
        tmp_path / "out" / "rest" / "bad.csv"
    ).read_text() == "order_id,amount,note,code\n1,5,a,b\n3,7,c,d\n"
    (item,) = json.loads(filemill(tmp_path, "files", "ls", "--json").stdout)["items"]
    assert item["runs"][0]["bad"] == 1


def test_named_files_stay_and_a_second_run_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "filemill.yaml").write_text(CONFIG)
    (tmp_path / "inbox").mkdir()
    named = tmp_path / "mine.csv"
    named.write_text("order_id,amount,note,code\n1,5,a,b\n")
    assert filemill(tmp_path, "run", "--once", "mine.csv").returncode == 0
    assert named.exists()
    assert filemill(tmp_path, "run", "--once", "mine.csv").returncode == 0
    assert [p.name for p in (tmp_path / "out" / "rest").glob("*.csv")] == ["mine.csv"]
    assert filemill(tmp_path, "run", "--once", "--again", "mine.csv").returncode == 0
    assert len(list((tmp_path / "out" / "rest").glob("*.csv"))) == 2


def test_a_python_step_and_jsonl_keep_the_text_they_do_not_touch(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "steps.py").write_text(
        "def add_vat(row: dict, *, rate: float = 0.2) -> dict:\n"
        "    return row | {'vat': row['amount'] * rate}\n"
    )
    (tmp_path / "filemill.yaml").write_text(
        "version: 1\nsources:\n  inbox: {folder: inbox}\ntags:\n  e: {name: '*.jsonl'}\n"
        "pipelines:\n  e:\n    when: e\n    steps:\n      - read_jsonl\n"
        "      - steps.add_vat: {rate: 0.5}\n      - derive: {slow: 'amount >= 10'}\n      - write: out\n"
        "sinks:\n  out: {folder: out}\n"
    )
    (tmp_path / "inbox" / "a.jsonl").write_text(
        '{"z": 1.10, "amount": 10, "n": null}\n{"amount":4,"late":[1,  2],"big":12345678901234567890}\n'
    )
    ended = filemill(tmp_path, "run", "--once")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = (tmp_path / "out" / "a.jsonl").read_text().splitlines()
    assert [json.loads(x)["vat"] for x in lines] == [5.0, 2.0]
    assert [json.loads(x)["slow"] for x in lines] == [True, False]
    assert '"z": 1.10' in lines[0]
    assert "12345678901234567890" in lines[1]
    assert '"late":[1,  2]' in lines[1]
