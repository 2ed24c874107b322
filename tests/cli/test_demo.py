"""filemill demo: six files, each with the end that a newcomer is promised."""

import json
import os
import re
import subprocess
import time

from shell import FILEMILL


def test_in_a_fresh_project_it_shows_what_becomes_of_six_files(filemill, tmp_path):
    filemill("init")
    done = filemill("demo", "--pause", "0.2")
    assert done.stdout.count("✓ ") == 4
    assert "✗ demo-broken.csv" in done.stdout
    assert "‖ demo-notes.txt" in done.stdout
    assert "6 files: 4 done, 1 dead, 1 held." in done.stdout
    assert "a server" not in filemill("files", "ls").stderr
    states = [f["state"] for f in json.loads(filemill("files", "ls", "--json").stdout)["items"]]
    assert sorted(states) == ["dead", "done", "done", "done", "done", "held"]
    assert json.loads(filemill("status", "--json").stdout)["server"] is None  # it is gone again
    assert os.listdir(tmp_path / "inbox") == []


def test_it_uses_the_server_that_runs_and_can_be_done_again(filemill, tmp_path):
    filemill("init")
    with subprocess.Popen(
        [*FILEMILL, "run"], cwd=tmp_path, env=filemill.environ, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            deadline = time.monotonic() + 60
            while "Ready" not in server.stdout.readline():
                assert time.monotonic() < deadline
            for _ in range(2):
                done = filemill("demo", "--pause", "0")
                assert "6 files: 4 done, 1 dead, 1 held." in done.stdout
                assert "no server" not in done.stderr
            assert server.poll() is None
        finally:
            server.terminate()
            out, _ = server.communicate(timeout=60)
    assert out.count("demo-broken.csv") == 2


def test_without_a_project_it_makes_one_and_says_where(filemill, tmp_path):
    done = filemill("demo", "--pause", "0", TMPDIR=str(tmp_path))
    place = re.search(r"a fresh one is in (\S+)", done.stderr)[1]
    assert place.startswith(f"{tmp_path}/filemill-demo-")
    assert f"cd {place}" in done.stdout
    assert "orders" in os.listdir(os.path.join(place, "out"))


def test_as_json_it_is_one_object_a_line(filemill):
    filemill("init")
    done = filemill("demo", "--pause", "0", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {each["relative"] for each in events} >= {"demo-1.csv", "demo-broken.csv"}
    assert done.stderr == ""


def test_a_project_of_one_s_own_is_left_alone(filemill, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "filemill.yaml").write_text(
        "version: 1\nsources: {in: {folder: in}}\npipelines: {all: {when: '*', steps: [{write: out}]}}\n"
        "sinks: {out: {folder: out}}\n"
    )
    done = filemill("demo", code=2)
    assert "your pipelines" in done.stderr
    assert os.listdir(tmp_path / "in") == []
    assert not (tmp_path / ".filemill").exists()
