"""Big files and endless lines: the memory of the whole tree stays bounded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from measuring import BOUND, MEGABYTE, run

BIG = 300 * MEGABYTE
CONFIG = """\
version: 1
workers: 2
sources: {inbox: {folder: inbox, settle: 5ms, settle_unproven: 20ms}}
tags: {json: {name: "*.jsonl"}, log: {name: "*.log"}}
pipelines:
  values:
    when: json
    tolerance: 10
    steps:
      - read_jsonl
      - derive: {twice: "a * 2"}
      - write: out
  lines:
    when: log
    tolerance: 10
    steps: [read_lines, write: out]
sinks: {out: {folder: out}}
"""


def project(root: Path) -> Path:
    (root / "inbox").mkdir(parents=True)
    (root / "filemill.yaml").write_text(CONFIG)
    return root / "inbox"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_big_file_of_small_records(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    inbox = project(tmp_path)
    line = '{"a": %d, "text": "' + "x" * 200 + '"}\n'
    block = "".join(line % i for i in range(5_000)).encode()
    count = BIG // len(block)
    with open(inbox / "big.jsonl", "wb") as out:
        out.writelines(block for _ in range(count))
    code, said, peak = run(tmp_path)
    record_property("peak MB", peak // MEGABYTE)
    assert code == 0, said
    written = (tmp_path / "out" / "big.jsonl").stat().st_size
    assert written > count * len(block)
    with open(tmp_path / "out" / "big.jsonl", "rb") as output:
        assert (
            sum(chunk.count(b"\n") for chunk in iter(lambda: output.read(MEGABYTE), b""))
            == 5_000 * count
        )
    assert peak < BOUND


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("suffix", ["log", "jsonl"])
def test_an_endless_line_is_one_bad_record(
    tmp_path: Path, suffix: str, record_property: Callable[[str, object], None]
) -> None:
    inbox = project(tmp_path)
    before = b'{"a": 1}\n' if suffix == "jsonl" else b"before\n"
    with open(inbox / f"long.{suffix}", "wb") as out:
        out.write(before)
        out.writelines(b"y" * MEGABYTE for _ in range(300))
        out.write(b"\n" + before)
    code, said, peak = run(tmp_path)
    record_property("peak MB", peak // MEGABYTE)
    assert code == 0, said
    assert "1 bad" in said, said
    output = (tmp_path / "out" / f"long.{suffix}").read_text()
    if suffix == "log":
        assert output == "before\nbefore\n"
    else:
        assert [json.loads(each)["twice"] for each in output.splitlines()] == [2, 2]
    assert peak < BOUND
