"""Steps on whole files and steps that emit: which chains fit, which tags are made, who goes round in a circle."""

from __future__ import annotations

import textwrap

import pytest

BASE = """\
version: 1
sources:
  in: {folder: inbox, tags: [received]}
tags:
  zipped: {name: "*.zip"}
pipelines:
  one:
    when: WHEN
    steps: STEPS
sinks:
  out: {folder: out}
"""


def text(when: str, steps: str, more: str = "") -> str:
    made = BASE.replace("WHEN", when).replace("STEPS", steps)
    return made.replace("sinks:\n", textwrap.indent(textwrap.dedent(more), "  ") + "sinks:\n")


@pytest.mark.parametrize(
    "steps",
    [
        "[decompress, transcode, read_csv, write: out]",
        "[{decompress: gz}, {transcode: cp1252}, {write: out}]",
        "[{decompress: {max_size: 1GiB, max_ratio: 50}}, {transcode: {candidates: [utf-16, cp1252]}}, {write: out}]",
        "[{unpack: {tags: [part]}}, {write: out}]",
        "[decompress, read_csv, {emit: {tags: part, name: '{stem}-x.csv'}}, {write: out}]",
        "[decompress, {emit: {tags: [part]}}, {write: out}]",
        "[read_csv, route: {received: {steps: [{emit: {tags: [part]}}], to: out}, else: drop}]",
    ],
)
def test_chains_that_fit(project, steps):
    parts = "two: {when: part, steps: [{write: out}]}\n"
    used = "part" in steps
    assert project.said(text("zipped", steps, parts if used else "")) == "No problems found."


def test_a_pipeline_may_end_in_a_step_that_emits(project):
    parts = "two: {when: part, steps: [{write: out}]}\n"
    assert project.said(text("zipped", "[unpack: {tags: [part]}]", parts)) == "No problems found."


@pytest.mark.parametrize("step", ["decompress", "transcode", "unpack"])
def test_a_file_step_behind_a_reader_does_not_fit(project, step):
    said = project.said(text("zipped", f"[read_csv, {step}, write: out]"))
    assert f"`{step}` takes the file, but `read_csv` gives records" in said
    assert "help: move it before the step that reads the file" in said


@pytest.mark.parametrize(
    "steps", ["[decompress]", "[decompress, transcode]", "[transcode, read_csv]"]
)
def test_a_pipeline_that_only_changes_files_ends_nowhere(project, steps):
    assert project.codes(text("zipped", steps))[0] == "no-ending"


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("[transcode: cp12522, write: out]", "`cp12522` is no text encoding"),
        ("[{transcode: {from: cp1252, candidates: ascii}}, write: out]", "remove `candidates`"),
        ("[decompress: rar, write: out]", "`rar` is not gz, zst, bz2 or xz"),
        ("[{decompress: {max_size: 5}}, write: out]", "write a number and a unit"),
        ("[unpack: {tags: [Part]}]", "`Part` is not a tag"),
        ("[unpack: {max_depth: 9}]", "`9` must be at most 8"),
        ("[emit: {name: '../x'}]", "`..` would leave the sink's folder"),
        ("[emit: {name: '{nme}'}]", "no placeholder `{nme}`"),
        ("[emit: {format: xlsx}]", "`format`"),
    ],
)
def test_options_are_judged(project, steps, said):
    assert said in project.said(text("zipped", steps))


CIRCLES = {
    "its own": ("received", "[unpack]", "", "`one` -> `one`"),
    "by a tag it gives": (
        "zipped or part",
        "[read_csv, {emit: {tags: [part]}}, {write: out}]",
        "",
        "`one` -> `one`",
    ),
    "through another": (
        "zipped or b",
        "[unpack: {tags: [a]}]",
        "two: {when: a, steps: [{emit: {tags: [b]}}]}\n",
        "`one` -> `two` -> `one`",
    ),
}


@pytest.mark.parametrize("name", list(CIRCLES))
def test_a_circle_is_told(project, name):
    when, steps, more, way = CIRCLES[name]
    said = project.said(text(when, steps, more))
    assert f"come back to it: {way}" in said
    assert "warning[circle]" in said
    assert "and not TAG" in said


@pytest.mark.parametrize(
    ("when", "steps", "more"),
    [
        ("zipped and not part", "[unpack: {tags: [part]}]", ""),
        ("received and not part", "[unpack: {tags: [part]}]", ""),
        ("zipped", "[unpack: {tags: [a]}]", "two: {when: a, steps: [{write: out}]}\n"),
    ],
)
def test_what_excludes_its_children_is_no_circle(project, when, steps, more):
    assert "circle" not in project.codes(text(when, steps, more))


def test_tags_of_children_are_made_and_have_to_be_used(project):
    said = project.said(text("zipped", "[unpack: {tags: [a]}]"))
    assert "nothing uses the tag `a`" in said
    said = project.said(
        text("zipped", "[unpack: {tags: [parts]}]", "two: {when: part, steps: [{write: out}]}\n")
    )
    assert "nothing makes the tag `part`" in said
    assert "did you mean `parts`?" in said
