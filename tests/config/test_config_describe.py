"""What only a worker may find out comes back to the right place."""

from __future__ import annotations

import textwrap

from filemill.model.errors import SystemFault
from filemill.ports.describe import Answer, Answers, Question
from filemill.ports.step import Form, StepSpec
from filemill.service.children import describe

TEXT = """\
sources: {in: {folder: inbox}}
tags:
  t: {tagger: steps.look}
pipelines:
  p:
    when: t
    steps:
      - read_csv
      - steps.add: {rate: "0.5"}
      - filter: amount > 10
      - tag_records: {vip: "amount > 1"}
      - select: [a, {b: "UPPER(c)"}]
      - route: {vip: {steps: [{derive: {z: a + 1}}], to: out}, else: drop}
sinks: {out: {folder: out}}
"""


def test_everything_is_asked_once_and_only_there_is_something(project):
    asked: list[Question] = []

    def answer(question: Question) -> Answers:
        asked.append(question)
        return Answers()

    project.load(TEXT, describe=answer)
    (question,) = asked
    assert question.root == str(project.root)
    assert [(step.path, step.options) for step in question.steps] == [
        ("steps.add", {"rate": "0.5"})
    ]
    assert [(e.sql, e.predicate) for e in question.expressions] == [
        ("amount > 10", True),
        ("amount > 1", True),
        ("UPPER(c)", False),
        ("a + 1", False),
    ]
    assert question.taggers == ("steps.look",)
    asked.clear()
    project.load("version: 1\n", describe=answer)
    assert not asked


def test_answers_come_back_to_their_places(project):
    def answer(question: Question) -> Answers:
        return Answers(
            steps=tuple(
                Answer(q.key, error="`rate` is too small", help="at least 1", where=("rate",))
                for q in question.steps
            ),
            expressions=tuple(
                Answer(q.key, error=f"no column in {q.sql}", offset=2) for q in question.expressions
            ),
            taggers=(Answer("steps.look", error="no module `steps`", help="write it"),),
        )

    assert project.said(TEXT, describe=answer) == textwrap.dedent(
        """\
        error[bad-tagger]: no module `steps` (tag t)
          --> filemill.yaml:3:15
        3 |   t: {tagger: steps.look}
          |               ^^^^^^^^^^
        help: write it
        error[bad-option]: `rate` is too small (pipeline p, step 2)
          --> filemill.yaml:9:27
        9 |       - steps.add: {rate: "0.5"}
          |                           ^^^^^
        help: at least 1
        error[expression]: no column in amount > 10 (pipeline p, step 3)
          --> filemill.yaml:10:19
        10 |       - filter: amount > 10
           |                   ^
        error[expression]: no column in amount > 1 (pipeline p, step 4)
          --> filemill.yaml:11:31
        11 |       - tag_records: {vip: "amount > 1"}
           |                               ^
        error[expression]: no column in UPPER(c) (pipeline p, step 5)
          --> filemill.yaml:12:28
        12 |       - select: [a, {b: "UPPER(c)"}]
           |                            ^
        error[expression]: no column in a + 1 (pipeline p, step 6, branch vip, step 1)
          --> filemill.yaml:13:46
        13 |       - route: {vip: {steps: [{derive: {z: a + 1}}], to: out}, else: drop}
           |                                              ^
        Found 6 errors. Nothing was started."""
    )


def test_described_options_and_forms_count(project):
    spec = StepSpec("steps.add", "", "", takes=Form.FILE, gives=Form.FILE)

    def answer(question: Question) -> Answers:
        steps = tuple(Answer(q.key, spec=spec, options={"rate": 0.5}) for q in question.steps)
        return Answers(steps=steps)

    said = project.said(TEXT, describe=answer)
    assert "`steps.add` takes the file, but `read_csv` gives records (pipeline p, step 2)" in said
    project.write(
        TEXT.replace("      - read_csv\n", "").replace("- filter", "- read_csv\n      - filter")
    )
    assert project.load(describe=answer).plan.pipelines[0].steps[0].options == {"rate": 0.5}


def test_a_worker_that_fails_is_a_problem_not_a_crash(project):
    def answer(_: Question) -> Answers:
        raise SystemFault("the child died", help="see its output")

    said = project.said(TEXT, describe=answer)
    assert said.splitlines()[0] == (
        "error[describe]: users' steps and expressions could not be judged: the child died"
    )


def test_a_real_worker_judges_a_project(project):
    project.write(
        """
        def add(row: dict, *, rate: float = 0.2) -> dict:
            return row

        def look(file):
            return True
        """,
        "steps.py",
    )
    loaded = project.load(TEXT, describe=describe)
    assert loaded.plan.pipelines[0].steps[1].options == {"rate": 0.5}
    project.write(TEXT.replace("amount > 10", "SUM(amount) > 1").replace('"0.5"', "much"))
    codes = project.codes(describe=describe)
    assert codes == ["bad-option", "expression"]


def test_expressions_of_a_revision_that_ran_before_are_not_asked_about_again(project):
    text = """\
        sources: {in: {folder: inbox, tags: [a]}}
        pipelines: {p: {when: a, steps: [read_csv, {filter: x > 1}, {write: out}]}}
        sinks: {out: {folder: out}}
        """
    asked = []

    def describe(question):
        asked.append(question)
        return Answers()

    first = project.load(text, describe=describe, proven=lambda _data, _digest: False)
    assert len(asked) == 1
    again = project.load(
        describe=describe,
        proven=lambda data, digest: (data, digest) == (first.plan.data, first.digest),
    )
    assert (again.digest, again.plan) == (first.digest, first.plan)
    assert len(asked) == 1
    # What users' code imports may have changed, so that it is asked about every time.
    (project.root / "steps.py").write_text("def f(row: dict) -> dict:\n    return row\n")
    project.load(
        text.replace("{filter", "steps.f, {filter"), describe=describe, proven=lambda *_: True
    )
    assert len(asked) == 2
