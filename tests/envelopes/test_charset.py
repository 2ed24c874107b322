"""Text of any encoding: the same characters in UTF-8, or an error with the byte."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filemill.envelopes.charset import SAMPLE, Undecodable, canonical, decode, find, settle

TEXT = "id,città\n1,Zürich €\n2,Łódź\n"


def pieces(data: bytes, size: int = 7):
    def reopen() -> Iterator[bytes]:
        return (data[at : at + size] for at in range(0, len(data), size))

    return reopen


def found(data: bytes, *candidates: str) -> tuple[str, str]:
    """(encoding, text) as detected."""
    encoding, skip = find(pieces(data), data[:SAMPLE], candidates)
    return encoding, b"".join(decode(pieces(data), encoding, skip)).decode()


def declared(data: bytes, encoding: str) -> str:
    name, skip = settle(canonical(encoding), data[:SAMPLE])
    return b"".join(decode(pieces(data), name, skip)).decode()


@pytest.mark.parametrize("mark", [True, False])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_unicode_is_seen_with_and_without_its_mark(encoding: str, mark: bool) -> None:
    data = TEXT.encode(encoding)
    if mark:
        data = "\ufeff".encode(encoding) + data
    assert found(data) == (encoding, TEXT)
    assert declared(data, encoding) == TEXT
    family = encoding.rpartition("-")[0] if encoding != "utf-8" else "utf-8-sig"
    if mark or not encoding.endswith("be"):
        assert declared(data, family) == TEXT


def test_the_order_of_detection() -> None:
    old = TEXT.replace("Łódź", "x").encode("cp1252")
    assert found(old, "ascii", "cp1252", "latin-1")[0] == "cp1252"
    assert found(TEXT.encode(), "cp1252")[0] == "utf-8", "what is UTF-8 is no candidate's"
    japanese = ("日本語のテキスト、漢字かな交じり文。" * 30).encode("shift_jis")
    assert found(japanese)[1].startswith("日本語"), "guessed without a candidate"
    assert found(b"")[0] == "utf-8"


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(st.characters(codec="utf-8"), max_size=60),
    encoding=st.sampled_from(["utf-8", "utf-16", "utf-16-be", "utf-32", "gb18030", "utf-7"]),
    size=st.integers(1, 9),
)
def test_pieces_make_no_difference(text: str, encoding: str, size: int) -> None:
    if text.startswith("\ufeff"):
        return
    data = text.encode(encoding)
    name, skip = settle(canonical(encoding), data)
    made = b"".join(decode(pieces(data, max(size, skip)), name, skip))
    assert made.decode() == text


@pytest.mark.parametrize(
    ("encoding", "before", "bad"),
    [
        ("utf-8", "é€😀" * 9, b"\xff"),
        ("utf-8", "é" * 20, b"\xc3("),
        ("ascii", "abc" * 30, b"\x80"),
        ("cp1252", "é" * 11, b"\x81"),
        ("utf-16-le", "é€" * 9, b"\x00\xdc"),
        ("shift_jis", "日本" * 9, b"\xff"),
        ("gb18030", "中文" * 9, b"\xff"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_a_byte_that_does_not_decode_is_named(
    encoding: str, before: str, bad: bytes, size: int
) -> None:
    good = before.encode(encoding)
    data = good + bad + "more".encode(encoding)
    with pytest.raises(Undecodable) as caught:
        list(decode(pieces(data, size), encoding))
    place = int(re.search(r"byte ([\d,]+)", caught.value.message)[1].replace(",", ""))
    assert place == len(good)
    assert "\ufffd" not in caught.value.message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "shift_jis"])
def test_a_file_that_ends_within_a_character(encoding: str) -> None:
    data = "日本".encode(encoding)[:-1]
    with pytest.raises(Undecodable, match="ends within a character"):
        list(decode(pieces(data), encoding))


def test_a_mark_that_contradicts_what_is_declared() -> None:
    with pytest.raises(Undecodable, match="mark of utf-8, but cp1252"):
        declared(codecs.BOM_UTF8 + b"abc", "cp1252")


@pytest.mark.parametrize("name", ["cp12522", "rot13", "hex", "base64", "", "undefined"])
def test_what_is_no_text_encoding(name: str) -> None:
    with pytest.raises(ValueError, match="no text encoding"):
        canonical(name)
