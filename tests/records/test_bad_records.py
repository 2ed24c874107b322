"""What is bad: which records, of which class, and exactly which bytes."""

from __future__ import annotations

import pytest

from filemill.model.errors import PermanentError

BAD = [
    ("csv", b"a,b\n1,2\n1,2,3\n4,5\n", [("FieldCount", b"1,2,3", 2, 3)], {}),
    ("csv", b'a,b\n1,"x"y\n4,5\n', [("Quote", b'1,"x"y', 1, 2)], {}),
    ("csv", b'a,b\n1,x"y"\r\n4,5\r\n', [("Quote", b'1,x"y"', 1, 2)], {}),
    ("csv", b'a,b\n1,"x\n4,5\n6,7\n', [("Quote", b'1,"x', 1, 2)], {}),
    ("csv", b'a,b\n1,"x\n4","5\n6,7\n', [("Quote", b'1,"x', 1, 2), ("Quote", b'4","5', 2, 3)], {}),
    (
        "csv",
        b"a,b\n1,\xff\n\xc3,2\n4,5\n",
        [("Encoding", b"1,\xff", 1, 2), ("Encoding", b"\xc3,2", 2, 3)],
        {},
    ),
    ("csv", b'a,b\n1,"\xff\nx"\n4,5\n', [("Encoding", b'1,"\xff\nx"', 1, 2)], {}),
    (
        "csv",
        b"a,b\n1,2\n1,222222222\n4,5\n",
        [("TooLong", b"1,222222222", 2, 3)],
        {"max_record": 8},
    ),
    ("csv", b"a,b\n1,2\nx,2\n,5\n", [("Type", b"x,2", 2, 3)], {"types": {"a": "integer"}}),
    (
        "jsonl",
        b'{"a":1}\n[2]\n{"a":1\n{"a":1}{}\nnull\n',
        [
            ("Json", b"[2]", 2, 2),
            ("Json", b'{"a":1', 3, 3),
            ("Json", b'{"a":1}{}', 4, 4),
            ("Json", b"null", 5, 5),
        ],
        {},
    ),
    (
        "jsonl",
        b'{"a":\n1}\n{}{}\n',
        [("Json", b'{"a":', 1, 1), ("Json", b"1}", 2, 2), ("Json", b"{}{}", 3, 3)],
        {},
    ),
    ("jsonl", b'{"a":NaN}\r\n{"a":1}\r\n', [("Json", b'{"a":NaN}', 1, 1)], {}),
    (
        "jsonl",
        b'{"a":"\xff"}\n{"b":"\xe4"}\n{}\n',
        [("Encoding", b'{"a":"\xff"}', 1, 1), ("Encoding", b'{"b":"\xe4"}', 2, 2)],
        {},
    ),
    ("jsonl", b'{"a":1}\n\n{"a":"x"}\n', [("Type", b'{"a":"x"}', 2, 3)], {"types": {"a": "float"}}),
    ("lines", b"ab\n" + b"x" * 30 + b"\r\ncd", [("TooLong", b"x" * 30, 2, 2)], {"max_record": 8}),
    ("lines", b"ab\n" + b"x" * 30, [("TooLong", b"x" * 30, 2, 2)], {"max_record": 8}),
]


@pytest.mark.parametrize("chunk", [1, 5, 16 << 20])
@pytest.mark.parametrize(("kind", "content", "expected", "options"), BAD)
def test_bad_records_and_their_bytes(files, kind, content, expected, options, chunk):  # noqa: PLR0917
    reading = files.read(kind, content, chunk_size=chunk, **options)
    found = reading.bad.get(0, [])
    assert [(b.error, content[b.start : b.end], b.record, b.line) for b in found] == expected
    assert all(bad.step == "read" and bad.message for bad in found)
    assert reading.records[0] == len(found) + len(reading.raw())


def test_a_neighbour_is_not_disturbed_by_an_open_quote(files):
    reading = files.read("csv", b'a,b\n1,"x\n2,3\n', b'a,b\n4,"5"\n')
    assert reading.raw() == ["2,3", '4,"5"']
    assert {i: [b.record for b in bad] for i, bad in reading.bad.items()} == {0: [1]}


FOREIGN = [
    ("csv", "a,b\n1,2\n".encode("utf-16"), "not UTF-8", "transcode"),
    ("jsonl", '{"a":1}\n'.encode("utf-16-le"), "not UTF-8", "transcode"),
    ("csv", b"a,b\r1,2\r3,4\r", "CR alone", "line endings"),
    ("csv", b"a,b,a\n1,2,3\n", "`a` is in the header twice", "rename"),
    ("csv", b"a,,b\n1,2,3\n", "column 2 of the header has no name", "name"),
    ("csv", b"a\xff,b\n1,2\n", "header is not UTF-8", "transcode"),
]


@pytest.mark.parametrize("chunk", [4, 16 << 20])
@pytest.mark.parametrize(("kind", "content", "message", "hint"), FOREIGN)
def test_files_refused_as_a_whole(files, kind, content, message, hint, chunk):  # noqa: PLR0917
    with pytest.raises(PermanentError, match=message) as caught:
        files.read(kind, content, chunk_size=chunk)
    assert hint in caught.value.help


def test_a_json_line_nested_without_end_is_a_bad_record(files):
    deep = b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    reading = files.read("jsonl", b'{"a":1}\n' + deep + b'\n{"a":2}\n', needs=frozenset(["a"]))
    assert [(bad.error, bad.record, bad.line) for bad in reading.bad[0]] == [("Json", 2, 2)]
    assert reading.views("a") == [1, 2]


def test_a_missing_column_is_suggested(files):
    with pytest.raises(PermanentError, match="`amount` is missing; the header has `amonut`"):
        files.read("csv", b"id,amonut\n1,2\n", needs=frozenset({"amount"}))
    with pytest.raises(PermanentError, match="`amount` is missing"):
        files.read("csv", b"id,amonut\n1,2\n", types={"amount": "float"})


def test_a_long_record_is_not_held(files):
    """Reading on needs no more than a chunk and a record, however long the line is."""
    import tracemalloc

    content = b"short\n" + b"x" * (8 << 20) + b"\nend\n"
    tracemalloc.start()
    reading = files.read("lines", content, chunk_size=64 << 10, max_record=32 << 10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reading.raw() == ["short", "end"]
    assert peak < 2 << 20


def test_separators_headers_and_quotes(files):
    assert files.read("csv", b"a;b;c,d\n1;2;3\n").batch.columns() == ("a", "b", "c,d")
    assert files.read("csv", b'"a,b,c"\tb\n1\t2\n').batch.columns() == ("a,b,c", "b")
    plain = files.read("csv", b'a,b\n1",2"\n', options={"quote": None})
    assert plain.raw() == ['1",2"']
    bare = files.read("csv", b"1,2\n3,4\n", options={"header": False, "columns": ["x", "y"]})
    assert bare.batch.columns() == ("x", "y")
    assert bare.raw() == ["1,2", "3,4"]
    assert files.read("csv", b"").batches == []
    assert files.read("csv", b"a,b").batches == []
    assert files.read("csv", b"\n\na,b\n1,2\n").blank == {0: 2}


TYPED = [
    ("007", "text"), ("+5", "text"), ("5", "integer"), ("-0", "integer"), ("9223372036854775807", "integer"),
    ("9223372036854775808", "text"), ("1.10", "float"), ("1e3", "float"), ("1e999", "text"), (".5", "text"),
    ("inf", "text"), ("NaN", "text"), ("TRUE", "text"), ("true", "boolean"), (" 1", "text"), ("1_000", "text"),
]  # fmt: skip


@pytest.mark.parametrize(("cell", "word"), TYPED)
def test_types_of_single_values(files, cell, word):
    from filemill.records.views import DTYPES

    content = f"n,v\n1,\n2,{cell}\n".encode()
    reading = files.read("csv", content, needs=frozenset({"v"}))
    assert reading.dtypes("v") == {DTYPES[word]}
    assert reading.views("v")[0] == ("" if word == "text" else None)


def test_an_integer_no_float_can_hold_makes_floats_text(files):
    reading = files.read("csv", b"v\n1.5\n9007199254740993\n", needs=frozenset({"v"}))
    assert reading.views("v") == ["1.5", "9007199254740993"]
    reading = files.read("jsonl", b'{"v":1.50}\n{"v":9007199254740993}\n', needs=frozenset({"v"}))
    assert reading.views("v") == ["1.50", "9007199254740993"]


def test_declared_types_take_more_texts(files):
    reading = files.read("csv", b"v\n007\n+5\n", types={"v": "integer"})
    assert reading.views("v") == [7, 5]
    assert reading.raw() == ["007", "+5"]


def test_mixed_json_is_text_as_written(files):
    content = b'{"v":1.10}\n{"v":"x\\u0041"}\n{"v":null}\n{}\n{"v":{"a": 1}}\n{"v":1e999}\n'
    reading = files.read("jsonl", content, needs=frozenset({"v"}))
    assert reading.views("v") == ["1.10", "xA", None, None, '{"a": 1}', "1e999"]
    assert not reading.bad
