"""Retries: whose `retry:` counts, and that every face says which try it was, of how many, and when the next is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
from program import wait_for

pytestmark = [pytest.mark.timeout(180)]
CONFIG = """\
version: 1
workers: 1
defaults: {retry: {attempts: 3, min: 1h, max: 1h}}
sources:
  inbox: {folder: inbox, settle: 20ms, settle_unproven: 50ms}
tags:
  plain: {name: "plain*"}
  own: {name: "own*"}
  step: {name: "step*"}
pipelines:
  by_default: {when: plain, steps: [read_lines, steps.fetch, {write: out}]}
  by_pipeline: {when: own, retry: {attempts: 7}, steps: [read_lines, steps.fetch, {write: out}]}
  by_step:
    when: step
    retry: {attempts: 7}
    steps: [read_lines, {steps.fetch: {}, retry: {attempts: 4}}, {write: out}]
sinks:
  out: {folder: out}
"""
STEP = """\
from collections.abc import Iterable
from filemill import step

@step
def fetch(rows: Iterable[dict]) -> Iterable[dict]:
    raise ConnectionError("no answer")
    yield
"""
ALLOWED = {"plain.log": 3, "own.log": 7, "step.log": 4}


def filemill(root: Path, *arguments: str) -> str:
    """What a command prints."""
    told = subprocess.run(
        [sys.executable, "-m", "filemill", *arguments], cwd=root, capture_output=True, check=False
    )
    assert told.returncode == 0, told.stderr.decode()
    return told.stdout.decode()


def test_every_face_says_which_try_of_how_many(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "filemill.yaml").write_text(CONFIG)
    (tmp_path / "steps.py").write_text(STEP)
    for name in ALLOWED:
        (tmp_path / "inbox" / name).write_text("a line\n")
    log = tmp_path / "server.log"
    with open(log, "wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "filemill", "run", "--no-web"],
            cwd=tmp_path,
            stdout=out,
            stderr=out,
            env=os.environ | {"FILEMILL__DURABILITY": "process"},
        )
    try:
        assert wait_for(lambda: log.read_text().count("failed at steps.fetch") == 3, 90), (
            log.read_text()
        )
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=60)
    listed = json.loads(filemill(tmp_path, "files", "ls", "--state", "retrying", "--json"))
    items = {each["name"]: each for each in listed["items"]}
    said = log.read_text()
    people = filemill(tmp_path, "files", "ls", "--state", "retrying")
    status = filemill(tmp_path, "status")
    assert set(items) == set(ALLOWED)
    for name, allowed in ALLOWED.items():
        (run,) = items[name]["runs"]
        assert (run["attempt"], run["attempts_allowed"]) == (1, allowed)
        assert run["retry_at"]
        (line,) = [x for x in said.splitlines() if name in x and "failed at" in x]
        assert f"try 1 of {allowed}, again at " in line
        (row,) = [x for x in people.splitlines() if name in x]
        assert f"try 1 of {allowed} failed, again at " in row
        assert [x for x in status.splitlines() if name in x and f"1 of {allowed}" in x]
        story = filemill(tmp_path, "files", "show", items[name]["id"])
        assert f"try 2 of {allowed}" in story
    assert filemill(tmp_path, "files", "ls", "--state", "queued").count(".log") == 0


def test_within_gives_up_in_time_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "filemill.yaml").write_text(
        CONFIG.replace("{attempts: 3, min: 1h, max: 1h}", "{min: 400ms, max: 400ms, within: 1s}")
    )
    (tmp_path / "steps.py").write_text(STEP)
    (tmp_path / "inbox" / "plain.log").write_text("a line\n")
    once = subprocess.run(
        [sys.executable, "-m", "filemill", "run", "--once"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        timeout=120,
        env=os.environ | {"FILEMILL__DURABILITY": "process"},
    )
    said = once.stdout.decode() + once.stderr.decode()
    assert once.returncode == 1, said
    why = "the next try would come more than 1s after the first failure (`retry: within`)"
    assert why in " ".join(said.split()), said
    (dead,) = json.loads(filemill(tmp_path, "dead", "ls", "--json"))["items"]
    letter = filemill(tmp_path, "dead", "show", dead["id"])
    assert f"gave up: {why}" in " ".join(letter.split()), letter
    tries = dead["runs"][0]["attempt"] if "runs" in dead else dead["run"]["attempt"]
    assert tries >= 2, "it was tried again before"
