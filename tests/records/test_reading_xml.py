"""XML: which elements are records and what they become, at every chunk size; and all that refuses a file."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import threading
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filemill.formats import ReadRequest, XmlReader
from filemill.model.errors import PermanentError

TEXT = st.text(
    # What XML cannot hold, as text or as a reference.
    st.characters(
        codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"
    ),
    max_size=6,
)
NAMES = st.sampled_from(["a", "b", "c:d", "é", "x-1"])


@st.composite
def elements(draw: Any, depth: int = 2) -> tuple[str, Any]:
    """(what stands in an element, what it becomes)."""
    if depth == 0 or draw(st.booleans()):
        text = draw(TEXT)
        return escape(text), text or None
    members: dict[str, Any] = {}
    said = ""
    for name in draw(st.lists(NAMES, min_size=1, max_size=4)):
        inner, value = draw(elements(depth - 1))
        said += f"<{name}>{inner}</{name}>" if inner or draw(st.booleans()) else f"<{name}/>"
        if name in members:
            there = members[name]
            members[name] = [*there, value] if isinstance(there, list) else [there, value]
        else:
            members[name] = value
    return said, members


@st.composite
def documents(draw: Any) -> tuple[str, list[dict[str, Any]]]:
    said, expected = "", []
    for _ in range(draw(st.integers(0, 5))):
        inner, value = draw(elements())
        attributes = draw(st.dictionaries(st.sampled_from(["id", "n:k"]), TEXT, max_size=2))
        marks = "".join(f" {name}={quoteattr(text)}" for name, text in attributes.items())
        said += f"<item{marks}>{inner}</item>" + draw(
            st.sampled_from(["", "\n", "<other>1</other>"])
        )
        record = {f"@{name}": text for name, text in attributes.items()}
        if isinstance(value, dict):
            record |= value
        elif not record:
            record = {"#text": value}
        elif value is not None and value.strip():
            record["#text"] = value
        expected.append(record)
    return f"<items>{said}</items>", expected


@settings(max_examples=150, deadline=None)
@given(document=documents(), size=st.integers(1, 60))
def test_every_record_is_found_whatever_the_chunks(
    shared_files: Any, document: Any, size: int
) -> None:
    text, expected = document
    for chunk_size in (1 << 20, size):
        reading = shared_files.read(
            "xml", text.encode(), options={"record": "item"}, chunk_size=chunk_size
        )
        assert [json.loads(raw) for raw in reading.raw()] == expected
        assert reading.bad == {}


@settings(max_examples=60, deadline=None)
@given(document=documents(), data=st.data())
def test_a_cut_off_file_is_never_half_read(shared_files: Any, document: Any, data: Any) -> None:
    whole = document[0].encode()
    at = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(PermanentError) as caught:
        shared_files.read("xml", whole[:at], options={"record": "item"}, chunk_size=7)
    assert caught.value.help


def read(files: Any, data: bytes, record: str = "item", **more: Any) -> Any:
    return files.read("xml", data, options={"record": record}, **more)


def test_lines_types_prefixes_and_encodings(shared_files: Any) -> None:
    data = (
        '<?xml version="1.0" encoding="iso-8859-1"?>\n<n:items xmlns:n="urn:x">\n'
        "<n:item><p>007</p><q>7</q><r>1.50</r><s>no</s><t>Zürich</t></n:item>\n\n<n:item/>\n</n:items>"
    ).encode("latin-1")
    reading = read(
        shared_files,
        data,
        types={"p": "integer", "q": "integer", "r": "float", "t": "text"},
        needs=frozenset("q"),
    )
    (bad,) = reading.bad.get(0, [])
    assert (bad.record, bad.line, bad.start, bad.end) == (1, 3, 0, 0), (
        "007 is no number that keeps its text"
    )
    good = read(shared_files, data, types={"q": "integer", "r": "float"})
    assert good.raw() == ['{"p":"007","q":7,"r":1.50,"s":"no","t":"Zürich"}', '{"#text":null}']
    assert [row[3] for row in good.rows()] == [3, 5]
    assert read(shared_files, data, "n:item").raw() == read(shared_files, data).raw()


LAUGHS = b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 10))
LONG_ENTITY = b'<!DOCTYPE x [<!ENTITY a "' + b"a" * 50_000 + b'">]>'
REFUSED = {
    "laughs": (b'<!DOCTYPE x [<!ENTITY l0 "lol">' + LAUGHS + b"]><x><item>&l9;</item></x>", "DOCTYPE"),
    "quadratic": (LONG_ENTITY + b"<x><item>" + b"&a;" * 50_000 + b"</item></x>", "DOCTYPE"),
    "external": (b'<!DOCTYPE x [<!ENTITY a SYSTEM "CANARY">]><x><item>&a;</item></x>', "DOCTYPE"),
    "parameter": (b'<!DOCTYPE x [<!ENTITY % a SYSTEM "CANARY"> %a;]><x><item/></x>', "DOCTYPE"),
    "dtd": (b'<!DOCTYPE x SYSTEM "CANARY"><x><item/></x>', "DOCTYPE"),
    "public": (b'<!DOCTYPE x PUBLIC "-//x//y" "SERVER"><x><item/></x>', "DOCTYPE"),
    "fetched": (b'<!DOCTYPE x [<!ENTITY a SYSTEM "SERVER">]><x><item>&a;</item></x>', "DOCTYPE"),
    "undeclared": (b"<x><item>&a;</item></x>", "undefined entity"),
    "deep": (b"<x><item>" + b"<a>" * 100_000, "nested more than 500"),
    "deep outside": (b"<a>" * 100_000, "nested more than 500"),
    "html": (b"<p>one<br>two</p>", "mismatched tag"),
    "binary": (bytes(range(256)) * 9, "line 1"),
    "tag": (b"<x><item a='" + b"a" * (9 << 20), "max_record"),
    "absent": (b"<x><itme>1</itme></x>", "there is no <item>"),
    "empty": (b"", "cut off"),
    "encoding": (b"<?xml version='1.0' encoding='no-such'?><x/>", "encoding"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_why_and_fetches_nothing(
    shared_files: Any, tmp_path: Any, name: str
) -> None:
    data, why = REFUSED[name]
    canary = tmp_path / "canary"
    canary.write_text("a secret")
    asked: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/x"

        def listen() -> None:
            with contextlib.suppress(TimeoutError):
                asked.append(server.accept())

        listening = threading.Thread(target=listen)
        listening.start()
        data = data.replace(b"CANARY", canary.as_uri().encode()).replace(
            b"SERVER", address.encode()
        )
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(PermanentError) as caught:
            read(shared_files, data, max_record=1 << 20)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        listening.join()
    assert why in caught.value.message, caught.value.message
    assert caught.value.help
    assert "secret" not in str(caught.value)
    assert asked == []
    assert grown < 100_000, "kilobytes"


def test_a_record_that_is_too_long_is_bad_and_not_held(shared_files: Any) -> None:
    data = b"<x><item>1</item><item>" + b"<a>text</a>" * 100_000 + b"</item><item>3</item></x>"
    reading = read(shared_files, data, max_record=1_000, chunk_size=4_096)
    assert reading.raw() == ['{"#text":"1"}', '{"#text":"3"}']
    ((bad,),) = reading.bad.values()
    assert (bad.record, bad.error) == (2, "TooLong")


def test_records_of_a_large_file_do_not_pile_up(shared_files: Any) -> None:
    data = b"<x>" + b"<item><a>some text</a><b>2</b></item>\n" * 400_000 + b"</x>"
    request = ReadRequest(
        step="read",
        orders=shared_files.orders([data], ()),
        report_bad=lambda *_: None,
        count_blank=lambda *_: None,
        count_records=lambda *_: None,
        chunk_size=1 << 20,
        max_record=1 << 20,
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(len(batch) for batch in XmlReader(request, record="item").read()) == 400_000
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 100_000, f"{grown} kB"
