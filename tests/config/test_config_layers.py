from __future__ import annotations

import textwrap

import pytest

from filemill.config import ConfigProblems, load
from filemill.config.locating import data_directory, locate
from filemill.model.errors import UsageError

MAIN = """\
version: 1
sources:
  in: {folder: inbox}
tags:
  csv: {name: "*.csv"}
pipelines:
  csv: {when: csv, steps: [write: out]}
sinks:
  out: {folder: out}
"""


def settings(loaded):
    return {".".join(each.path): (each.value, each.origin) for each in loaded.effective}


def test_defaults_then_file_then_environment(project):
    shown = settings(project.load(MAIN))
    assert shown["max_record"] == ("4MiB", "default")
    assert shown["sources.in.settle"] == ("500ms", "default")
    assert shown["sources.in.folder"] == ("inbox", "filemill.yaml:3:16")
    environ = {
        "FILEMILL__MAX_RECORD": "1MiB",
        "FILEMILL__SOURCES__IN__SETTLE": "3s",
        "FILEMILL__SOURCES__IN__TAGS": "[a, 'b:{dir}']",
        "FILEMILL__PIPELINES__CSV__RETRY__ATTEMPTS": "7",
        "FILEMILL__DEFAULTS__RETRY__MIN": "1s",
        "FILEMILL__TAGS__CSV__NAME": "*.CSV",
        "FILEMILL__SINKS__OUT__FOLDER": "other",
    }
    loaded = project.load(environ=environ)
    assert not loaded.warnings
    plan = loaded.plan
    assert plan.max_record == 1 << 20
    assert plan.sources[0].options["settle"] == 3.0
    assert plan.sources[0].tags == ("a", "b:{dir}")
    assert (plan.pipelines[0].retry.attempts, plan.pipelines[0].retry.min) == (7, 1.0)
    assert plan.tags[0].name == ("*.CSV",)
    assert plan.sinks[0].options["folder"] == str(project.root / "other")
    shown = settings(loaded)
    assert shown["max_record"] == ("1MiB", "$FILEMILL__MAX_RECORD")
    assert shown["sources.in.settle"] == ("3s", "$FILEMILL__SOURCES__IN__SETTLE")
    assert shown["pipelines.csv.retry.attempts"][1] == "$FILEMILL__PIPELINES__CSV__RETRY__ATTEMPTS"


@pytest.mark.parametrize(
    ("name", "help_"),
    [
        ("FILEMILL__WORKER", "did you mean `WORKERS`?"),
        ("FILEMILL__SOURCES__INN__SETTLE", "did you mean `IN`?"),
        ("FILEMILL__SOURCES__IN__SETLE", "did you mean `SETTLE`?"),
        ("FILEMILL__PIPELINES__CSV__STEPS", ""),
        ("FILEMILL__SOURCES", "name one value below it"),
        ("FILEMILL__SOURCES__IN", "name one value below it"),
        ("FILEMILL__DEFAULTS", "name one value below it"),
        ("FILEMILL__", ""),
        ("FILEMILL____", ""),
        ("FILEMILL__WORKERS__X", ""),
    ],
)
def test_an_unknown_variable_warns_and_changes_nothing(project, name, help_):
    before = project.load(MAIN)
    after = project.load(environ={name: "1"})
    assert [(p.code, p.severity, p.file) for p in after.warnings] == [
        ("unknown-override", "warning", f"${name}")
    ]
    assert help_ in after.warnings[0].help
    assert (after.plan, after.digest) == (before.plan, before.digest)


def test_variables_of_one_underscore_are_not_overrides(project):
    environ = {"FILEMILL_WORKERS": "9", "FILEMILL_FAIL": "x", "FILEMILL_URL": "y"}
    assert not project.load(MAIN, environ=environ).warnings


def test_names_with_other_characters_are_reached(project):
    text = MAIN.replace("in:", "in-b.X:")
    loaded = project.load(text, environ={"FILEMILL__SOURCES__IN_B_X__SETTLE": "9s"})
    assert loaded.plan.sources[0].options["settle"] == 9.0


def test_a_wrong_value_of_a_variable_is_an_error_there(project):
    said = project.said(MAIN, environ={"FILEMILL__WORKERS": "many"})
    assert said == textwrap.dedent(
        """\
        error[bad-value]: `many` is not a whole number
          --> $FILEMILL__WORKERS
        Found 1 error. Nothing was started."""
    )


def test_a_placeholder_in_a_variable_is_text(project):
    environ = {"FILEMILL__SINKS__OUT__NAME": "{date}/{name}"}
    assert project.load(MAIN, environ=environ).plan.sinks[0].options["name"] == "{date}/{name}"


def test_conf_d_adds_by_name(project):
    project.write("sinks:\n  more: {folder: more}\npipelines:\n", "conf.d/10-sinks.yaml")
    project.write("workers: 3\n", "conf.d/20.yaml")
    project.write("", "conf.d/30-empty.yaml")
    project.write("nonsense: [", "conf.d/.hidden.yaml")
    project.write("nonsense: [", "conf.d/note.txt")
    loaded = project.load(MAIN.replace("write: out", "write: [out, more]"))
    assert [sink.name for sink in loaded.plan.sinks] == ["out", "more"]
    assert loaded.plan.sinks[1].options["folder"] == str(project.root / "more")
    assert loaded.plan.workers == 3
    assert settings(loaded)["workers"] == ("3", "conf.d/20.yaml:1:10")


def test_duplicates_across_files_name_both_places(project):
    project.write(
        """
        version: 1
        sinks:
          out: {folder: x}
        tags:
          csv: {name: "*.x"}
        """,
        "conf.d/a.yaml",
    )
    project.write(
        "workers: 2\npipelines:\n  csv: {when: csv, steps: [write: out]}\n", "conf.d/b.yaml"
    )
    assert project.said(MAIN + "workers: 1\n") == textwrap.dedent(
        """\
        error[duplicate-sink]: sink `out` is there twice, first at filemill.yaml:9:3
          --> conf.d/a.yaml:3:3
        3 |   out: {folder: x}
          |   ^^^
        help: rename one
        error[duplicate-tag]: tag `csv` is there twice, first at filemill.yaml:5:3
          --> conf.d/a.yaml:5:3
        5 |   csv: {name: "*.x"}
          |   ^^^
        help: rename one
        error[duplicate-key]: `workers` is set twice, first at filemill.yaml:10:1
          --> conf.d/b.yaml:1:1
        1 | workers: 2
          | ^^^^^^^
        help: remove one
        error[duplicate-pipeline]: pipeline `csv` is there twice, first at filemill.yaml:7:3
          --> conf.d/b.yaml:3:3
        3 |   csv: {when: csv, steps: [write: out]}
          |   ^^^
        help: rename one
        Found 4 errors. Nothing was started."""
    )


def test_yaml_errors_of_all_files_come_at_once(project):
    project.write("a: *x\n", "conf.d/a.yaml")
    project.write("b: [\n", "conf.d/b.yaml")
    assert project.codes(MAIN) == ["unquoted", "yaml"]


def test_yml_is_not_read_and_says_so(project):
    project.write("workers: 3\n", "conf.d/a.yml")
    assert project.codes(MAIN) == ["ignored-file"]


def test_where_it_is_looked_for(tmp_path, monkeypatch):
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    home = tmp_path / "home"
    (home / "filemill").mkdir(parents=True)
    environ = {"XDG_CONFIG_HOME": str(home)}
    with pytest.raises(UsageError, match=r"no filemill\.yaml here"):
        locate(None, environ)
    user = home / "filemill" / "filemill.yaml"
    user.write_text("")
    assert locate(None, environ) == str(user)
    parent = tmp_path / "a" / "filemill.yaml"
    parent.write_text("")
    assert locate(None, environ) == str(parent)
    here = deep / "filemill.yaml"
    here.write_text("")
    assert locate(None, environ) == str(here)
    assert locate(None, environ | {"FILEMILL_CONFIG": str(parent)}) == str(parent)
    assert locate(str(user), environ | {"FILEMILL_CONFIG": str(parent)}) == str(user)
    assert locate("..", environ) == str(parent)
    with pytest.raises(UsageError, match="no configuration nowhere"):
        locate("nowhere", environ)


def test_where_the_data_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert data_directory("/srv/x", None, {}) == "/srv/x/.filemill"
    assert data_directory("/srv/x", "../d", {}) == "/srv/d"
    assert data_directory("/srv/x", "/d", {}) == "/d"
    assert data_directory("/srv/x", "/d", {"FILEMILL_DATA_DIR": "e"}) == str(tmp_path / "e")


def test_the_data_directory_of_a_plan(project):
    loaded = project.load(MAIN.replace("version: 1", "data: state"))
    assert loaded.plan.data == str(project.root / "state")
    assert settings(loaded)["data"] == (str(project.root / "state"), "filemill.yaml:1:7")
    loaded = project.load(environ={"FILEMILL_DATA_DIR": "/elsewhere"})
    assert settings(loaded)["data"] == ("/elsewhere", "$FILEMILL_DATA_DIR")


def test_from_another_folder_paths_are_shown_from_there(project, tmp_path, monkeypatch):
    project.write(MAIN.replace("inbox", "inbax"))
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    with pytest.raises(ConfigProblems) as caught:
        load(environ={})
    problem = caught.value.problems[0]
    assert problem.file == str(tmp_path / "filemill.yaml")
    assert problem.help == f"mkdir -p {tmp_path}/inbax   or set create: true"


def test_an_unreadable_file_is_said(project):
    (project.root / "conf.d" / "a.yaml").mkdir(parents=True)
    assert project.codes(MAIN) == ["unreadable"]
