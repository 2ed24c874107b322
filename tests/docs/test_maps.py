"""The packages with many modules say what each is for: no module is missing there, and none is named that is not."""

import re
from pathlib import Path

import pytest

from filemill.cli.main import COMMANDS

SOURCE = Path(__file__).resolve().parents[2] / "src" / "filemill"


@pytest.mark.parametrize(("package", "known"), [("service", set()), ("cli", set(COMMANDS))])
def test_the_map_names_every_module(package, known):
    here = SOURCE / package
    text = (here / "__init__.py").read_text()
    modules = {path.stem for path in here.glob("*.py")} | {
        path.parent.name for path in here.glob("*/__init__.py")
    }
    named = set(re.findall(r"`(\w+)`", text))
    assert modules - {"__init__"} - named - known == set()
    assert named - modules - known == set()


def test_every_module_says_what_it_is():
    silent = [
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if "templates" not in path.parts and not re.match(r'r?"""\S', path.read_text())
    ]
    assert silent == []


def test_no_module_is_long():
    long = {
        str(path.relative_to(SOURCE)): lines
        for path in SOURCE.rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 400
    }
    assert long == {}, "split it by idea"


def test_every_module_of_tests_has_a_name_of_its_own():
    """Python knows them by their names alone: of two that are called alike one would not run."""
    names = [path.name for path in SOURCE.parents[1].joinpath("tests").rglob("test_*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []
