"""JSON arrays and objects: which records are found and where, what is bad, what refuses the file."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filemill.model.errors import PermanentError

SPACES = st.text(" \t\r\n", max_size=3)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


@st.composite
def documents(draw: Any) -> tuple[bytes, list[Any], tuple[str, ...]]:
    """A document with an array somewhere in it, what the array holds, and the way to it."""
    elements = draw(st.lists(VALUES, max_size=6))
    said = []
    for element in elements:
        indent = draw(st.sampled_from([None, 1]))
        said.append(json.dumps(element, ensure_ascii=draw(st.booleans()), indent=indent))
    gaps = draw(st.lists(SPACES, min_size=len(said) + 2, max_size=len(said) + 2))
    inner = gaps[0].join(["", ""]) + "".join(
        f"{gaps[i]}{text}{gaps[i + 1]}{',' if i + 1 < len(said) else ''}"
        for i, text in enumerate(said)
    )
    text = f"[{inner}]"
    path = tuple(draw(st.lists(st.text(min_size=1, max_size=3), max_size=2)))
    for key in reversed(path):
        members = [f"{json.dumps(key)}{draw(SPACES)}:{draw(SPACES)}{text}"]
        others = draw(
            st.dictionaries(
                st.text(max_size=3).filter(lambda k, key=key: k != key), VALUES, max_size=2
            )
        )
        for name, value in others.items():
            at = draw(st.integers(0, len(members)))
            members.insert(at, f"{json.dumps(name)}:{json.dumps(value)}")
        text = "{" + ",".join(members) + "}"
    return (draw(SPACES) + text + draw(SPACES)).encode(), elements, path


def story(reading: Any) -> Any:
    """Everything a reading tells, however it is cut into batches."""
    texts = [
        (text, record)
        for batch in reading.batches
        for text, record in zip(
            batch.frame.get_column("_text" if "_text" in batch.frame.columns else "_raw"),
            batch.frame.get_column("_record"),
            strict=True,
        )
    ]
    return texts, reading.rows(), reading.bad, reading.records, reading.views("a")


@settings(max_examples=60, deadline=None)
@given(document=documents(), size=st.integers(1, 40))
@example(document=(b'[{"a":"\\\\"},{"a":"\\""}]', [{"a": "\\"}, {"a": '"'}], ()), size=1)
def test_the_objects_of_an_array_are_found_whatever_the_chunks(
    shared_files: Any, document: tuple[bytes, list[Any], tuple[str, ...]], size: int
) -> None:
    data, elements, path = document
    options = {"path": path}
    whole = shared_files.read("json", data, options=options, needs=frozenset(["a"]))
    parts = shared_files.read(
        "json", data, options=options, chunk_size=size, needs=frozenset(["a"])
    )
    assert story(parts) == story(whole)
    texts, rows, bad, records, _ = story(whole)
    objects = [element for element in elements if isinstance(element, dict)]
    assert [json.loads(text) for text, _ in texts] == objects
    assert sum(records.values()) == len(elements)
    assert [each.record for each in bad.get(0, [])] == [
        i for i, element in enumerate(elements, 1) if not isinstance(element, dict)
    ]
    for raw, _, _, line, start in rows:
        assert data[start : start + len(raw.encode())] == raw.encode()
        assert line == data.count(b"\n", 0, start) + 1
    assert all("\n" not in text and "\r" not in text for text, _ in texts)


@settings(max_examples=60, deadline=None)
@given(document=documents(), size=st.integers(1, 40), data=st.data())
def test_a_cut_off_file_is_never_half_read(
    shared_files: Any,
    document: tuple[bytes, list[Any], tuple[str, ...]],
    size: int,
    data: st.DataObject,
) -> None:
    whole, _, path = document
    at = data.draw(st.integers(0, len(whole.rstrip()) - 1))
    with pytest.raises(PermanentError) as caught:
        shared_files.read("json", whole[:at], options={"path": path}, chunk_size=size)
    assert caught.value.help


@settings(max_examples=100, deadline=None)
@given(
    data=st.binary(max_size=60)
    | st.text('[]{}",:\\u0123456789eE+-.truefalsn \n\t', max_size=60).map(str.encode),
    size=st.integers(1, 30),
    path=st.sampled_from([(), ("a",)]),
)
def test_anything_is_read_or_refused_alike_in_any_chunks(
    shared_files: Any, data: bytes, size: int, path: tuple[str, ...]
) -> None:
    def read(**more: Any) -> Any:
        try:
            return story(
                shared_files.read("json", data, options={"path": path}, max_record=20, **more)
            )
        except PermanentError as error:
            return str(error)

    assert read(chunk_size=size) == read()


def test_white_space_goes_and_nothing_else_where_a_record_spans_lines(files: Any) -> None:
    reading = files.read(
        "json", b'[\n  {\n    "a": 1.10,\r\n    "s": "x  \\n y",\n    "a": 1e3 }\n]\n'
    )
    (row,) = reading.batch.frame.select("_raw", "_text", "_line", "_start").rows()
    assert row[0].startswith('{\n    "a": 1.10,\r\n')
    assert row[1:] == ('{"a":1.10,"s":"x  \\n y","a":1e3}', 2, 4)


def test_big_arrays_are_found_natively_and_by_pattern_alike(files: Any) -> None:
    plain = [{"id": i, "text": "é" * (i % 7), "list": [{"id": i}] * (i % 3)} for i in range(3_000)]
    for separators in (None, (",", ":")):
        for indent in (None, 2):
            data = json.dumps(plain, separators=separators, indent=indent).encode()
            found = files.read("json", data, needs=frozenset(["id"]))
            assert found.views("id") == list(range(3_000))
            raw, _, _, line, start = found.rows()[-1]
            assert data[start:].startswith(raw.encode())
            assert line == data.count(b"\n", 0, start) + 1
            # A bad element in the midst: the others are found, one by one.
            at = data.index(b"{", len(data) // 2)
            at = data.rindex(b'"text"', 0, at)
            broken = data[:at] + b"bad" + data[at:]
            rest = files.read("json", broken, needs=frozenset(["id"]))
            assert len(rest.bad[0]) == 1
            assert len(rest.views("id")) == 2_999


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "cut off at byte 0"),
        (b'[{"a":1}', "the array is cut off at byte 8"),
        (b'{"a":[1', "the object is cut off at byte 7"),
        (b'[{"a":1},]', "byte 9 (line 1): an element is missing"),
        (b'[{"a":1}\n{"b":1}]', "byte 9 (line 2): `,` or `]` is missing"),
        (b'{"a":1}\n{"b":2}\n', "byte 8 (line 2): more stands behind"),
        (b"[}", "an element is missing"),
        (b"5", "neither an array of objects nor an object"),
        (b"\xff\xfe[\0", "UTF-16"),
    ],
)
def test_what_refuses_a_file(files: Any, data: bytes, says: str) -> None:
    with pytest.raises(PermanentError) as caught:
        files.read("json", data)
    assert says in caught.value.message
    assert caught.value.help


@pytest.mark.parametrize(
    ("data", "says", "help_"),
    [
        (b'{"data":{"item":[]}}', "no `data.items`", "did you mean `item`?"),
        (b'{"data":[]}', "`data` is no object", "keys"),
        (b"[]", "the file is no object", "leave it out"),
        (b'{"data":{"items":5}}', "neither an array", ""),
        (b'{"data":{"items":[],"items":[]}}', "`data.items` is there twice", ""),
        (b'{"data":{"items":[]},"data":1}', "`data` is there twice", ""),
        (b'{"data":{"items":[]} x}', "byte 21", ""),
        (b'{"data":{"items":[]}', "cut off at byte 20", "sender"),
        (b'{"x":' + b'"' + b"y" * 5000 + b'"}', "more than max_record", ""),
    ],
)
def test_the_way_to_the_array_has_to_be_there(
    files: Any, data: bytes, says: str, help_: str
) -> None:
    with pytest.raises(PermanentError) as caught:
        files.read("json", data, options={"path": ("data", "items")}, max_record=1024)
    assert says in caught.value.message
    assert help_ in caught.value.help


def test_what_is_no_object_is_a_bad_record_with_its_place(files: Any) -> None:
    data = b'\xef\xbb\xbf[{"a":1},\n 5, "x",\n{a:1}, NaN, {"b":"\xff"}, {"c":"\\ud800"}]'
    reading = files.read("json", data)
    assert [(b.error, b.record, b.line, data[b.start : b.end]) for b in reading.bad[0]] == [
        ("Json", 2, 2, b"5"),
        ("Json", 3, 2, b'"x"'),
        ("Json", 4, 3, b"{a:1}"),
        ("Json", 5, 3, b"NaN"),
        ("Encoding", 6, 3, b'{"b":"\xff"}'),
        ("Json", 7, 3, b'{"c":"\\ud800"}'),
    ]
    assert reading.raw() == ['{"a":1}']


@pytest.mark.parametrize("chunk_size", [100, 16 << 20])
def test_hostile_elements_are_bad_and_let_go(files: Any, chunk_size: int) -> None:
    deep = b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    long = b'{"a":"' + b"\\\\" * 20_000 + b'"}'
    data = b"[" + b",".join([deep, b'{"a":1e999}', long, b'{"a":2}']) + b"]"
    reading = files.read(
        "json", data, chunk_size=chunk_size, max_record=30_000, needs=frozenset(["a"])
    )
    assert [(b.record, b.error) for b in reading.bad[0]] == [(1, "Json"), (3, "TooLong")]
    assert "500 levels" in reading.bad[0][0].message
    assert reading.raw() == ['{"a":1e999}', '{"a":2}']


def test_small_files_travel_together_and_keep_their_own_numbers(files: Any) -> None:
    reading = files.read("json", b'[{"a":1},3]', b"[]", b'[{"a":"x"},{"a":2}]', b'{"a":3}')
    assert [(row[1], row[2], row[0]) for row in reading.rows()] == [
        (0, 1, '{"a":1}'),
        (2, 1, '{"a":"x"}'),
        (2, 2, '{"a":2}'),
        (3, 1, '{"a":3}'),
    ]
    assert reading.records == {0: 2, 2: 2, 3: 1}
    assert (
        len(reading.batches) == 2
    )  # one object is no array: another way of writing it as received
