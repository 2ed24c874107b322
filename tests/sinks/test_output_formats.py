"""Outputs as json, parquet, gzip and zstd: their bytes, their names, and what is left behind."""

from __future__ import annotations

import gzip
import io
import itertools
import os
from typing import Any

import polars as pl
import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st
from test_folder_staging import (
    begun,
    contents,
    csv_batch,
    expected,
    jsonl_batch,
    left,
    lines_batch,
    make_sink,
    order,
)

from filemill.model.errors import PermanentError, SystemFault
from filemill.model.runs import ChunkRange
from filemill.records.layout import Layout
from filemill.sinks import tables
from filemill.sinks.compressing import Coder

UNPACK = {"gz": gzip.decompress, "zst": zstd.decompress}


def table(data: bytes) -> dict[str, list[Any]]:
    return pl.read_parquet(io.BytesIO(data)).to_dict(as_series=False)


def staged(root, orders, batches, **options):
    stager = make_sink(root, **options).stager(orders)
    for batch in batches:
        stager.write(batch)
    return contents(stager.finish())


@pytest.fixture
def root(tmp_path):
    return tmp_path / "out"


# -- json -----------------------------------------------------------------------------------------


def test_json_is_one_array_whatever_the_batches(root):
    orders = [order(0, b"a.jsonl"), order(1, b"b.jsonl")]
    batches = [
        jsonl_batch([(0, '{"x":1}'), (1, '{"y": "é"}'), (1, "{}")]),
        jsonl_batch([(0, '{"x":1.50}')]),
        jsonl_batch([(1, '{"z":[1, 2]}')]),
    ]
    assert staged(root, orders, batches, format="json") == {
        "r0": (b"a.json", b'[\n{"x":1},\n{"x":1.50}\n]\n'),
        "r1": (b"b.json", '[\n{"y": "é"},\n{},\n{"z":[1, 2]}\n]\n'.encode()),
    }


def test_json_of_csv_and_lines(root):
    orders = [order(0)]
    assert staged(root, orders, [csv_batch([(0, "1,x")], crlf=True)], format="json") == {
        "r0": (b"n0.json", b'[\n{"a":"1","b":"x"}\n]\n')
    }
    assert staged(root, orders, [lines_batch([(0, 'a"b\r')])], format="json", name="l.txt") == {
        "r0": (b"l.txt", b'[\n{"line":"a\\"b"}\n]\n')
    }


def test_a_run_without_records_writes_an_empty_array_only_if_asked(root):
    orders = [order(0, b"a.jsonl")]
    stager = make_sink(root, format="json").stager(orders)
    stager.expect(0, Layout("jsonl", "jsonl"), more=True)
    assert stager.finish() == {}
    stager = make_sink(root, format="json", empty="write").stager(orders)
    stager.expect(0, Layout("jsonl", "jsonl"), more=True)
    assert contents(stager.finish()) == {"r0": (b"a.json", b"[]\n")}


# -- compressed -----------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    pieces=st.lists(st.binary(max_size=40) | st.integers(1, 3).map(lambda n: b"ab" * (n << 19))),
    kind=st.sampled_from(["gz", "zst"]),
)
def test_what_is_compressed_depends_on_the_stream_alone(pieces, kind):
    whole = b"".join(pieces)
    one, other = Coder(kind), Coder(kind)
    parts = [*one.encode([memoryview(piece) for piece in pieces]), *one.end()]
    made = b"".join(parts)
    assert made == b"".join([*other.encode([memoryview(whole)]), *other.end()])
    assert UNPACK[kind](made) == whole
    assert UNPACK[kind](made + other.apart(b"more")) == whole + b"more"


def test_a_gzip_header_says_nothing_of_time_or_place():
    made = Coder("gz").apart(b"x")
    assert made[:4] == b"\x1f\x8b\x08\0"  # no name, no comment
    assert made[4:8] == bytes(4)  # no time


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_compressed_outputs_and_their_names(root, kind):
    suffix = b"." + kind.encode()
    orders = [order(0), order(1, b"x/b.csv" + suffix)]
    batches = [csv_batch([(0, "1,x"), (1, "3,z")]), csv_batch([(0, "2,y")])]
    found = staged(root, orders, batches, compress=kind)
    assert {run: (name, UNPACK[kind](data)) for run, (name, data) in found.items()} == {
        "r0": (b"n0.csv" + suffix, b"a,b\n1,x\n2,y\n"),
        "r1": (b"x/b.csv" + suffix, b"a,b\n3,z\n"),
    }
    again = staged(root, orders, batches, compress=kind)
    assert again == found
    found = staged(root, orders[:1], batches[1:], compress=kind, format="json")
    assert found["r0"][0] == b"n0.json" + suffix
    assert UNPACK[kind](found["r0"][1]) == b'[\n{"a":"2","b":"y"}\n]\n'


def test_a_taken_name_is_numbered_before_both_extensions(root):
    sink = make_sink(root, compress="gz")
    (root / "a-2.csv.gz").touch()
    assert sink.free_names([b"a.csv.gz"]) == [b"a-3.csv.gz"]


def test_a_big_compressed_output_streams(root):
    records = [f"{i},{'é' * 300}" for i in range(20_000)]
    stager = make_sink(root, compress="zst").stager([order(0)])
    for at in range(0, len(records), 5_000):
        stager.write(csv_batch([(0, text) for text in records[at : at + 5_000]]))
    assert len(begun(root)) == 1  # before the end
    assert left(root) == []  # and without a name
    ((_, data),) = contents(stager.finish()).values()
    assert zstd.decompress(data).decode() == "a,b\n" + "".join(f"{text}\n" for text in records)


def test_a_whole_file_is_compressed_unless_its_name_says_that_it_is(root, tmp_path):
    content = b"not records at all" * 1000
    path = tmp_path / "content"
    path.write_bytes(content)
    orders = [
        order(0, b"a.pdf", content, os.fsencode(path)),
        order(1, b"b.pdf.gz", content, os.fsencode(path)),
    ]
    stager = make_sink(root, compress="gz").stager(orders)
    for each in orders:
        stager.write_file(each)
    found = contents(stager.finish())
    assert found["r0"][0] == b"a.pdf.gz"
    assert gzip.decompress(found["r0"][1]) == content
    assert found["r1"] == (b"b.pdf.gz", content)


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_parts_of_a_compressed_output_are_joined(root, kind):
    sink = make_sink(root, compress=kind)
    assert sink.joins("csv", more=False)
    joining = sink.joining(7)
    for number in range(3):
        chunk = ChunkRange(number, 0, 0, 1, 1)
        stager = sink.stager([order(0, chunk=chunk)])
        stager.write(csv_batch([(0, f"{number},x")]))
        ((part,),) = stager.finish().values()
        joining.append(part)
    output = joining.finish()
    with open(output.staged, "rb") as made:
        assert UNPACK[kind](made.read()) == b"a,b\n0,x\n1,x\n2,x\n"
    assert not make_sink(root, format="json").joins("jsonl", more=True)
    assert not make_sink(root, format="parquet").joins("csv", more=False)


# -- parquet --------------------------------------------------------------------------------------


def test_parquet_has_the_types_that_all_records_of_a_file_agree_on(root):
    orders = [order(0, b"a.jsonl"), order(1, b"b.jsonl")]
    batches = [
        jsonl_batch([(0, '{"i":1,"f":1,"t":1.10,"b":true}'), (1, '{"i":"x","n":{"k":[1, 2]}}')]),
        jsonl_batch([(0, '{"f":1.5,"t":"x","b":null,"i":9007199254740993}'), (1, '{"n":null}')]),
        jsonl_batch([(0, '{"late":false,"i":null}')]),
    ]
    found = staged(root, orders, batches, format="parquet")
    assert found["r0"][0] == b"a.parquet"
    assert table(found["r0"][1]) == {
        "i": [1, 9007199254740993, None],
        "f": [1.0, 1.5, None],
        "t": ["1.10", "x", None],
        "b": [True, None, None],
        "late": [None, None, False],
    }
    assert table(found["r1"][1]) == {"i": ["x", None], "n": ['{"k":[1, 2]}', None]}


def test_integers_too_large_for_floats_stay_exact(root):
    batches = [jsonl_batch([(0, '{"a":9007199254740993}')]), jsonl_batch([(0, '{"a":0.5}')])]
    found = staged(root, [order(0, b"a.jsonl")], batches, format="parquet")
    assert table(found["r0"][1]) == {"a": ["9007199254740993", "0.5"]}
    batches = [jsonl_batch([(0, '{"a":18446744073709551615}')]), jsonl_batch([(0, '{"a":1e999}')])]
    found = staged(root, [order(0, b"a.jsonl")], batches, format="parquet")
    assert table(found["r0"][1]) == {"a": ["18446744073709551615", "1e999"]}


def test_parquet_of_csv_has_all_the_columns_that_were_expected(root):
    stager = make_sink(root, format="parquet").stager([order(0)])
    stager.expect(0, expected("vip", "never"), more=False)
    stager.write(csv_batch([(0, "1,x"), (0, ',"q,"')], added=("vip",)))
    stager.write(csv_batch([(0, "3,007")]))
    ((name, data),) = contents(stager.finish()).values()
    assert name == b"n0.parquet"
    assert table(data) == {
        "a": [1, None, 3],
        "b": ["x", "q,", "007"],
        "vip": ["+", "+", None],
        "never": [None, None, None],
    }


ROWS = st.lists(
    st.dictionaries(
        st.sampled_from(["a", "b", "", "*", "^a$"]),
        st.sampled_from(["1", "2.50", "true", '"x"', "null", "[1]", "9007199254740993", '"7"']),
        max_size=3,
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=30, deadline=None)
@given(rows=ROWS, cuts=st.sets(st.integers(1, 7)), spill=st.sampled_from([0, 8 << 20]))
def test_parquet_bytes_do_not_depend_on_batches_or_spools(tmp_path_factory, rows, cuts, spill):
    root = tmp_path_factory.mktemp("out")
    records = ["{" + ",".join(f'"{k}":{v}' for k, v in row.items()) + "}" for row in rows]
    orders = [order(0, b"a.jsonl")]
    if set(records) == {"{}"}:
        records.append('{"a":1}')
    whole = staged(root, orders, [jsonl_batch([(0, r) for r in records])], format="parquet")
    edges = [0, *sorted(cut for cut in cuts if cut < len(records)), len(records)]
    batches = [
        jsonl_batch([(0, r) for r in records[start:end]])
        for start, end in itertools.pairwise(edges)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "SPILL", spill)
        parts = staged(root, orders, batches, format="parquet")
    assert parts == whole
    assert all(name.endswith(".7") for name in map(os.fsdecode, left(root)))  # no spool is left


def test_a_spool_goes_with_a_dropped_run_an_abort_and_a_sweep(root, monkeypatch):
    monkeypatch.setattr(tables, "SPILL", 0)
    sink = make_sink(root, format="parquet")
    orders = [order(0), order(1)]
    stager = sink.stager(orders)
    stager.write(csv_batch([(0, "1,x"), (1, "2,y")]))
    assert sorted(name.rpartition(".")[2] for name in left(root)) == ["spool", "spool"]
    stager.drop("r0")
    assert len(left(root)) == 1
    stager.abort()
    assert left(root) == []
    sink.stager(orders).write(csv_batch([(0, "1,x")]))  # and a crash
    assert sink.sweep(frozenset()) == 1
    assert left(root) == []


def test_a_full_disk_under_a_table_is_the_machines_trouble(root, monkeypatch):
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    stager = make_sink(root, format="parquet").stager([order(0)])
    stager.write(csv_batch([(0, "1,x")]))
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", full)
        with pytest.raises(SystemFault, match="No space"):
            stager.finish()
    assert left(root) == []
    monkeypatch.setattr(tables, "SPILL", 0)
    monkeypatch.setattr(os, "pwrite", full)
    stager = make_sink(root, format="parquet").stager([order(0)])
    with pytest.raises(SystemFault, match="No space"):
        stager.write(csv_batch([(0, "1,x")]))
    stager.abort()
    assert left(root) == []


def test_more_columns_than_a_table_can_have_and_none(root, monkeypatch):
    monkeypatch.setattr(tables, "MOST_COLUMNS", 3)
    stager = make_sink(root, format="parquet").stager([order(0)])
    stager.write(jsonl_batch([(0, '{"a":1,"b":2}')]))
    with pytest.raises(PermanentError, match="too many for columns"):
        stager.write(jsonl_batch([(0, '{"c":1,"d":2}')]))
    stager.abort()
    stager = make_sink(root, format="parquet").stager([order(0)])
    stager.write(jsonl_batch([(0, "{}")]))
    with pytest.raises(PermanentError, match="needs a column"):
        stager.finish()
    stager.abort()
    assert left(root) == []


@pytest.mark.parametrize(("compress", "codec"), [(None, "ZSTD"), ("zst", "ZSTD"), ("gz", "GZIP")])
def test_compress_of_parquet_is_its_codec(root, compress, codec):
    records = ['{"a":"%s"}' % ("x" * 200)] * 500
    batch = jsonl_batch([(0, record) for record in records])
    found = staged(root, [order(0)], [batch], format="parquet", compress=compress)
    name, data = found["r0"]
    assert name == b"n0.parquet"
    assert len(data) < 5_000
    assert (b"\x28\xb5\x2f\xfd" in data) is (codec == "ZSTD")  # the mark of a zstd frame
    assert table(data) == {"a": ["x" * 200] * 500}


def test_an_empty_table_has_its_columns(root):
    stager = make_sink(root, format="parquet", empty="write").stager([order(0)])
    stager.expect(0, expected("vip"), more=False)
    ((name, data),) = contents(stager.finish()).values()
    assert (name, table(data)) == (b"n0.parquet", {"a": [], "b": [], "vip": []})
