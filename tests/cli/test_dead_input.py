"""`dead input`: what a failed step was given, on stdout or in a file, of every format."""

import gzip
import json
import os
import pty
import subprocess

import polars as pl
import pytest
from shell import FILEMILL

INSIDE = True

CONFIG = """
version: 1
sources: {box: {folder: in, create: true}}
tags:
  csv: {name: "*.csv"}
  late: {name: "*.late"}
  jsonl: {name: "*.jsonl"}
  json: {name: "*.json"}
  parquet: {name: "*.parquet"}
  packed: {name: "*.gz"}
  plain: {name: "*.txt"}
  crash: {name: "*.crash"}
pipelines:
  csv: {when: csv, steps: [read_csv, steps.half, {derive: {big: "amount > 1"}}, steps.fail, {write: out}]}
  late: {when: late, steps: [read_csv, steps.more, steps.fail, {write: out}]}
  jsonl: {when: jsonl, steps: [read_jsonl, steps.half, steps.fail, {write: out}]}
  json: {when: json, steps: [{read_json: {at: rows}}, steps.half, steps.fail, {write: out}]}
  parquet: {when: parquet, steps: [read_parquet, steps.half, steps.fail, {write: out}]}
  packed: {when: packed, steps: [decompress, steps.file, {write: out}]}
  plain: {when: plain, steps: [steps.file, {write: out}]}
  crash: {when: crash, steps: [read_csv, steps.half, steps.crash, {write: out}]}
sinks: {out: {folder: out}}
workers: 1
"""
STEPS = """
import os
from collections.abc import Iterable
from filemill import File, Reject

def half(row: dict) -> dict:
    return row | {"half": row["amount"] / 2}

def more(row: dict) -> dict:
    return row | {"odd": 1} if row["amount"] % 2 else row

def fail(rows: Iterable[dict]) -> Iterable[dict]:
    raise Reject("no")
    yield

def file(file: File) -> File:
    raise Reject("no")

def crash(row: dict) -> dict:
    os.abort()
"""
NOISE = bytes(range(256)) * 4


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    from shell import Shell

    folder = tmp_path_factory.mktemp("inputs")
    (folder / "filemill.yaml").write_text(CONFIG)
    (folder / "steps.py").write_text(STEPS)
    box = folder / "in"
    box.mkdir()
    (box / "a.csv").write_bytes(b"id;amount\r\n007;3\r\n008;1\r\n")
    (box / "b.late").write_bytes(b"id,amount\n1,2\n2,3\n")
    (box / "c.jsonl").write_bytes(b'{"amount": 4}\n{"x":1, "amount":1.50}\n')
    (box / "d.json").write_bytes(b'{"rows": [{"amount": 4},\n {"amount": 6}]}\n')
    pl.DataFrame({"amount": [8]}).write_parquet(box / "e.parquet")
    (box / "f.gz").write_bytes(gzip.compress(NOISE))
    (box / "g.txt").write_bytes(b"as it came\n")
    (box / "h.crash").write_bytes(b"id,amount\n1,2\n")
    Shell(folder)("run", "--once", code=1)
    return folder


@pytest.fixture
def ask(project, filemill):
    filemill.folder = project
    return filemill


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("a.csv", b"id;amount;half;big\r\n007;3;1.5;true\r\n008;1;0.5;false\r\n"),
        ("b.late", b"id,amount,odd\n1,2,\n2,3,1\n"),
        ("c.jsonl", b'{"amount": 4,"half":2.0}\n{"x":1, "amount":1.50,"half":0.75}\n'),
        ("d.json", b'{"amount": 4,"half":2.0}\n{"amount": 6,"half":3.0}\n'),
        ("e.parquet", b'{"amount":8,"half":4.0}\n'),
        ("f.gz", NOISE),
        ("g.txt", b"as it came\n"),
    ],
)
def test_what_the_failed_step_was_given(ask, tmp_path, name, given):
    target = tmp_path / "given"
    ask("dead", "input", name, "-o", str(target))
    assert target.read_bytes().replace(b"\r\n", b"\n") == given.replace(b"\r\n", b"\n")
    piped = subprocess.run(
        [*FILEMILL, "dead", "input", name],
        cwd=ask.folder,
        env=ask.environ,
        capture_output=True,
        check=True,
    )
    assert (piped.stdout, piped.stderr) == (target.read_bytes(), b"")


def test_a_file_that_is_there_is_not_touched(ask, tmp_path):
    target = tmp_path / "given.csv"
    target.write_text("mine")
    told = ask("dead", "input", "a.csv", "-o", str(target), code=2)
    assert "is there already" in told.stderr
    assert target.read_text() == "mine"


def test_json_says_what_was_written(ask, tmp_path):
    target = tmp_path / "given.csv"
    told = json.loads(ask("dead", "input", "a.csv", "-o", str(target), "--json").stdout)
    assert (told["schema"], told["size"]) == ("filemill.input/1", target.stat().st_size)
    assert "-o FILE" in ask("dead", "input", "a.csv", "--json", code=2).stderr


def test_what_is_not_kept_says_why_and_what_to_do(ask):
    told = ask("dead", "input", "h.crash", code=2)
    assert "it brought its worker down" in told.stderr
    assert "filemill dead export" in told.stderr
    assert told.stdout == ""


@pytest.mark.parametrize(("name", "code"), [("f.gz", 2), ("g.txt", 0)])
def test_a_terminal_gets_text_only(ask, name, code):
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [*FILEMILL, "dead", "input", name],
        cwd=ask.folder,
        env=ask.environ,
        stdout=theirs,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(theirs)
    try:
        seen = os.read(ours, 4096)
    except OSError:  # nothing was written
        seen = b""
    os.close(ours)
    assert done.returncode == code, done.stderr
    assert seen.strip() == (b"as it came" if code == 0 else b"")
    assert (b"no text" in done.stderr) == (code == 2)
