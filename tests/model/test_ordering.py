"""The keys within which files are processed in order."""

import pytest

from filemill.model.files import FileRef
from filemill.model.ordering import OrderKey
from filemill.model.plan import PipelinePlan
from filemill.model.tags import parse_tag_expression
from filemill.routing.ordering import order_key

FILE = FileRef("f1", b"/c", b"acme/2026/a.csv", 1, "inbox", 0)
TAGS = ("partner:acme", "partner:b:c", "orders")


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("{tag:partner}", "acme"),
        ("{source}/{dir}", "inbox/acme"),
        ("{folder}", "acme/2026"),
        ("x {name} y", "x a.csv y"),
        ("{tag:nobody}", ""),
        ("is {tag:nobody}", ""),
    ],
)
def test_a_key_is_what_the_template_gives(template, key):
    assert OrderKey(template).of(FILE, TAGS) == key


def test_bytes_that_are_no_text_make_a_key_of_their_own():
    keys = {
        OrderKey("{dir}").of(FileRef("f", b"", name, 1, "s", 0), ())
        for name in (b"\xff/a", b"\xfe/a")
    }
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("partner", "the same for every file"),
        ("{partner}", "no placeholder"),
        ("{nam}", "did you mean `{name}`"),
        ("{tag:}", "no placeholder"),
        ("{name", "the same for every file"),
        ("{name} }", "without its partner"),
    ],
)
def test_what_is_no_template_is_said(template, said):
    with pytest.raises(ValueError, match=said):
        OrderKey(template)


def test_who_gives_no_text_waits_for_nobody():
    def plan(template):
        return PipelinePlan("p", parse_tag_expression("orders"), (), order_by=template)

    assert order_key(plan(""), FILE, TAGS) == ""
    assert order_key(plan("{tag:nobody}"), FILE, TAGS) == "f1"
    assert order_key(plan("{tag:partner}"), FILE, TAGS) == "acme"
