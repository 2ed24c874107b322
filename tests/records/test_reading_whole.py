"""Whatever the chunk size and the company, a file reads the same; untouched records come out as they went in."""

from __future__ import annotations

import csv
import io
import json

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filemill.formats import encode, header_line

SETTINGS = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
CHUNKS = st.integers(min_value=1, max_value=60)
TEXT = st.text(
    alphabet=st.characters(codec="utf-8", exclude_characters="\r\n\ufeff\x01"), max_size=8
)
WILD = st.text(alphabet=list('a1,;"\r\n\n"ä0'), max_size=60)


def everything(reading, names=()):
    return (
        reading.rows(*names),
        [repr(b.layout.columns) for b in reading.batches][:1],
        reading.bad,
        reading.blank,
        reading.records,
    )


def same_in_chunks(files, kind, content, chunk, max_record=4 << 20, names=(), **request):  # noqa: PLR0917
    whole = files.read(kind, content, max_record=max_record, **request)
    parts = files.read(kind, content, chunk_size=chunk, max_record=max_record, **request)
    assert everything(parts, names) == everything(whole, names)
    return whole


def written(reading, kind):
    return [line for batch in reading.batches for line in encode(batch, kind)]


@st.composite
def csv_files(draw):
    """A valid CSV file, and its rows."""
    width = draw(st.integers(min_value=1, max_value=3))
    cell = st.one_of(
        TEXT.filter(lambda t: '"' not in t and "," not in t),
        st.integers().map(str),
        st.text(alphabet=list('a"\n,\n\rä'), min_size=1, max_size=5).map(
            lambda t: '"' + t.replace('"', '""') + '"'
        ),
    )
    rows = draw(st.lists(st.lists(cell, min_size=width, max_size=width), max_size=8))
    rows = [row for row in rows if width > 1 or row[0]]
    end = draw(st.sampled_from(["\n", "\r\n"]))
    header = ",".join(f"c{i}" for i in range(width))
    lines = [header]
    for row in rows:
        lines += [""] * draw(st.integers(min_value=0, max_value=1))
        lines.append(",".join(row))
    bom = draw(st.sampled_from(["", "\ufeff"]))
    last = draw(st.sampled_from(["", end]))
    return (bom + end.join(lines) + last).encode(), rows, end


@SETTINGS
@given(made=csv_files(), chunk=CHUNKS)
def test_csv_in_chunks_and_as_written(shared_files, made, chunk):
    content, rows, end = made
    reading = same_in_chunks(shared_files, "csv", content, chunk, needs=None)
    assert not reading.bad
    tail = end.removesuffix("\n")
    assert written(reading, "csv") == [",".join(row) + tail for row in rows]
    parsed = [dict(zip((f"c{i}" for i in range(9)), row, strict=False)) for row in rows]
    if parsed:
        (exact,) = {b.layout.header for b in reading.batches}
        assert exact == ",".join(parsed[0])
    for row, batch_row in zip(parsed, [r for b in reading.batches for r in b.rows()], strict=True):
        for name, text in row.items():
            value = text[1:-1].replace('""', '"') if text.startswith('"') else text
            if isinstance(batch_row[name], str):
                assert batch_row[name] == value


@SETTINGS
@given(body=WILD, chunk=CHUNKS, most=st.integers(min_value=4, max_value=80))
def test_broken_csv_in_chunks(shared_files, body, chunk, most):
    """However broken: the same records, the same bad ones, and those slice the file exactly."""
    content = ("a,b\n" + body).encode()
    reading = same_in_chunks(
        shared_files,
        "csv",
        content,
        chunk,
        most,
        needs=frozenset({"a"}),
        options={"separator": ","},
    )
    taken = [(r[4], r[4] + len(r[0].rstrip("\r").encode())) for r in reading.rows()]
    taken += [(bad.start, bad.end) for bad in reading.bad.get(0, [])]
    assert reading.records.get(0, 0) == len(taken)
    covered = sorted(taken)
    at = 4
    for start, end in covered:
        assert content[at:start].strip(b"\r\n") == b"", "bytes that belong to no record"
        at = end
    assert content[at:].strip(b"\r\n") == b""


@SETTINGS
@given(
    values=st.lists(
        st.dictionaries(
            TEXT,
            st.one_of(
                st.none(), st.booleans(), st.integers(), TEXT, st.lists(st.integers(), max_size=2)
            ),
        ),
        max_size=6,
    ),
    chunk=CHUNKS,
    end=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
    spaced=st.booleans(),
)
def test_jsonl_in_chunks_and_as_written(shared_files, values, chunk, end, last, spaced):  # noqa: PLR0917
    separators = (", ", ": ") if spaced else (",", ":")
    lines = [json.dumps(v, ensure_ascii=spaced, separators=separators) for v in values]
    content = (end.join(lines) + (end if last else "")).encode()
    reading = same_in_chunks(shared_files, "jsonl", content, chunk)
    assert not reading.bad
    several = len(lines) > 1 or last
    tail = "\r" if end == "\r\n" and several else ""
    assert written(reading, "jsonl") == [line + tail for line in lines]
    assert [r for b in reading.batches for r in b.rows()] == values


@SETTINGS
@given(
    lines=st.lists(TEXT, max_size=8),
    chunk=CHUNKS,
    end=st.sampled_from(["\n", "\r\n"]),
    bom=st.sampled_from(["", "\ufeff"]),
)
def test_lines_in_chunks_and_as_written(shared_files, lines, chunk, end, bom):
    content = (bom + end.join([*lines, ""])).encode()
    if content.count(b"\0") * 10 > len(content):
        return
    reading = same_in_chunks(shared_files, "lines", content, chunk)
    full = [line for line in lines if line]
    assert written(reading, "lines") == [line + end.removesuffix("\n") for line in full]
    assert reading.blank.get(0, 0) == len(lines) - len(full)
    assert reading.views("line") == full


@SETTINGS
@given(
    body=st.binary(max_size=60).map(lambda b: b.replace(b"\0", b"")),
    chunk=CHUNKS,
    most=st.integers(min_value=3, max_value=40),
    kind=st.sampled_from(["lines", "jsonl", "csv"]),
)
def test_any_bytes_in_chunks(shared_files, body, chunk, most, kind):
    content = b"a\n" + body
    same_in_chunks(shared_files, kind, content, chunk, most)


@SETTINGS
@given(
    columns=st.lists(
        st.lists(st.sampled_from(["", "1", "2.5", "007", "true", "x", '"q"']), max_size=4),
        min_size=1,
        max_size=6,
    )
)
def test_small_csv_files_together_are_each_alone(shared_files, columns):
    contents = [
        ("n,v\n" + "".join(f"{i},{v}\n" for i, v in enumerate(c))).encode() for c in columns
    ]
    together = shared_files.read("csv", *contents, needs=frozenset({"v"}))
    found: list = []
    for index, content in enumerate(contents):
        alone = shared_files.read("csv", content, needs=frozenset({"v"}))
        found += [(r[0], index, *r[2:]) for r in alone.rows("v")]
        assert together.records.get(index) == alone.records.get(0)
    assert together.rows("v") == found


@SETTINGS
@given(
    files=st.lists(
        st.lists(
            st.sampled_from(['{"v":1}', '{"v":1.5}', '{"v":"x"}', "{}", "[", '{"v":[1, 2]}', ""]),
            max_size=4,
        ),
        min_size=1,
        max_size=6,
    )
)
def test_small_jsonl_files_together_are_each_alone(shared_files, files):
    contents = ["\n".join(lines).encode() for lines in files]
    together = shared_files.read("jsonl", *contents, needs=frozenset({"v"}))
    found: list = []
    for index, content in enumerate(contents):
        alone = shared_files.read("jsonl", content, needs=frozenset({"v"}))
        found += [(r[0], index, *r[2:]) for r in alone.rows("v")]
        assert together.bad.get(index) == alone.bad.get(0)
        assert together.blank.get(index) == alone.blank.get(0)
    assert together.rows("v") == found


@SETTINGS
@given(
    values=st.lists(
        st.sampled_from(["", "1", "12345678901234567890", "2.5", "007", "true", "x"]), max_size=8
    ),
    chunk=CHUNKS,
)
def test_types_widen_over_chunks(shared_files, values, chunk):
    content = ("n,v\n" + "".join(f"{i},{v}\n" for i, v in enumerate(values))).encode()
    same_in_chunks(shared_files, "csv", content, chunk, names=["v"], needs=frozenset({"v"}))
    content = "".join(f'{{"v":{v or "null"}}}\n' for v in values if v not in {"007", "x"}).encode()
    same_in_chunks(shared_files, "jsonl", content, chunk, names=["v"], needs=frozenset({"v"}))


def test_big_blocks_take_the_native_paths_to_the_same_end(files):
    rows = [f'{i},"say ""{i}"", and\nmore {"é" * (i % 3)}",{i * 1.5}' for i in range(30_000)]
    content = ("id,note,x\n" + "\n".join(rows) + "\n").encode()
    whole = files.read("csv", content, needs=None)
    parts = files.read("csv", content, needs=None, chunk_size=200_001)
    assert len(parts.batches) > 3
    assert written(whole, "csv") == rows == written(parts, "csv")
    names = ["id", "note", "x"]
    assert whole.rows(*names) == parts.rows(*names)
    expected = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    assert [row[6] for row in whole.rows(*names)] == [row["note"] for row in expected]
    assert whole.rows()[1][2:] == (2, 4, content.index(b'1,"say'))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_big_blocks_without_quotes(files, end):
    rows = [f"{i},{'é' * (i % 5)}word,{i % 7}" for i in range(60_000)]
    rows[100] = "100,x"
    content = ("id,w,k" + end + end.join(rows) + end).encode()
    whole = files.read("csv", content, needs=frozenset({"k", "w"}))
    parts = files.read("csv", content, needs=frozenset({"k", "w"}), chunk_size=1 << 17)
    assert whole.rows("k", "w") == parts.rows("k", "w")
    assert whole.bad == parts.bad
    assert [bad.record for bad in whole.bad[0]] == [101]
    assert whole.dtypes("k") == {pl.Int64}
    assert [t.rstrip("\r") for t in written(whole, "csv")] == rows[:100] + rows[101:]


def test_a_header_keeps_its_text(files):
    reading = files.read("csv", b'"id", name\r\n1,x\r\n')
    assert header_line(reading.batch.layout) == '"id", name\r'
    assert reading.batch.columns() == ("id", " name")


@pytest.mark.parametrize("start", ["x^", "x\x01", "\ufeff", "(", "\x1f"])
def test_a_record_is_never_taken_for_a_files_mark(files, start):
    """Polars unpacks what begins like a compressed file; a record may well begin with `x^`."""
    rows = [f"{start}{i},word,{i % 7}" for i in range(100_000)]
    content = ("a,b,c\n" + "\n".join(rows) + "\n").encode()
    assert files.read("csv", content, needs=frozenset({"c"})).raw() == rows
    assert files.read("lines", ("\n" + "\n".join(rows)).encode()).raw() == rows
