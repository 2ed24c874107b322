"""What the documents say is true: generated pages are fresh, examples load, commands exist."""

import ast
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from filemill.cli.main import COMMANDS
from filemill.model.access import ROLES, Right
from filemill.model.states import FILE_MOVES, RUN_MOVES

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("**/*.md"))]


def _docs_script():
    spec = importlib.util.spec_from_file_location("docs_script", ROOT / "scripts" / "docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(language):
    """(page, number, text) of every fenced block in this language."""
    for page in PAGES:
        found = re.findall(
            rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL
        )
        for number, text in enumerate(found):
            yield pytest.param(text, id=f"{page.name}-{number}")


def test_generated_pages_are_fresh():
    assert _docs_script().stale() == [], "make docs"


@pytest.mark.parametrize(("name", "moves"), [("runs", RUN_MOVES), ("files", FILE_MOVES)])
def test_the_picture_is_the_table(name, moves):
    # Read back from the page, so that the generator itself is not trusted.
    text = (ROOT / "docs" / "state-machine.md").read_text()
    picture = text.split(f"<!-- begin: {name} -->")[1].split(f"<!-- end: {name} -->")[0]
    drawn = set(re.findall(r"^    (\S+) --> (\S+)$", picture, re.MULTILINE))
    arrows = {(str(before), str(after)) for before, afters in moves.items() for after in afters}
    begin = {("[*]", str(next(iter(moves))))}
    ends = {(str(state), "[*]") for state, afters in moves.items() if not afters}
    assert drawn == arrows | begin | ends


def test_the_table_of_roles_is_the_one_that_holds():
    text = (ROOT / "docs" / "security.md").read_text()
    table = text.split("<!-- begin: roles -->")[1].split("<!-- end: roles -->")[0].strip()
    head, _, *rows = [
        [c.strip(" `") for c in line.strip("|").split("|")] for line in table.splitlines()
    ]
    told = {
        row[0]: {right for right, mark in zip(head[1:], row[1:], strict=True) if mark}
        for row in rows
    }
    assert told == {role: {str(right) for right in rights} for role, rights in ROLES.items()}
    meant = re.findall(r"^\| `([\w-]+)` \| [a-z]", text.split("| Right | Means |")[1], re.MULTILINE)
    assert meant == [str(right) for right in Right]


@pytest.mark.parametrize("text", list(blocks("yaml")))
def test_every_configuration_in_the_documents_loads(text, tmp_path):
    from filemill.config import load

    if "version:" not in text:
        pytest.skip("a fragment")
    (tmp_path / "filemill.yaml").write_text(text)
    for folder in re.findall(r"folder: ([\w/]+)", text):
        if not folder.startswith("out"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    loaded = load(str(tmp_path / "filemill.yaml"), environ={})
    assert not loaded.warnings


@pytest.mark.parametrize("text", list(blocks("python")))
def test_every_python_example_is_python(text):
    ast.parse(text)


@pytest.fixture
def project_of_the_page(tmp_path):
    """The blocks of docs/steps.md that begin with a file's name, as files."""
    text = (ROOT / "docs" / "steps.md").read_text()
    named = re.findall(r"^```\w+\n# (\S+\.\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(named) > 6
    for name, body in named:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(body)
    (tmp_path / "conftest.py").touch()
    (tmp_path / "orders.csv").write_text("order_id,amount\nA-1,100\nA-2,5000\nA-3,0\n,7\n")
    return tmp_path


def test_the_steps_of_the_page_pass_the_tests_of_the_page(project_of_the_page):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=project_of_the_page,
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.search(r"^9 passed", done.stdout, re.MULTILINE), done.stdout


def test_a_trial_prints_what_the_page_says(project_of_the_page):
    text = (ROOT / "docs" / "steps.md").read_text()
    ((command, printed),) = re.findall(
        r"^```\n\$ filemill (try [^\n]*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL
    )
    done = subprocess.run(
        [sys.executable, "-m", "filemill", *shlex.split(command)],
        cwd=project_of_the_page,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONUTF8": "1"},
    )
    assert done.stderr == ""
    assert _untimed(done.stdout) == _untimed(printed)


def test_what_the_page_about_failures_does_mends_the_file(tmp_path):
    text = (ROOT / "docs" / "failures.md").read_text()
    for name, body in re.findall(
        r"^```\w+\n# (\S+\.\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL
    ):
        (tmp_path / name).write_text(body)
    ((commands),) = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ") for line in commands.splitlines()]
    assert len(lines) == 5
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    codes = [
        subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            check=False,
            capture_output=True,
            env=os.environ | {"PATH": path},
        ).returncode
        for line in lines
    ]
    assert codes == [1, 0, 0, 0, 0]
    (made,) = (tmp_path / "out").glob("*.csv")
    assert made.read_text() == "id,amount,vat\na,100,20.0\nb,10,2.0\nc,30,6.0\n"


def _untimed(text):
    return re.sub(r"\b<?\d[\d.]*m?s\b|<1ms", "TIME", text)


def test_every_command_in_the_documents_exists():
    from filemill.cli import application
    from filemill.cli.main import load

    for name in COMMANDS:
        load(name)
    import typer

    root = typer.main.get_command(application.app)
    seen = 0
    for page in PAGES:
        text = page.read_text()
        lines = re.findall(r"^\$ (filemill .*)$", text, re.MULTILINE)
        lines += re.findall(r"`(filemill [^`]+)`", text)
        for line in lines:
            for part in line.split(" && "):
                words = shlex.split(part, comments=True)
                if words[0] != "filemill":
                    continue
                seen += 1
                _must_exist(root, words[1:], f"{page.name}: {line}")
    assert seen > 5


def _must_exist(node, words, where):
    spelt = [[*each.opts, *each.secondary_opts] for each in node.params]
    known = {option for options in spelt for option in options} | {"-h", "--help"}
    for place, word in enumerate(words):
        if word.startswith("-"):
            assert word in known, f"{where}: no option {word}"
        elif commands := getattr(node, "commands", None):
            for each in word.split("|"):
                assert each in commands, f"{where}: no command {each}"
            return _must_exist(commands[word.split("|")[0]], words[place + 1 :], where)
    return None


def test_the_architecture_names_real_things():
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    source = {p: p.read_text() for p in (ROOT / "src" / "filemill").rglob("*.py")}
    words = set(re.findall(r"`([\w./]+)`", text))
    checked = 0
    for word in words:
        if word.endswith(".py"):
            assert (ROOT / "src" / "filemill" / word).exists(), word
        elif re.fullmatch(r"[A-Z]\w+\.[a-z]\w+", word):
            owner, method = word.split(".")
            homes = [t for t in source.values() if re.search(rf"^class {owner}\b", t, re.MULTILINE)]
            assert any(
                re.search(rf"^    (async )?def {method}\(", t, re.MULTILINE) for t in homes
            ), word
        elif re.fullmatch(r"(service|config|model)(\.\w+)+", word):
            *path, name = word.split(".")
            folder = ROOT / "src" / "filemill" / Path(*path)
            home = folder.with_suffix(".py") if not folder.is_dir() else folder / "__init__.py"
            assert re.search(rf"^(class|(async )?def) {name}\b", source[home], re.MULTILINE), word
        elif re.fullmatch(r"[A-Z][a-z]\w+", word):
            assert any(re.search(rf"^class {word}\b", t, re.MULTILINE) for t in source.values()), (
                word
            )
        elif re.fullmatch(r"[a-z_]+", word):
            assert any(re.search(rf"\b{word}\b", t) for t in source.values()), word
        else:
            continue
        checked += 1
    assert checked > 100


def test_every_fault_has_a_test_that_exists():
    rows = 0
    for line in (ROOT / "docs" / "faults.md").read_text().splitlines():
        if not line.startswith("| ") or line.startswith("| fault"):
            continue
        rows += 1
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", line)
        assert named, line
        assert line.count("tests/") == len(named), line
        for path, name in named:
            # A contract's tests are where the contract is.
            homes = [ROOT / path, *(ROOT / "src/filemill/testing/contracts").glob("*.py")]
            assert (ROOT / path).exists(), path
            assert any(f"def {name}(" in home.read_text() for home in homes), f"{path}::{name}"
    assert rows > 45


def test_the_readme_is_one_screen():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 80


def test_links_between_documents_hold():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


# Contract suites are tests, and their names say what they prove; the loader's parts serve only its door, `load`.
_NAMES_SAY_IT = ("filemill/testing/contracts/",)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "src").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT / "src"))
)
def test_everything_public_says_what_it_promises(path):
    methods = not str(path.relative_to(ROOT / "src")).startswith(_NAMES_SAY_IT)
    assert not list(_undocumented(ast.parse(path.read_text()), path.stem, methods=methods))


def _undocumented(node, name, *, methods):
    if not ast.get_docstring(node):
        yield name
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    for child in node.body:
        function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        if not function and not isinstance(child, ast.ClassDef):
            continue
        if function and isinstance(node, ast.ClassDef) and not methods:
            continue
        overload = any(getattr(d, "id", "") == "overload" for d in child.decorator_list)
        if not child.name.startswith("_") and not overload:
            yield from _undocumented(child, f"{name}.{child.name}", methods=methods)
