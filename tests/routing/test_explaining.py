"""From tags to pipelines, and the explanation of it all."""

from __future__ import annotations

import os

import msgspec
import pytest

from filemill.model.files import FileRef
from filemill.model.plan import PipelinePlan, Plan, ScannerPlan, SourcePlan, TagRulePlan
from filemill.model.tags import parse_tag_expression
from filemill.routing.explaining import Explanation, PipelineAnswer, Quoted, explain, why_not
from filemill.routing.matching import pipelines_for


def pipeline(name, when, **more):
    return PipelinePlan(name, parse_tag_expression(when), (), **more)


def plan(*pipelines, **more):
    return Plan(1, "/", "/d", pipelines=pipelines, **more)


def test_pipelines_match_in_plan_order():
    some = plan(pipeline("b", "x or y"), pipeline("a", "x"), pipeline("c", "z"))
    routed = pipelines_for({"x"}, some)
    assert ([p.name for p in routed.pipelines], routed.held) == (["b", "a"], "")


def test_no_pipeline_is_unrouted():
    assert pipelines_for({"q"}, plan(pipeline("a", "x"))).held == "unrouted"
    assert pipelines_for((), plan()).held == "unrouted"


def test_exclusive_pipelines_share_with_nobody():
    some = plan(pipeline("a", "x", exclusive=True), pipeline("b", "y"), pipeline("c", "z"))
    assert [p.name for p in pipelines_for({"x"}, some).pipelines] == ["a"]
    assert [p.name for p in pipelines_for({"y", "z"}, some).pipelines] == ["b", "c"]
    routed = pipelines_for({"x", "y", "z"}, some)
    assert routed.pipelines == ()
    assert routed.held == "pipeline a is exclusive, but b, c matches too"
    both = plan(pipeline("a", "x", exclusive=True), pipeline("b", "x", exclusive=True))
    assert pipelines_for({"x"}, both).held


@pytest.mark.parametrize(
    ("when", "tags", "why"),
    [
        ("orders and not partner:test", {"partner:acme"}, "no tag orders"),
        ("orders and not partner:test", {"orders", "partner:test"}, "has tag partner:test"),
        ("a or b", set(), "no tag a or b"),
        ("a and b", set(), "no tag a, b"),
        ("a and b", {"a"}, "no tag b"),
        ("partner:* and x", {"x"}, "no tag partner:*"),
        ("not partner:*", {"partner:a", "partner:b"}, "has tag partner:*"),
    ],
)
def test_why_not(when, tags, why):
    expression = parse_tag_expression(when)
    assert not expression.matches(tags)
    assert why_not(expression, frozenset(tags)) == why


@pytest.fixture
def example(tmp_path):
    """The README's configuration and a file dropped under it."""
    path = tmp_path / "content"
    path.write_bytes(b"order_id,amount\n1,2\n")
    file = FileRef(
        file="f1",
        path=os.fsencode(path),
        relative=b"Acme Ltd/orders-0413.csv",
        size=20,
        source="partners",
        arrived_ns=0,
        tags=("partner:acme%20ltd",),
    )
    rules = (
        TagRulePlan("orders", name=("*.csv",), header=("order_id",)),
        TagRulePlan("photo", mime=("image/*",)),
        TagRulePlan("log", name=("*.log*",)),
    )
    sources = (SourcePlan("partners", "folder", {}, ("partner:{dir}",)),)
    pipelines = (
        pipeline("orders", "orders and not partner:test"),
        pipeline("photos", "photo", exclusive=True),
    )
    return file, plan(*pipelines, tags=rules, sources=sources)


def test_everything_about_one_file(example):
    file, some = example
    explanation = explain(file, some)
    assert [(hit.tag, hit.rule, hit.why) for hit in explanation.tags()] == [
        ("partner:acme%20ltd", "source", "source partners (dir)"),
        ("orders", "orders", "name *.csv, header has order_id"),
    ]
    assert [(rule.tag, rule.holds, rule.why) for rule in explanation.rules] == [
        ("orders", True, "name *.csv, header has order_id"),
        ("photo", False, "mime is text/csv, not image/*"),
        ("log", False, "name is orders-0413.csv, not *.log*"),
    ]
    assert explanation.pipelines == (
        PipelineAnswer("orders", "orders and not partner:test", matches=True),
        PipelineAnswer("photos", "photo", matches=False, why="no tag photo", exclusive=True),
    )
    assert explanation.quoted == (Quoted("Acme Ltd", "partner:acme%20ltd"),)
    assert (explanation.held, explanation.runs()) == ("", ("orders",))


def test_what_would_be_held_says_why(example):
    file, some = example
    nobody = msgspec.structs.replace(some, pipelines=(pipeline("photos", "photo"),))
    explanation = explain(file, nobody)
    assert (explanation.held, explanation.runs()) == ("unrouted", ())
    two = msgspec.structs.replace(
        some, pipelines=(pipeline("a", "orders", exclusive=True), pipeline("b", "orders"))
    )
    assert explain(file, two).held.startswith("pipeline a is exclusive")


def test_the_scanners_it_would_have_to_pass_are_named(example):
    file, some = example
    assert explain(file, some).scanners == ()
    scanned = msgspec.structs.replace(some, scan=(ScannerPlan("clamd"), ScannerPlan("yara")))
    assert explain(file, scanned).scanners == ("clamd", "yara")
    trusted = SourcePlan(file.source, "folder", {}, scan=False)
    assert explain(file, msgspec.structs.replace(scanned, sources=(trusted,))).scanners == ()


def test_an_unreadable_file_is_explained_as_that(example):
    file, some = example
    os.unlink(file.path)
    explanation = explain(file, some)
    assert "FileNotFoundError" in explanation.facts.error
    assert (explanation.runs(), explanation.rules) == ((), ())


def test_an_explanation_travels_between_processes(example):
    file, some = example
    explanation = explain(file, some)
    packed = msgspec.msgpack.encode(explanation)
    assert msgspec.msgpack.decode(packed, type=Explanation) == explanation


def test_hostile_names_travel_too(example):
    file, some = example
    hostile = msgspec.structs.replace(
        file, relative=b"\xff\n/\x1b[31m\xfe.csv", tags=("partner:%ff%0a",)
    )
    explanation = explain(hostile, some)
    msgspec.msgpack.encode(explanation)
    assert explanation.quoted[0].text == r"\xff\n"
    assert explanation.rules[2].why == r"name is \x1b[31m\xfe.csv, not *.log*"
