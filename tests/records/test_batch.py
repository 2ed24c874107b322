"""What a batch does to its records: as little as it can."""

from __future__ import annotations

import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filemill.formats import encode, header_line, suffix
from filemill.model.errors import PermanentError
from filemill.model.tags import parse_tag_expression
from filemill.records.layout import Dialect, Hints, widen
from filemill.records.rows import tagged

CSV = b'id,code,amount,note\r\n1,007,1.10,"a,""b"""\r\n2,1e3,,x\r\n3,TRUE,-5,"y"\r\n'
JSONL = (
    b'{"id": 1, "n": 1.10, "s": "\\u00e9", "o": {"k" : 1}}\n{"id":2}\n{}\n{"s":null, "n":1e3 }\n'
)


def texts(batch, kind="", **more):
    return encode(batch, kind or batch.layout.format, **more).to_list()


def bools(*values):
    return pl.Series(values, dtype=pl.Boolean)


@pytest.fixture
def csv(files):
    return files.read("csv", CSV, needs=frozenset({"amount"})).batch


@pytest.fixture
def jsonl(files):
    return files.read("jsonl", JSONL, needs=frozenset({"n"})).batch


def test_a_new_csv_column_stands_at_the_end(csv):
    made = csv.with_column("big", csv.typed(["amount"]).to_series() > 0)
    assert texts(made) == ['1,007,1.10,"a,""b""",true\r', "2,1e3,,x,\r", '3,TRUE,-5,"y",false\r']
    assert header_line(made.layout) == "id,code,amount,note,big\r"
    wide = ("id", "code", "amount", "note", "other", "big")
    assert texts(made, columns=wide)[0] == '1,007,1.10,"a,""b""",,true\r'


def test_a_guarded_column_is_an_empty_cell_or_no_key(csv, jsonl):
    some = bools(True, False, None)
    made = csv.with_column("t", pl.Series(["a,b", "c", "d"]), some)
    assert texts(made) == ['1,007,1.10,"a,""b""","a,b"\r', "2,1e3,,x,\r", '3,TRUE,-5,"y",\r']
    made = jsonl.with_column("t", pl.Series([1, None, 3, None]), bools(True, True, True, False))
    assert texts(made) == [
        '{"id": 1, "n": 1.10, "s": "\\u00e9", "o": {"k" : 1},"t":1}',
        '{"id":2,"t":null}',
        '{"t":3}',
        '{"s":null, "n":1e3 }',
    ]
    again = made.with_column("t", pl.Series(["x"] * 4), bools(False, True, False, True))
    assert texts(again)[1:] == ['{"id":2,"t":"x"}', '{"t":3}', '{"s":null, "n":1e3 ,"t":"x"}']


def test_a_replaced_column_leaves_the_others_their_text(csv, jsonl):
    made = csv.with_column("code", pl.Series(["x", 'q"', "z"]))
    assert texts(made) == [
        '1,x,1.10,"a,""b"""\r',
        '2,"q""",,x\r',
        '3,z,-5,"y"\r',
    ]
    made = csv.with_column("amount", pl.Series([9, 9, 9]), bools(False, True, False))
    assert texts(made) == ['1,007,1.10,"a,""b"""\r', "2,1e3,9,x\r", '3,TRUE,-5,"y"\r']
    assert made.typed(["amount"]).to_series().to_list() == [1.1, 9.0, -5.0]
    made = jsonl.with_column("s", pl.Series([1, 2, 3, 4]))
    assert texts(made) == [
        '{"id":1,"n":1.10,"s":1,"o":{"k" : 1}}',
        '{"id":2,"s":2}',
        '{"s":3}',
        '{"s":4,"n":1e3}',
    ]


def test_a_key_written_with_escapes_is_found(files):
    batch = files.read("jsonl", b'{"\\u0061":1}\n{"b":2}\n').batch
    assert texts(batch.with_column("a", pl.Series([5, 6]))) == ['{"a":5}', '{"b":2,"a":6}']


def test_select_keeps_exact_cells(csv, jsonl):
    made = csv.select([("note", None), ("code", None), ("twice", pl.Series([2, 4, 6]))])
    assert texts(made) == ['"a,""b""",007,2\r', "x,1e3,4\r", '"y",TRUE,6\r']
    assert made.columns() == ("note", "code", "twice")
    assert header_line(made.layout) == "note,code,twice\r"
    made = jsonl.select([("o", None), ("n", None), ("x", pl.Series([True] * 4))])
    assert texts(made) == [
        '{"o":{"k" : 1},"n":1.10,"x":true}',
        '{"x":true}',
        '{"x":true}',
        '{"n":1e3,"x":true}',
    ]
    with pytest.raises(PermanentError, match="`cod`"):
        csv.select([("cod", None)])


def test_a_lonely_empty_cell_is_no_blank_line(csv):
    made = csv.select([("amount", None)])
    assert texts(made) == ["1.10\r", '""\r', "-5\r"]


def test_other_formats(files, csv, jsonl):
    assert texts(csv, "jsonl") == [
        '{"id":"1","code":"007","amount":1.10,"note":"a,\\"b\\""}\r',
        '{"id":"2","code":"1e3","amount":null,"note":"x"}\r',
        '{"id":"3","code":"TRUE","amount":-5,"note":"y"}\r',
    ]
    names = ("id", "n", "s", "o")
    assert texts(jsonl, "csv", columns=names) == ['1,1.10,é,"{""k"" : 1}"', "2,,,", ",,,", ",1e3,,"]
    assert texts(jsonl, "csv") == texts(jsonl, "csv", columns=jsonl.keys())
    lines = files.read("lines", b'a"b\nc\n').batch
    assert texts(lines, "jsonl") == ['{"line":"a\\"b"}', '{"line":"c"}']
    assert texts(lines.with_column("n", pl.Series([1, 2])), "jsonl")[1] == '{"line":"c","n":2}'
    assert texts(lines.with_column("n", pl.Series([1, 2]))) == ['a"b', "c"]
    assert texts(lines.with_column("line", pl.Series(["x", "y"]))) == ["x", "y"]
    assert texts(csv, "lines") == texts(csv)
    semicolons = Dialect(";", '"', crlf=False)
    assert texts(csv, dialect=semicolons)[0] == '1;007;1.10;"a,""b"""'
    assert header_line(csv.layout, dialect=semicolons) == "id;code;amount;note"
    with pytest.raises(PermanentError, match="quoting is off"):
        texts(csv, dialect=Dialect(",", None))
    assert [suffix(f) for f in ("csv", "jsonl", "lines")] == [".csv", ".jsonl", ""]


def test_masks_of_record_and_file_tags(files):
    tags = [("orders", "partner:acme"), ("test",)]
    batch = files.read("lines", b"a\nb\n", b"c\n", tags=tags).batch
    batch = batch.with_tag("vip", bools(True, None, True)).with_tag(
        "vip", bools(False, False, False)
    )

    def mask(text):
        return batch.mask(parse_tag_expression(text)).to_list()

    assert mask("vip") == [True, False, True]
    assert mask("vip and not test") == [True, False, False]
    assert mask("partner:*") == [True, True, False]
    assert mask("orders or vip") == [True, True, True]
    assert mask("nothing") == [False] * 3
    assert mask("not nothing") == [True] * 3
    assert batch.split_files() == [(0, 0, 2), (1, 2, 3)]
    assert batch.where(batch.mask(parse_tag_expression("test"))).split_files() == [(1, 0, 1)]


def test_rows_that_nobody_changed_keep_their_text(csv, jsonl):
    for batch in (csv, jsonl):
        rows = batch.rows()
        assert texts(batch.with_rows(rows, range(len(rows)))) == texts(batch)
    assert jsonl.rows()[0] == {"id": 1, "n": 1.1, "s": "é", "o": {"k": 1}}
    assert csv.rows()[1] == {"id": 2, "code": "1e3", "amount": None, "note": "x"}


def test_changed_rows_keep_their_other_cells(csv, jsonl):
    rows = csv.rows()
    rows[0] |= {"id": 10, "new": None}
    rows[2]["amount"] = -5
    made = tagged(csv.with_rows([rows[0], rows[0], rows[2]], [0, 0, 2]), [("t",), (), ("t",)])
    assert made.columns() == ("id", "code", "amount", "note", "new")
    assert texts(made) == [
        '10,007,1.10,"a,""b""",\r',
        '10,007,1.10,"a,""b""",\r',
        '3,TRUE,-5,"y",\r',
    ]
    assert made.mask(parse_tag_expression("t")).to_list() == [True, False, True]
    assert made.frame.get_column("_record").to_list() == [1, 1, 3]
    rows = jsonl.rows()
    rows[0]["id"] = 1.0
    rows[1]["new"] = "x"
    made = jsonl.with_rows(rows, range(4))
    assert texts(made)[:3] == [
        '{"id":1.0,"n":1.10,"s":"\\u00e9","o":{"k" : 1}}',
        '{"id":2,"new":"x"}',
        "{}",
    ]


def test_rows_may_lose_columns_and_lines_may_gain_some(files, csv):
    rows = [{k: v for k, v in row.items() if k != "code"} for row in csv.rows()]
    made = csv.with_rows(rows, range(3))
    assert (made.columns(), texts(made)[0]) == (("id", "amount", "note"), '1,1.10,"a,""b"""\r')
    lines = files.read("lines", b"a\nb\n").batch
    made = lines.with_rows([{"line": "a", "n": 1}, {"line": "b"}], [0, 1])
    assert (made.layout.format, made.layout.read_as) == ("jsonl", "lines")
    assert texts(made, "lines") == ["a", "b"]
    assert texts(made) == ['{"line":"a","n":1}', '{"line":"b"}']


@pytest.mark.parametrize("value", [float("inf"), float("nan"), object(), [float("nan")]])
def test_what_no_format_can_write_is_refused(csv, value):
    rows = csv.rows()
    rows[1]["x"] = value
    with pytest.raises(PermanentError, match="`x`"):
        csv.with_rows(rows, range(3))


def test_infinite_results_are_refused(csv):
    with pytest.raises(PermanentError, match="inf or NaN"):
        csv.with_column("x", pl.Series([1.0, float("inf"), 2.0]))


def test_views_on_demand_and_missing_columns(csv):
    assert csv.typed(["id", "note"]).rows() == [(1, 'a,"b"'), (2, "x"), (3, "y")]
    with pytest.raises(PermanentError, match="`amonut` is missing; the header has `amount`"):
        csv.typed(["amonut"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None)
@given(
    pairs=st.lists(
        st.tuples(
            st.dictionaries(st.text("ab", max_size=2), JSON, max_size=3),
            st.dictionaries(st.text("ab", max_size=2), JSON, max_size=3),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_rewriting_says_what_the_rows_say(shared_files, pairs):
    content = "".join(json.dumps(old) + "\n" for old, _ in pairs).encode()
    batch = shared_files.read("jsonl", content).batch
    made = batch.with_rows([new for _, new in pairs], range(len(pairs)))
    assert [json.loads(t) for t in texts(made)] == [new for _, new in pairs]
    assert made.rows() == [new for _, new in pairs]


def test_hints_merge_to_the_wider():
    one = Hints({0: {"a": "integer"}}, {"s": {0: ("a", "b")}}, {"f": {0: ("x",)}})
    other = Hints(
        {0: {"a": "float"}, 1: {"b": "text"}}, {"s": {0: ("b", "c"), 1: ("d",)}}, {"f": {1: ("y",)}}
    )
    assert one.merge(other) == Hints(
        {0: {"a": "float"}, 1: {"b": "text"}},
        {"s": {0: ("b", "c", "a"), 1: ("d",)}},
        {"f": {0: ("x",), 1: ("y",)}},
    )
    assert widen("boolean", "integer") == "text"
    assert widen("", "boolean") == "boolean"
