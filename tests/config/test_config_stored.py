"""Stored revisions: read back, compared with each other and with the disk, and put back in their places."""

import os

import pytest

from filemill.config.differences import changes, text_diff
from filemill.config.recalling import recall
from filemill.config.restoring import hidden, on_disk, restore, steps_to
from filemill.config.stored import changes_on_disk, modules_of, read_stored, write_out
from filemill.durable import Durable, Failpoints
from filemill.model.errors import PermanentError, UsageError
from filemill.ports.registry import Registry
from filemill.service.children import describe

TEXT = """\
version: 1
sources:
  inbox: {folder: inbox}
tags:
  log: {name: "*.log"}
pipelines:
  logs:
    when: log
    steps: [read_lines, steps.mark: {by: "1"}, write: out]
sinks:
  out: {folder: out}
"""
DURABLE = Durable(Failpoints("test"))
STEPS = "from deep import other\n\n\ndef mark(row: dict, *, by: int) -> dict:\n    return row\n"


@pytest.fixture
def made(project):
    project.write(TEXT)
    project.write(STEPS, "steps.py")
    project.write("VALUE = 1\n", "deep/other.py")
    project.write("", "deep/__init__.py")
    (project.root / "inbox").mkdir(exist_ok=True)
    return project


def stored(project):
    return read_stored(project.load().text)


def test_modules_are_those_that_are_named_and_what_they_import(made):
    assert set(modules_of(stored(made))) == {"steps.py", "deep/__init__.py", "deep/other.py"}


def test_the_disk_differs_by_content_and_by_nothing_else(made):
    was, root = stored(made), str(made.root)
    assert changes_on_disk(was, root) == {}
    for path in made.root.rglob("*.py"):
        os.utime(path, (1, 1))
    (made.root / "moved").symlink_to("steps.py")
    os.rename(made.root / "steps.py", made.root / "really.py")
    (made.root / "steps.py").symlink_to("really.py")
    made.write("x: 1\n", "conf.d/ignored.yml")
    assert changes_on_disk(was, root) == {}
    made.write("VALUE = 2\n", "deep/other.py")
    (made.root / "deep" / "__init__.py").unlink()
    made.write("workers: 2\n", "conf.d/more.yaml")
    assert changes_on_disk(was, root) == {
        "deep/__init__.py": "removed",
        "deep/other.py": "changed",
        "conf.d/more.yaml": "added",
    }


def test_changes_are_named_part_by_part(made):
    old = stored(made)
    made.write("# a word\n" + TEXT)
    assert changes(old, stored(made)) == ["comments or layout"]
    made.write(TEXT.replace('by: "1"', 'by: "2"').replace("out: {folder: out}", "out: {folder: o}"))
    made.write("VALUE = 2\n", "deep/other.py")
    made.write("workers: 2\n", "conf.d/more.yaml")
    new = read_stored(made.load(environ={"FILEMILL__TIMEZONE": "Europe/Berlin"}).text)
    assert changes(old, new) == [
        "pipeline logs changed",
        "sink out changed",
        "`workers` added",
        "deep/other.py changed",
        "$FILEMILL__TIMEZONE added",
    ]


def test_a_diff_shows_lines_and_no_value_of_the_environment(made):
    old = stored(made)
    made.write(TEXT.replace('by: "1"', 'by: "2"'))
    new = read_stored(made.load(environ={"FILEMILL__TIMEZONE": "Europe/Berlin"}).text)
    lines = list(text_diff(old, new, "rev 1", "rev 2"))
    assert lines[0] == "--- filemill.yaml (rev 1)"
    assert '+    steps: [read_lines, steps.mark: {by: "2"}, write: out]' in lines
    assert lines[-1].startswith("$FILEMILL__TIMEZONE added")
    assert "Berlin" not in "".join(lines)


def test_values_of_secrets_are_masked():
    environ = {"TOKEN": "hunter2", "SHORT": "x"}
    text = "a: {secret: TOKEN} b: hunter2 c: {secret: SHORT} x"
    assert hidden(text, environ) == "a: {secret: TOKEN} b: *** c: {secret: SHORT} x"


def test_a_revision_becomes_a_plan_again_with_paths_from_where_it_lived(made, tmp_path):
    loaded = made.load(describe=describe)
    made.write("nonsense: [", "filemill.yaml")
    (made.root / "steps.py").unlink()
    plan = recall(
        read_stored(loaded.text),
        home=str(made.root),
        data=str(tmp_path / "data"),
        environ={},
        registry=Registry(),
        describe=describe,
        revision=4,
    )
    assert plan.revision == 4
    assert plan.pipelines == loaded.plan.pipelines  # options converted as the function asks
    assert (plan.root, plan.sinks, plan.sources) == (
        loaded.plan.root,
        loaded.plan.sinks,
        loaded.plan.sources,
    )
    assert os.listdir(tmp_path / "data") == []


def test_a_revision_whose_step_is_gone_says_so(made, tmp_path):
    text = made.load().text.replace("read_lines", "read_tea_leaves")
    with pytest.raises(PermanentError, match="read_tea_leaves"):
        recall(
            read_stored(text),
            home=str(made.root),
            data=str(tmp_path / "data"),
            environ={},
            registry=Registry(),
            describe=describe,
            revision=4,
        )


def test_files_beside_the_folder_stay_below_the_place_they_are_written_to(made, tmp_path):
    text = made.load().text.replace('"deep/other.py"', '"../../elsewhere/other.py"')
    root = write_out(read_stored(text), str(tmp_path / "place"))
    (other,) = (tmp_path / "place").rglob("elsewhere/other.py")
    assert other.read_text() == "VALUE = 1\n"
    assert os.path.exists(os.path.join(root, "filemill.yaml"))
    absolute = made.load().text.replace('"deep/other.py"', '"/etc/other.py"')
    with pytest.raises(PermanentError, match="/etc/other"):
        write_out(read_stored(absolute), str(tmp_path / "other"))


def test_restoring_writes_what_differs_keeps_what_was_there_and_puts_aside_what_came(
    made, tmp_path
):
    was, root = stored(made), str(made.root)
    assert steps_to(was, root) == []
    made.write("VALUE = 2\n", "deep/other.py")
    made.write("workers: 2\n", "conf.d/more.yaml")
    (made.root / "steps.py").unlink()
    steps = steps_to(was, root)
    assert sorted(step.name for step in steps) == ["conf.d/more.yaml", "deep/other.py", "steps.py"]
    restore(steps, root, str(tmp_path / "aside"), DURABLE)
    assert changes_on_disk(was, root) == {}
    assert on_disk(was, root).config == ("filemill.yaml",)
    assert (tmp_path / "aside" / "other.py").read_text() == "VALUE = 2\n"
    assert (tmp_path / "aside" / "more.yaml").read_text() == "workers: 2\n"


def test_a_place_that_cannot_be_written_is_said(made, tmp_path):
    was = stored(made)
    (made.root / "deep" / "other.py").unlink()
    (made.root / "deep" / "__init__.py").unlink()
    (made.root / "deep").rmdir()
    (made.root / "deep").write_text("a file")
    with pytest.raises(UsageError, match="cannot be written"):
        restore(steps_to(was, str(made.root)), str(made.root), str(tmp_path / "aside"), DURABLE)
