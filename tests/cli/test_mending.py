"""dead edit, dead resubmit: a mended copy becomes a child, whatever is killed; the original is never changed."""

import json
import os
import signal
import subprocess
import time

import pytest

from serving import FILEMILL, LONG, begin, until

INSIDE = True

CONFIG = """\
version: 1
sources: {inbox: {folder: inbox, settle: 5ms, settle_unproven: 20ms, tags: ["partner:{dir}"]}}
tags: {orders: {name: "*.csv"}, logs: {name: "*.jsonl"}, raw: {name: "*.bin"}}
pipelines:
  orders: {when: orders, steps: [{read_csv: {types: {n: integer}}}, {write: out}]}
  logs: {when: logs, tolerance: 5, steps: [read_jsonl, {write: out}]}
  raw: {when: raw, steps: [read_jsonl, {write: out}]}
sinks: {out: {folder: out}}
"""
ORDERS = b"id,n\r\na,1\r\nb,two\r\nc,3\r\nd,four\r\n"
MENDED = b"id,n\r\na,1\r\nb,2\r\nc,3\r\nd,4\r\n"
LOGS = b'{"a":1}\nnope\n{"a":3}\n'


class Project:
    def __init__(self, shell):
        self.shell, self.root = shell, shell.folder
        (self.root / "filemill.yaml").write_text(CONFIG)
        (self.root / "inbox" / "acme").mkdir(parents=True)

    def __call__(self, *words, code=0, **environ):
        return self.shell(*words, code=code, **environ)

    def drop(self, name, data):
        (self.root / "inbox" / "acme" / name).write_bytes(data)
        self("run", "--once", code=0 if name.endswith(".jsonl") else 1)
        return self.file(name)

    def files(self):
        return json.loads(self("files", "ls", "--json").stdout)["items"]

    def file(self, name):
        return next(item["id"] for item in self.files() if item["name"].endswith(name))

    def child(self, of):
        (child,) = self.shown(of)["children"]
        return self.shown(child)

    def shown(self, file):
        return json.loads(self("files", "show", file, "--json").stdout)["file"]

    def original(self, file):
        return (self.root / ".filemill" / "content" / self.shown(file)["content"]).read_bytes()

    def outputs(self):
        return {p.name: p.read_bytes() for p in (self.root / "out").rglob("*") if p.is_file()}


@pytest.fixture
def project(filemill):
    return Project(filemill)


def editor(project, old, new):
    """An editor that saves as many do: another file renamed over the one it was given."""
    script = project.root / "my editor"
    script.write_text(
        "#!/usr/bin/env python3\nimport os, sys\n"
        f"data = open(sys.argv[-1], 'rb').read().replace({old!r}, {new!r})\n"
        "open(sys.argv[-1] + '~', 'wb').write(data)\nos.rename(sys.argv[-1] + '~', sys.argv[-1])\n"
    )
    script.chmod(0o755)
    return f"'{script}' --flag"


def test_a_mended_copy_is_a_child_and_the_dead_run_is_given_up(project):
    file = project.drop("orders.csv", ORDERS)
    fix = editor(project, b"two", b"2")
    out = project("dead", "edit", file, EDITOR=fix).stdout
    assert "1 dead run given up; no server runs: at the next start" in out
    shown = project.shown(file)
    assert [run["state"] for run in shown["runs"]] == ["discarded"]
    project("run", "--once", code=1)
    child = project.child(file)
    assert (child["name"], child["parent"]) == ("acme/orders.csv", file)
    assert child["tags"] == ["partner:acme", "orders"]
    assert project.original(file) == ORDERS
    assert project.original(child["id"]) == ORDERS.replace(b"two", b"2")
    # Still one bad: dead once more; its records alone in an editor, and back into a copy of the whole.
    again = editor(project, b"four", b"4")
    project("dead", "resubmit", child["id"], EDITOR=again)
    project("run", "--once")
    assert project.outputs() == {"orders.csv": MENDED}
    assert "mended:" in project("files", "show", file).stdout
    assert not list(project.root.glob("filemill-edit-*"))


def test_nothing_happens_without_a_change_an_editor_or_with_one_that_fails(project):
    file = project.drop("orders.csv", ORDERS)
    before = project.shown(file)
    assert "unchanged" in project("dead", "edit", file, EDITOR="true").stderr
    assert "no editor is set" in project("dead", "edit", file, code=2).stderr
    assert "cannot be started" in project("dead", "edit", file, code=2, EDITOR="./none").stderr
    failed = project("dead", "edit", file, code=2, VISUAL="false").stderr
    assert "the copy is kept: " in failed
    kept = failed.rpartition("the copy is kept: ")[2].strip()
    with open(kept, "rb") as copy:
        assert copy.read() == ORDERS
    assert project.shown(file) == before
    assert not (project.root / ".filemill" / "children").exists()


def test_a_name_in_the_editors_command_is_no_shell(project):
    file = project.drop("$(touch hacked);.csv", ORDERS)
    project("dead", "edit", file, EDITOR=editor(project, b"two", b"2") + " ; touch hacked")
    assert not (project.root / "hacked").exists()


def test_a_binary_file_is_mended_elsewhere(project):
    file = project.drop("x.bin", b"\x00\xff\x01")
    assert "is no text" in project("dead", "edit", file, code=2, EDITOR="true").stderr
    (project.root / "mended").write_bytes(b'{"a":1}\n')
    project("dead", "edit", file, "--with", "mended", "--reason", "partner sent it")
    project("run", "--once")
    assert project.outputs() == {"x.bin": b'{"a":1}\n'}
    assert (project.root / "mended").exists()


def test_bad_records_of_a_done_file_go_alone_and_once(project):
    file = project.drop("logs.jsonl", LOGS)
    assert "they wait to be mended: filemill dead resubmit" in project("files", "show", file).stdout
    project("dead", "export", file, "--records", "--to", "mend")
    (bad,) = (project.root / "mend").glob("*.jsonl")
    assert bad.read_bytes() == b"nope\n"
    bad.write_bytes(b'{"a":2}\n')
    project("dead", "resubmit", file, "--with", str(bad))
    project("run", "--once")
    child = project.child(file)
    assert project.shown(file)["runs"][0]["mended"] == child["id"]
    assert project.outputs() == {
        "logs.jsonl": b'{"a":1}\n{"a":3}\n',
        "logs-2.jsonl": b'{"a":2}\n',
    }
    said = project("dead", "resubmit", file, "--with", str(bad), code=2).stderr
    assert f"sent before, as {child['id'][:8]}" in said
    project("dead", "resubmit", file, "--with", str(bad), "--again")
    assert len(project.shown(file)["children"]) == 2


@pytest.mark.parametrize(
    ("mended", "whole"),
    [
        (b"id,n\r\nb,2\r\nd,4\r\n", MENDED),
        (b"id,n\nb,2\nd,4\n", MENDED),
        (b"b,2\nd,4", MENDED),
        (b"id,n\r\nd,4\r\n", b"id,n\r\na,1\r\nc,3\r\nd,4\r\n"),
        (b'id,n\r\n"b\r\n\r\nb",2\r\n', b'id,n\r\na,1\r\nc,3\r\n"b\r\n\r\nb",2\r\n'),
    ],
)
def test_mended_records_of_a_dead_file_go_back_into_a_copy_of_it(project, mended, whole):
    file = project.drop("orders.csv", ORDERS)
    (project.root / "mended.csv").write_bytes(mended)
    project("dead", "resubmit", file, "--with", "mended.csv")
    project("run", "--once")
    assert project.original(project.child(file)["id"]) == whole
    assert [item["state"] for item in project.files()] == ["done", "discarded"]


def serve(project, **environ):
    return begin(project.root, project.shell.environ | environ, project.root / "log")


def test_beside_a_server_it_runs_at_once(project):
    file = project.drop("orders.csv", ORDERS)
    (project.root / "mended.csv").write_bytes(MENDED)
    server = serve(project)
    try:
        until((project.root / ".filemill" / "control.sock").exists)
        done = project("dead", "edit", file, "--with", "mended.csv", "--json")
        told = json.loads(done.stdout)
        assert told["live"]
        until(lambda: project.outputs() == {"orders.csv": MENDED})
        assert project.child(file)["id"] == told["child"]
        # Two who act on what they saw: the second is told, and keeps their copy.
        said = project("dead", "edit", file, "--with", "mended.csv", code=2).stderr
        assert "is not dead" in said
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(LONG) == 0


@pytest.mark.parametrize("point", ["sync_file:1", "sync_directory:1", "commit:1", "commit:2"])
def test_a_command_that_is_killed_does_all_of_it_or_nothing(project, point):
    file = project.drop("orders.csv", ORDERS)
    (project.root / "mended.csv").write_bytes(MENDED)
    words = [*FILEMILL, "dead", "edit", file, "--with", "mended.csv"]
    killed = subprocess.run(
        words,
        cwd=project.root,
        env=project.shell.environ | {"FILEMILL_FAIL": f"command.{point}:kill"},
        capture_output=True,
        check=False,
    ).returncode
    assert killed in (-signal.SIGKILL, 0)
    state = project.shown(file)["runs"][0]["state"]
    assert state == ("dead" if killed else "discarded")
    project("run", "--once")
    if killed:
        assert project.shown(file)["children"] == []
        project("dead", "edit", file, "--with", "mended.csv")
        project("run", "--once")
    assert project.outputs() == {"orders.csv": MENDED}
    assert project.child(file)["runs"][0]["state"] == "done"
    assert os.listdir(project.root / ".filemill" / "children") == []


@pytest.mark.parametrize("point", ["rename:1", "commit:2", "commit:3", "sync_group:1", "rename:2"])
def test_a_child_comes_once_whatever_kills_the_server_that_takes_it_in(project, point):
    file = project.drop("orders.csv", ORDERS)
    (project.root / "mended.csv").write_bytes(MENDED)
    server = serve(project, FILEMILL_FAIL=f"server.{point}:kill")
    until(lambda: (project.root / ".filemill" / "control.sock").exists() or server.poll())
    asked = subprocess.run(
        [*FILEMILL, "dead", "edit", file, "--with", "mended.csv"],
        cwd=project.root,
        env=project.shell.environ,
        capture_output=True,
        timeout=LONG,
        check=False,
    )
    with_luck = time.monotonic() + 5
    while server.poll() is None and time.monotonic() < with_luck:
        time.sleep(0.05)
    struck = server.poll() == -signal.SIGKILL
    server.kill()
    server.wait(LONG)
    project("run", "--once")
    gone = project.shown(file)["runs"][0]["state"] == "discarded"
    assert gone or asked.returncode
    assert struck or gone
    if gone:
        assert project.outputs() == {"orders.csv": MENDED}
        assert len(project.shown(file)["children"]) == 1
    else:
        assert project.shown(file)["children"] == []


def test_finished_files_are_replayed_by_what_they_have_in_common(project):
    for name in ("one.jsonl", "two.jsonl"):
        (project.root / "inbox" / "acme" / name).write_bytes(b'{"a":1}\n')
    project("run", "--once")
    said = project("files", "replay", "--pipeline", "logs", "--beside", "--dry-run").stderr
    assert "would replay 2 runs" in said
    assert "nothing is named" in project("files", "replay", code=2).stderr
    assert (
        "nobody to ask"
        in project("files", "replay", "--tag", "partner:*", "--beside", code=2).stderr
    )
    assert "nothing to replay" in project("files", "replay", "--tag", "none", "--yes").stderr
    project("files", "replay", "--tag", "partner:*", "--since", "1h", "--beside", "--yes")
    project("run", "--once")
    assert len(project.outputs()) == 4
    # Only the latest run of each file counts, so that a second time is no more than the first.
    said = project("files", "replay", "--pipeline", "logs", "--beside", "--dry-run").stderr
    assert "would replay 2 runs" in said
