"""Sizes at which nothing can be held at once: files of 10 GB, records of 1 GB, hundreds of thousands of files.

Each is a module constant; `FILEMILL_TORTURE_FILE=1000000000` and its like make them smaller where there is less time,
or larger: `FILEMILL_TORTURE_FILES=1000000 FILEMILL_TORTURE_FOLDERS=1000` takes eleven minutes of processor time.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import apsw
import pytest
from measuring import BOUND, GIGABYTE, MEGABYTE, held_by_tree, need_room, resident, run, size
from program import Program, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

FILE = size("FILE", 10 * GIGABYTE)
"""Bytes of the big file."""
RECORD = size("RECORD", GIGABYTE)
"""Bytes of a record without an end."""
FILES = size("FILES", 300_000)
FOLDERS = size("FOLDERS", 300)

CONFIG = """\
version: 1
workers: 2
sources: {inbox: {folder: inbox, settle: 5ms, settle_unproven: 20ms, after: delete}}
tags: {json: {name: "*.jsonl"}, csv: {name: "*.csv"}, log: {name: "*.log"}}
pipelines:
  values:
    when: json
    tolerance: 10
    steps:
      - read_jsonl
      - derive: {twice: "a * 2"}
      - write: out
  tables:
    when: csv
    tolerance: 10
    steps:
      - read_csv
      - derive: {twice: "a * 2"}
      - write: out
  lines:
    when: log
    tolerance: 10
    steps: [read_lines, write: out]
sinks: {out: {folder: out}}
"""

SERVER = 180 * MEGABYTE
"""What the server may hold with any number of files on their way.

Some 60 MB without any, and some 115 from a hundred thousand files on, without growing any more: what waits is bounded
(sightings, claims, 4,096 files to be inspected, leases), and so are the ledger's page cache and its log. What a file
that is done leaves behind in the server must be nothing: 80 bytes each would be seen.
"""
LINES = 5_000
"""Of a block. The first says which block it is; the others are the same in all of them."""
FIRST = 10**9
"""Number of the first block: all have as many digits."""


def project(root: Path) -> Path:
    (root / "inbox").mkdir(parents=True)
    (root / "filemill.yaml").write_text(CONFIG)
    return root / "inbox"


def block_of(number: int) -> bytes:
    """A block of lines of which the first one tells it from all others."""
    line = '{"a": %d, "text": "' + "x" * 200 + '"}\n'
    return "".join(line % n for n in (FIRST + number, *range(1, LINES))).encode()


def blocks(output: BinaryIO, length: int) -> Iterator[bytes]:
    while block := output.read(length):
        yield block


def test_a_file_of_ten_gigabytes(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    count = max(1, FILE // len(block_of(0)))
    # Moved into content, not copied: there is the file, and what comes out of it.
    need_room(tmp_path, int(2.2 * FILE))
    inbox = project(tmp_path)
    first, *_ = block_of(0).split(b"\n")
    rest = block_of(0)[len(first) :]
    with open(inbox / "big.jsonl", "wb") as out:
        for number in range(count):
            out.write(first.replace(b"%d" % FIRST, b"%d" % (FIRST + number)))
            out.write(rest)
    began = time.monotonic()
    _, peak = done(tmp_path, record_property)
    took = time.monotonic() - began
    record_property("MB/s", round(count * len(block_of(0)) / MEGABYTE / took))
    made = tmp_path / "out" / "big.jsonl"
    with open(made, "rb") as output:
        head = b"".join(output.readline() for _ in range(LINES))
        rows = [json.loads(line) for line in head.splitlines()]
        assert [row["a"] for row in rows] == [FIRST, *range(1, LINES)]
        assert all(row["twice"] == 2 * row["a"] for row in rows)
        # What is right of the first block is right of every other one: they differ in two numbers.
        line, _, rest = head.partition(b"\n")
        output.seek(0)
        for number, block in enumerate(blocks(output, len(head))):
            mine = line.replace(b"%d" % FIRST, b"%d" % (FIRST + number))
            mine = mine.replace(b"%d" % (2 * FIRST), b"%d" % (2 * (FIRST + number)))
            assert block == mine + b"\n" + rest, number
    assert made.stat().st_size == count * len(head)
    assert not list((tmp_path / ".filemill/content").rglob("*.jsonl")), "`after: delete`"
    made.unlink()
    assert peak < BOUND


@pytest.mark.parametrize("name", ["long.log", "long.jsonl"])
def test_a_record_of_one_gigabyte(
    tmp_path: Path, record_property: Callable[[str, object], None], name: str
) -> None:
    """It is one bad record; what stands before and behind it is read."""
    need_room(tmp_path, RECORD)
    before, opens, closes, after = {
        "long.log": (b"1\n", b"", b"\n", b"2\n"),
        "long.jsonl": (b'{"a": 1}\n', b'{"a": "', b'"}\n', b'{"a": 2}\n'),
    }[name]
    with open(project(tmp_path) / name, "wb") as out:
        out.write(before + opens)
        out.writelines(b"y" * MEGABYTE for _ in range(RECORD // MEGABYTE))
        out.write(closes + after)
    said, peak = done(tmp_path, record_property)
    assert "1 bad" in said, said
    assert (tmp_path / "out" / name).read_text() == {
        "long.log": "1\n2\n",
        "long.jsonl": '{"a": 1,"twice":2}\n{"a": 2,"twice":4}\n',
    }[name]
    assert peak < BOUND


@pytest.mark.parametrize("closed", [True, False])
def test_a_gigabyte_of_csv_behind_an_open_quote(
    tmp_path: Path, record_property: Callable[[str, object], None], closed: bool
) -> None:
    """Nobody looks further than `max_record` for its end: its line is bad, the others are records as they stand."""
    need_room(tmp_path, 2 * RECORD)
    block = b"34," + b"z" * 120 + b"\n"
    count = RECORD // len(block)
    with open(project(tmp_path) / "open.csv", "wb") as out:
        out.write(b'a,b\n1,one\n"2,two\n')
        out.writelines(block * 1_000 for _ in range(count // 1_000))
        out.write(b'"\n' if closed else b"")
    said, peak = done(tmp_path, record_property)
    assert f"{1 + closed} bad" in said, said
    line = b"34," + b"z" * 120 + b",68\n"
    with open(tmp_path / "out/open.csv", "rb") as output:
        assert output.readline() == b"a,b,twice\n"
        assert output.readline() == b"1,one,2\n"
        seen = 0
        for each in blocks(output, 1_000 * len(line)):
            assert each == line * 1_000, seen
            seen += 1_000
    assert seen == count // 1_000 * 1_000
    assert peak < BOUND


STREAM = """\
import os
from collections.abc import Iterable, Iterator

HALFWAY = os.path.join(os.path.dirname(__file__), "halfway")


def add_up(rows: Iterable[dict], *, marked: int) -> Iterator[dict]:
    total = 0
    for number, row in enumerate(rows, 1):
        if number == marked:
            with open(HALFWAY, "a") as out:
                out.write("x")
        total += row["a"]
        yield row | {"total": total}
"""


def test_a_gigabyte_through_a_function_of_the_whole_file(
    tmp_path: Path,
    start: Callable[..., Program],
    record_property: Callable[[str, object], None],
) -> None:
    """One worker's from start to end in bounded memory; killed halfway it begins anew, and its output is there once."""
    need_room(tmp_path, 3 * RECORD)
    text = "w" * 120
    count = RECORD // len(f"{FIRST},{text}\n")
    inbox = project(tmp_path)
    config = CONFIG.replace(
        '- derive: {twice: "a * 2"}', f"- steps.add_up: {{marked: {count // 2}}}"
    )
    (tmp_path / "filemill.yaml").write_text(config)
    (tmp_path / "steps.py").write_text(STREAM)
    with open(inbox / "big.csv", "w") as out:
        out.write("a,b\n")
        out.writelines(f"{FIRST + number},{text}\n" for number in range(count))
    halfway, made = tmp_path / "halfway", tmp_path / "out/big.csv"
    program = start(tmp_path)
    assert wait_for(halfway.exists, 1_500), (tmp_path / "server.log").read_text()
    program.kill_tree()
    assert not made.exists(), "published before its end"
    program = start(tmp_path)
    began, peak = time.monotonic(), 0
    while not made.exists():
        peak = max(peak, held_by_tree(program.process.pid))
        assert program.process.poll() is None
        assert time.monotonic() - began < 1_500, (tmp_path / "server.log").read_text()
        time.sleep(0.1)
    record_property("s", round(time.monotonic() - began))
    record_property("peak MB", peak // MEGABYTE)
    assert program.stop() == 0
    assert halfway.read_text() == "xx", "twice from its beginning"
    total = 0
    with open(made) as output:
        assert output.readline() == "a,b,total\n"
        for number in range(count):
            total += FIRST + number
            assert output.readline() == f"{FIRST + number},{text},{total}\n", number
        assert output.readline() == ""
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["big.csv"]
    assert peak < BOUND


def done(root: Path, record_property: Callable[[str, object], None]) -> tuple[str, int]:
    """Run, and tell how long it took: what it said, and the most its tree held."""
    began = time.monotonic()
    code, said, peak = run(root)
    record_property("s", round(time.monotonic() - began))
    record_property("peak MB", peak // MEGABYTE)
    assert code == 0, said
    return said, peak


@pytest.mark.timeout(7_200)  # beside tests that sync the disk it takes eight times as long as alone
def test_hundreds_of_thousands_of_files(
    tmp_path: Path,
    start: Callable[..., Program],
    record_property: Callable[[str, object], None],
) -> None:
    """All done, each once; the server holds nothing of those that are done, and looking again costs little."""
    # Content, output and the ledger's rows: a block, a block, and some inodes.
    need_room(tmp_path, FILES * 12 * 1024)
    inbox = project(tmp_path)
    each = FILES // FOLDERS
    for folder in range(FOLDERS):
        (inbox / f"{folder:04}").mkdir()
        for number in range(each):
            (inbox / f"{folder:04}" / f"{number:06}.log").write_bytes(b"%d %d\n" % (folder, number))
    total = each * FOLDERS
    program = start(tmp_path, log=tmp_path / "server.log", options=("-q",))
    began = time.monotonic()
    sizes: list[int] = []
    """Bytes the server held, twice a second."""
    most = 0
    while True:
        for _ in range(10):
            most = max(most, held_by_tree(program.process.pid))
            sizes.append(resident(program.process.pid))
            time.sleep(0.5)
        assert program.process.poll() is None, (tmp_path / "server.log").read_text()[-2_000:]
        if runs_in(tmp_path) == {"done": total}:
            break
        assert time.monotonic() - began < 7_000, runs_in(tmp_path)
    took = time.monotonic() - began
    began = time.monotonic()
    assert program.stop() == 0
    record_property("s to stop", round(time.monotonic() - began, 1))
    record_property("s", round(took))
    record_property("files/s", round(total / took))
    record_property("server at its most, MB", max(sizes) // MEGABYTE)
    record_property("server at the end, MB", sizes[-1] // MEGABYTE)
    record_property("tree at its most, MB", most // MEGABYTE)
    ledger = sum(path.stat().st_size for path in (tmp_path / ".filemill").glob("ledger*"))
    record_property("ledger, bytes a file", ledger // total)
    judge_all(tmp_path / "out", each)
    assert max(sizes) < SERVER
    assert not any(files for _, _, files in os.walk(inbox))
    # A new start finds hundreds of thousands of files that it knows, and nothing to do.
    began = time.monotonic()
    code, said, peak = run(tmp_path)
    record_property("s, with nothing to do", round(time.monotonic() - began))
    assert code == 0, said
    assert "nothing to do" in said, said
    assert peak < BOUND // 2
    for folder in ("out", ".filemill"):
        shutil.rmtree(tmp_path / folder)


def judge_all(out: Path, each: int) -> None:
    """Every file has its output, once, with its own content."""
    for folder in range(FOLDERS):
        there = out / f"{folder:04}"
        names = sorted(os.listdir(there))
        assert names == [f"{number:06}.log" for number in range(each)], folder
        for number in range(each):
            made = (there / f"{number:06}.log").read_bytes()
            assert made == b"%d %d\n" % (folder, number), (folder, number)


def runs_in(root: Path) -> dict[str, int]:
    """How many runs are in each state."""
    ledger = root / ".filemill/ledger.db"
    if not ledger.exists():
        return {}
    db = apsw.Connection(str(ledger), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return dict(db.execute("SELECT state, count(*) FROM run GROUP BY state").fetchall())
    finally:
        db.close()
