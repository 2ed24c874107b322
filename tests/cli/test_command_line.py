"""The command line as such: help, version, mistakes, exit codes, colours, what it imports."""

import json
import os
import pty
import re
import subprocess
import sys
import time

import pytest

from filemill.cli.main import COMMANDS, help_text
from filemill.cli.output import Output, wants_color
from filemill.cli.session import Session
from filemill.model.errors import UsageError


def test_alone_it_prints_a_short_help_with_three_examples(filemill):
    done = filemill()
    assert done.stdout == help_text()
    assert done.stdout.count("\n  filemill ") == 3
    assert len(done.stdout.splitlines()) < 50
    assert filemill("-h").stdout == filemill("--help").stdout == help_text()


def test_one_long_name_costs_the_other_columns_nothing_on_a_terminal_and_is_whole_in_a_pipe():
    rows = [
        ("3fk2p7qd", "x" * 240 + ".csv", "done", "5 records"),
        ("4fk2p7qd", "a.csv", "done", "7 records"),
    ]
    for columns, whole in ((60, False), (None, True)):
        output = Output(sys.stdout, sys.stderr, color=False, json=False, columns=columns)
        told = output.lines_of(("ID", "NAME", "STATE", "WHAT"), rows)
        assert ("x" * 240 in told[1]) is whole
        assert told[1].endswith("done   5 records")
        assert ".csv" in told[1]
        assert columns is None or max(map(len, told)) <= columns


def test_numbers_at_the_end_of_a_row_are_never_cut():
    output = Output(sys.stdout, sys.stderr, color=False, json=False, columns=30)
    told = output.lines_of(
        ("PIPELINE", "DONE", "P95"), [("orders" * 4, "12,345", "2m52s")], right=(1, 2)
    )
    assert told[1].endswith("2m52s")


def test_version(filemill):
    from importlib.metadata import version

    assert filemill("--version").stdout == f"filemill {version('filemill')}\n"
    assert filemill("-q", "--version").stdout == f"filemill {version('filemill')}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_both_ways(filemill, name):
    long, short = filemill(name, "--help"), filemill(name, "-h")
    assert long.stdout == short.stdout
    assert long.stdout.startswith(f"Usage: filemill {name}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fles"], "no command `fles`\nhelp: did you mean `files`?"),
        (["files", "shw"], "no command `shw`\nhelp: did you mean `show`?  filemill files --help"),
        (["init", "--tmplate", "csv"], "no option `--tmplate`\nhelp: did you mean `--template`?"),
        (
            ["run", "--onec"],
            "no option `--onec`\nhelp: did you mean `--once`?  filemill run --help",
        ),
        (["completion"], "missing argument 'SHELL': bash, zsh, fish, powershell\n"),
        (["init", "-t", "xml"], "is not one of 'csv', 'logs', 'empty'"),
        (["files", "show"], "missing argument"),
        (["--color", "blue", "init"], "'auto', 'always', 'never'"),
        (["run", "a.csv"], "--once"),
        (["steps", "show", "wriet"], "did you mean `write`?"),
        (["steps", "show", "read_excel"], "step `read_excel` is not installed"),
        (["files", "ls"], "filemill init"),
        (["check", "-c", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_mistakes_of_usage_exit_2_and_say_what_was_meant(filemill, words, said):
    done = filemill(*words, code=2)
    assert said in done.stderr
    assert "error" in done.stderr
    assert done.stdout == ""


def test_unexpected_errors_are_one_line_and_a_file(filemill, tmp_path):
    # A folder in the place of a file nobody expects to be one.
    broken = "import filemill.cli.version as v; v.version = lambda: 1/0; "
    code = (
        "import sys; from filemill.cli import application as a; "
        "@a.command('boom')\ndef boom(session):\n    raise ZeroDivisionError('bo\\x1bom')\n"
    )
    program = code.replace("; @a", "\n@a") + f"\nsys.exit(a.run(sys.argv[1:], []))  # {broken}"
    environ = filemill.environ | {"TMPDIR": str(tmp_path)}
    run = [sys.executable, "-c", program]
    done = subprocess.run([*run, "boom"], capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 2
    assert "ZeroDivisionError: bo\\x1bom" in done.stderr
    (log,) = tmp_path.glob("filemill-error-*.log")
    assert str(log) in done.stderr
    assert "Traceback" in log.read_text()
    loud = subprocess.run(
        [*run, "-v", "boom"], capture_output=True, text=True, env=environ, check=False
    )
    assert "Traceback" in loud.stderr


# --- start ---------------------------------------------------------------------------------------------

HEAVY = {"polars", "pydantic", "yaml", "typer", "rich", "apsw", "msgspec", "asyncio"}


BUDGET = {"--help": 90, "--version": 170, "run": 650}
"""How many modules, Python's own among them, a command may import: each costs a start about half a millisecond."""
OF_WORKERS = {"polars", "pyarrow", "numpy", "isal", "backports", "fastapi", "uvicorn"}
"""What a server never imports: workers work with it, and it takes them half a second."""


def imported(words):
    """Modules a command imports, by their full names."""
    program = (
        "import sys\nfrom filemill.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write('\\n' + ' '.join(m for m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=True
    )
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("words", [[], ["--help"], ["--version"]])
def test_help_and_version_import_nothing(words):
    assert not imported(words) & HEAVY


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_what_answers_at_once_stays_within_its_budget_of_modules(word):
    assert len(imported([word])) <= BUDGET[word]


def test_a_server_stays_within_its_budget_of_modules(tmp_path):
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "a.txt").write_text("one\n")
    config = tmp_path / "filemill.yaml"
    config.write_text(
        "version: 1\nsources: {inbox: {folder: inbox}}\ntags: {any: {name: '*'}}\n"
        "pipelines: {copy: {when: any, steps: [read_lines, write: out]}}\nsinks: {out: {folder: out}}\n"
    )
    modules = imported(["run", "--once", "-c", str(config)])
    assert (tmp_path / "out" / "a.txt").exists()
    assert not modules & OF_WORKERS
    assert len(modules) <= BUDGET["run"]


# --- where things are -----------------------------------------------------------------------------------


def session(environ, config=None):
    output = Output(sys.stdout, sys.stderr, color=False, json=False, columns=None)
    return Session(config=config, quiet=False, verbose=False, output=output, environ=environ)


def test_the_configuration_is_found_where_the_documents_say(tmp_path, monkeypatch):
    project = tmp_path / "project"
    below = project / "a" / "b"
    below.mkdir(parents=True)
    home = tmp_path / "home"
    (home / ".config" / "filemill").mkdir(parents=True)
    environ = {"HOME": str(home)}
    monkeypatch.chdir(below)
    (home / ".config" / "filemill" / "filemill.yaml").touch()
    assert session(environ).config() == str(home / ".config" / "filemill" / "filemill.yaml")
    (project / "filemill.yaml").touch()
    assert session(environ).config() == str(project / "filemill.yaml")
    (below / "x.yaml").touch()
    (below / "y.yaml").touch()
    assert session(environ | {"FILEMILL_CONFIG": "x.yaml"}).config() == str(below / "x.yaml")
    assert session(environ | {"FILEMILL_CONFIG": "x.yaml"}, "y.yaml").config() == str(
        below / "y.yaml"
    )


def test_the_data_directory_is_found_without_reading_the_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environ = {"HOME": str(tmp_path)}
    with pytest.raises(UsageError, match=r"filemill\.yaml"):
        session(environ).data()
    (tmp_path / "filemill.yaml").write_text("version: [this is not yet read\n")
    assert session(environ).data() == str(tmp_path / ".filemill")
    assert session(environ | {"FILEMILL_DATA_DIR": "d"}).data() == str(tmp_path / "d")


# --- output ---------------------------------------------------------------------------------------------


class Terminal:
    def __init__(self, yes):
        self.isatty = lambda: yes


@pytest.mark.parametrize(
    ("choice", "terminal", "environ", "expected"),
    [
        ("auto", True, {}, True),
        ("auto", False, {}, False),
        ("auto", True, {"NO_COLOR": "1"}, False),
        ("auto", True, {"NO_COLOR": ""}, True),
        ("auto", True, {"TERM": "dumb"}, False),
        ("always", False, {"NO_COLOR": "1"}, True),
        ("never", True, {}, False),
    ],
)
def test_colour(monkeypatch, choice, terminal, environ, expected):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert wants_color(choice, Terminal(terminal)) is expected


def test_tables_never_wrap_in_pipes_and_are_cut_on_terminals():
    rows = [("1", "x" * 200), ("22", "日本")]
    wide = Output(sys.stdout, sys.stderr, color=False, json=False, columns=None)
    assert wide.lines_of(("N", "TEXT"), rows)[1] == "1   " + "x" * 200
    narrow = Output(sys.stdout, sys.stderr, color=False, json=False, columns=40)
    assert all(len(line) <= 40 for line in narrow.lines_of(("N", "TEXT"), rows))
    assert narrow.lines_of(("N", "TEXT"), rows, right=(0,))[1].startswith(" 1  ")


def test_a_reader_that_has_enough_ends_it_quietly(filemill):
    command = f"{sys.executable} -m filemill steps ls | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        capture_output=True, text=True, check=False, env=filemill.environ,
    )  # fmt: skip
    assert done.stderr.count("Error") == 0
    assert done.returncode == 0


def test_on_a_terminal_it_is_coloured(filemill):
    main, child = pty.openpty()
    run = [sys.executable, "-m", "filemill", "steps", "ls"]
    environ = filemill.environ | {"TERM": "xterm"}
    with subprocess.Popen(run, stdout=child, stderr=child, env=environ) as process:
        os.close(child)
        said = b""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                said += os.read(main, 65536)
            except OSError:
                break
        assert process.wait(30) == 0
    os.close(main)
    assert b"\x1b[2m" in said


# --- init ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", ["csv", "logs", "empty"])
def test_init_makes_what_it_lists(filemill, tmp_path, template):
    done = filemill("init", "p", "-t", template)
    lines = done.stdout.splitlines()
    assert lines[0] == "Created p/"
    *lines, last = lines
    if template != "empty":
        *lines, trying = lines
        assert trying.startswith(f"Next:  cd p && filemill try sample.{template[:3]}")
    assert "filemill run" in last
    for line in lines[1:]:
        assert (tmp_path / "p" / line.split()[0]).exists()
    made = {
        str(each.relative_to(tmp_path / "p"))
        for each in (tmp_path / "p").rglob("*")
        if each.is_file()
    }
    assert made >= {"filemill.yaml", "steps.py", "tests/test_steps.py", "conftest.py"}
    assert {line.split()[0] for line in lines[1:]} - {"inbox/", "out/"} == made


def test_init_overwrites_nothing(filemill, tmp_path):
    (tmp_path / "steps.py").write_text("mine")
    done = filemill("init", code=2)
    assert "steps.py" in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["steps.py"]
    assert (tmp_path / "steps.py").read_text() == "mine"


@pytest.mark.parametrize("template", ["csv", "logs", "empty"])
def test_plain_pytest_works_in_a_fresh_project(filemill, tmp_path, template):
    filemill("init", "-t", template)
    # The script itself: `python -m pytest` would put the folder on the path, whatever conftest.py does.
    script = os.path.join(os.path.dirname(sys.executable), "pytest")
    done = subprocess.run(
        [script, "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path, check=False, capture_output=True, text=True, env=filemill.environ,
    )  # fmt: skip
    assert re.search(r"^\d passed", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize("template", ["csv", "logs", "empty"])
def test_the_templates_pass_the_strict_check(filemill, template):
    filemill("init", "-t", template)
    done = filemill("check", "--strict")
    assert done.stdout.strip()


def test_init_as_json(filemill, tmp_path):
    told = json.loads(filemill("init", "p", "--json").stdout)
    assert told["schema"] == "filemill.init/1"
    assert told["folder"] == str(tmp_path / "p")
    assert "filemill.yaml" in told["files"]
