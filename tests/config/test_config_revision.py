from __future__ import annotations

import hashlib
import json
import shutil

from filemill.config import load

TEXT = """\
tags: {t: {tagger: tagging.look}}
pipelines:
  p: {when: t, steps: [steps.add, pkg.sub.mod.go: {table: data/lookup.csv}, write: out]}
sinks: {out: {folder: out}}
"""


def make(project):
    project.write(TEXT)
    project.write("import json\nfrom local import thing\ndef add(row: dict): ...\n", "steps.py")
    project.write("thing = 1\n", "local.py")
    project.write("def look(file): ...\n", "tagging.py")
    project.write("", "pkg/__init__.py")
    project.write("", "pkg/sub/__init__.py")
    project.write(
        "from . import near\nfrom ..up import y\ndef go(row: dict): ...\n", "pkg/sub/mod.py"
    )
    project.write("", "pkg/sub/near.py")
    project.write("y = 1\n", "pkg/up.py")
    project.write("never = 'imported'\n", "other.py")
    project.write("a,b\n", "data/lookup.csv")


def test_a_revision_holds_every_local_file_it_names(project):
    make(project)
    loaded = project.load()
    document = json.loads(loaded.text)
    assert sorted(document["files"]) == [
        "data/lookup.csv",
        "filemill.yaml",
        "local.py",
        "pkg/__init__.py",
        "pkg/sub/__init__.py",
        "pkg/sub/mod.py",
        "pkg/sub/near.py",
        "pkg/up.py",
        "steps.py",
        "tagging.py",
    ]
    assert document["files"]["filemill.yaml"]["text"] == TEXT
    assert document["config"] == ["filemill.yaml"]
    assert "filemill" in document["plugins"]
    assert loaded.digest == hashlib.sha256(loaded.text.encode()).hexdigest()


def test_every_byte_of_it_counts_and_nothing_else(project):
    make(project)
    before = project.load().digest
    assert project.load().digest == before
    for name in ("local.py", "data/lookup.csv", "pkg/up.py", "tagging.py"):
        path = project.root / name
        old = path.read_text()
        path.write_text(old + "# more\n")
        assert project.load().digest != before
        path.write_text(old)
    (project.root / "other.py").write_text("changed = 1\n")
    assert project.load().digest == before
    assert project.load(environ={"FILEMILL__WORKERS": "2"}).digest != before
    assert project.load(environ={"OTHER": "2"}).digest == before
    project.write("workers: 2\n", "conf.d/a.yaml")
    assert project.load().digest != before


def test_the_same_project_elsewhere_is_the_same_revision(project, tmp_path_factory):
    make(project)
    other = tmp_path_factory.mktemp("elsewhere") / "p"
    shutil.copytree(project.root, other)
    assert load(str(other / "filemill.yaml"), environ={}).digest == project.load().digest


def test_files_that_are_no_text_or_do_not_parse_are_kept_too(project):
    make(project)
    (project.root / "data" / "lookup.csv").write_bytes(b"\xff\x00")
    project.write("def broken(:\n", "steps.py")
    document = json.loads(project.load().text)
    assert document["files"]["data/lookup.csv"]["base64"] == "/wA="
    assert "text" in document["files"]["steps.py"]


def test_files_outside_the_project_are_not_read(project, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "secret.txt"
    outside.write_text("no")
    make(project)
    project.write(TEXT.replace("data/lookup.csv", str(outside)))
    assert "secret.txt" not in "".join(json.loads(project.load().text)["files"])
