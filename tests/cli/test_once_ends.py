"""`run --once` under a scheduler: it ends, with an exit code that says whether to look or to try again later."""

import json

import pytest

CONFIG = """
version: 1
workers: 1
sources: {box: {folder: in, create: true}}
tags: {good: {name: "good*"}, late: {name: "late*"}}
pipelines:
  good: {when: good, steps: [read_lines, {write: out}]}
  late: {when: late, retry: {min: 1h, max: 1h}, steps: [read_lines, steps.later, {write: out}]}
sinks: {out: {folder: out}}
"""
STEPS = """
def later(row: dict) -> dict:
    from filemill import Retry
    raise Retry("not yet", after=3600)
"""


@pytest.fixture
def project(filemill):
    folder = filemill.folder
    (folder / "in").mkdir()
    (folder / "filemill.yaml").write_text(CONFIG)
    (folder / "steps.py").write_text(STEPS)
    return filemill


def test_a_time_limit_ends_it_and_the_rest_goes_on_next_time(project):
    folder = project.folder
    (folder / "in" / "good.txt").write_text("a\n")
    (folder / "in" / "late.txt").write_text("a\n")
    told = project("run", "--once", "--timeout", "3s", code=75)
    assert "the time is over (--timeout 3s); 1 run waits" in told.stderr
    assert "late.txt" in told.stderr
    assert (folder / "out" / "good.txt").exists()
    states = json.loads(project("files", "ls", "--json").stdout)["items"]
    assert {each["name"]: each["state"] for each in states} == {
        "good.txt": "done",
        "late.txt": "live",
    }


def test_a_time_limit_that_is_not_reached_changes_nothing(project):
    (project.folder / "in" / "good.txt").write_text("a\n")
    assert "1 file: 1 done" in project("run", "--once", "--timeout", "5m").stdout
    assert "--timeout can only" in project("run", "--timeout", "5m", code=2).stderr
    assert "such as 30s" in project("run", "--once", "--timeout", "soon", code=2).stderr


def test_what_came_before_and_dies_now_counts_unless_files_are_named(project):
    folder = project.folder
    (folder / "in" / "late.txt").write_text("a\n")
    project("run", "--once", "--timeout", "2s", code=75)
    config = (folder / "filemill.yaml").read_text()
    (folder / "filemill.yaml").write_text(
        config.replace("retry: {min: 1h, max: 1h}, ", "retry: {attempts: 1}, ")
    )
    shown = json.loads(project("files", "ls", "--json").stdout)["items"]
    (run,) = shown[0]["runs"]
    project("files", "cancel", run["id"], "--yes")
    project("files", "replay", run["id"], "--yes")
    told = project("run", "--once", code=1)
    assert "1 dead" in told.stdout


def test_init_q_says_nothing(filemill):
    assert filemill("init", "-q").stdout == ""
