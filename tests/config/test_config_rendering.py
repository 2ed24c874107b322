from __future__ import annotations

import json

import pytest

from filemill.config.problems import Problem, Problems, closest, summary
from filemill.config.rendering import render, render_problem

ONE = Problem(
    code="unknown-step",
    message="no step `resise` (pipeline photos, step 2)",
    file="filemill.yaml",
    line=27,
    column=9,
    length=6,
    help="did you mean `resize`?  all steps: filemill steps ls",
    source="      - resise: {width: 1600}",
)


def test_text():
    assert render([ONE]) == (
        "error[unknown-step]: no step `resise` (pipeline photos, step 2)\n"
        "  --> filemill.yaml:27:9\n"
        "27 |       - resise: {width: 1600}\n"
        "   |         ^^^^^^\n"
        "help: did you mean `resize`?  all steps: filemill steps ls\n"
        "Found 1 error. Nothing was started."
    )
    assert render([ONE], ending="").endswith("Found 1 error.")
    assert render([]) == "No problems found."


def test_without_a_place_or_a_help():
    assert render_problem(Problem(code="x", message="m")) == "error[x]: m"


@pytest.mark.parametrize(
    ("source", "column", "length", "caret"),
    [
        ("a: \u4e2d\u6587 b", 7, 1, "  |         ^"),
        ("a:\t b", 5, 1, "  |     ^"),
        ("e\u0301: x", 5, 1, "  |    ^"),
    ],
)
def test_the_caret_stands_below_its_character(source, column, length, caret):
    problem = Problem(code="x", message="m", file="f", line=1, column=column, source=source)
    assert render_problem(problem).splitlines()[-1] == caret
    assert length == problem.length


def test_a_long_line_is_cut_around_its_caret():
    problem = Problem(
        code="x", message="m", file="f", line=1, column=5001, length=3, source="x" * 5000 + "abc"
    )
    line, caret = render_problem(problem).splitlines()[-2:]
    assert len(line) < 200
    start = caret.index("^")
    assert line[start : start + 3] == "abc"


def test_nothing_steers_the_terminal():
    text = render_problem(
        Problem(code="x", message="a\x1b[31m\nb", file="f", line=1, column=1, source="\x1b[2Jx")
    )
    assert "\x1b" not in text
    assert text.splitlines()[0] == "error[x]: a\\x1b[31m b"


def test_json():
    document = json.loads(render([ONE], "json"))
    assert document["schema"] == "filemill.check/1"
    assert document["items"] == [
        {
            "severity": "error",
            "code": "unknown-step",
            "message": "no step `resise` (pipeline photos, step 2)",
            "file": "filemill.yaml",
            "line": 27,
            "column": 9,
            "length": 6,
            "help": "did you mean `resize`?  all steps: filemill steps ls",
        }
    ]


def test_github():
    problem = Problem(
        code="x", message="50% bad\nreally", file="a,b:c.yaml", line=2, column=3, length=4,
        severity="warning", help="h",
    )  # fmt: skip
    assert render([problem], "github") == (
        "::warning title=x,file=a%2Cb%3Ac.yaml,line=2,col=3,endColumn=7::50%25 bad%0Areally%0Ah"
    )
    with pytest.raises(ValueError, match="no form"):
        render([], "xml")


def test_summary_counts():
    warning = Problem(code="w", message="", severity="warning")
    assert summary([ONE, ONE, warning]) == "Found 2 errors and 1 warning."
    assert summary([warning, warning]) == "Found 2 warnings."


def test_hidden_texts_are_masked_everywhere():
    problems = Problems()
    problems.hidden.append("hunter2")
    problems.error("x", "value hunter2", None, "not hunter2")
    assert problems.all()[0].message == "value ***"
    assert problems.all()[0].help == "not ***"


@pytest.mark.parametrize(
    ("word", "known", "expected"),
    [
        ("resise", ["resize", "route"], "resize"),
        ("Orders", ["orders"], "orders"),
        ("zzz", ["orders"], None),
        ("x", [], None),
    ],
)
def test_did_you_mean(word, known, expected):
    assert closest(word, known) == expected
