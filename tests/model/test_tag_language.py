"""Tags and tag expressions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filemill.model.tags import (
    RESERVED,
    TagSyntaxError,
    check_tag,
    has_tag,
    parse_tag_expression,
    quote_tag_part,
)


@pytest.mark.parametrize(
    ("text", "tags", "expected"),
    [
        ("orders", {"orders"}, True),
        ("orders", {"order"}, False),
        ("not orders", set(), True),
        ("orders and not partner:test", {"orders", "partner:acme"}, True),
        ("orders and not partner:test", {"orders", "partner:test"}, False),
        ("a or b and c", {"a"}, True),  # and binds tighter than or
        ("a or b and c", {"b"}, False),
        ("(a or b) and c", {"a"}, False),
        ("(a or b) and c", {"a", "c"}, True),
        ("not a and b", {"b"}, True),  # not binds tighter than and
        ("not (a and b)", {"b"}, True),
        ("not not a", {"a"}, True),
        ("partner:*", {"partner:acme"}, True),
        ("partner:*", {"partners"}, False),
        ("not partner:*", {"from:upload"}, True),
        ("*", {"anything"}, True),
        ("*", set(), False),
        ("a%20b.c-d_e", {"a%20b.c-d_e"}, True),
    ],
)
def test_expressions(text, tags, expected):
    assert parse_tag_expression(text).matches(tags) is expected


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("", 0),
        ("   ", 3),
        ("a and", 5),
        ("and a", 0),
        ("a b", 2),
        ("a or or b", 5),
        ("(a", 2),
        ("a)", 1),
        ("()", 1),
        ("a not b", 2),
        ("not", 3),
        ("Orders", 0),
        ("a and oRders", 7),
        ("a*b", 1),
        ("else", 0),
        ("a and partner:{dir}", 14),
        ("a::b", 0),
    ],
)
def test_errors_point_at_what_does_not_fit(text, offset):
    with pytest.raises(TagSyntaxError) as caught:
        parse_tag_expression(text)
    assert caught.value.offset == offset
    assert caught.value.message


def test_names_come_in_reading_order():
    assert list(parse_tag_expression("b and not (a or c:*) or b").names()) == ["b", "a", "c:*", "b"]


@pytest.mark.parametrize("tag", ["orders", "partner:acme", "a:b:c", "1.10", "x%2fy", "-"])
def test_tags(tag):
    assert check_tag(tag) == tag


@pytest.mark.parametrize(
    "tag", ["", "Orders", "a b", "a:", ":a", "a::b", "é", "a\n", *sorted(RESERVED)]
)
def test_no_tags(tag):
    with pytest.raises(TagSyntaxError):
        check_tag(tag)


@given(st.one_of(st.text(min_size=1), st.binary(min_size=1)))
def test_any_name_can_be_made_a_tag_part(name):
    try:
        raw = name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a pair: no file system name
        return
    part = quote_tag_part(raw)
    assert check_tag(f"dir:{part}")
    assert ":" not in part


def test_quoting_shows_what_it_did():
    assert quote_tag_part("Acme Ltd") == "acme%20ltd"
    assert quote_tag_part("ü") == "%c3%bc"
    assert quote_tag_part("100%") == "100%25"


_tags = st.sampled_from(["a", "b", "c", "p:x", "p:y"])
_terms = st.recursive(
    st.sampled_from(["a", "b", "c", "p:x", "p:*"]),
    lambda inner: st.one_of(
        inner.map(lambda t: f"not {t}"),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
    ),
    max_leaves=8,
)


@given(_terms, st.frozensets(_tags))
def test_expressions_mean_what_python_means_by_them(text, tags):
    words = text.replace("(", " ( ").replace(")", " ) ").split()
    python = " ".join(
        word if word in {"and", "or", "not", "(", ")"} else str(has_tag(word, tags))
        for word in words
    )
    assert parse_tag_expression(text).matches(tags) is eval(python)
