"""Strangers' words are data: no shell, no template read twice, no object made of bytes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from world import World

import filemill

SOURCES = Path(filemill.__file__).parent
_MAKERS_OF_OBJECTS = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
_SHELLS = {
    "os.system",
    "os.popen",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "asyncio.create_subprocess_shell",
}


def _forbidden(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name in _MAKERS_OF_OBJECTS)
        elif isinstance(node, ast.ImportFrom) and node.module in _MAKERS_OF_OBJECTS:
            yield str(node.module)
        elif isinstance(node, ast.Call):
            if ast.unparse(node.func) in _SHELLS:
                yield ast.unparse(node.func)
            for each in node.keywords:
                if each.arg == "shell" and not (
                    isinstance(each.value, ast.Constant) and each.value.value is False
                ):
                    yield "shell="


def test_nothing_is_run_through_a_shell_or_unpickled() -> None:
    found = {
        f"{path.relative_to(SOURCES)}: {what}"
        for path in SOURCES.rglob("*.py")
        for what in _forbidden(ast.parse(path.read_text()))
    }
    assert not found


def test_the_search_for_shells_finds_them() -> None:
    text = "import pickle\nfrom marshal import loads\nos.system('x')\nrun('x', shell=True)\n"
    assert list(_forbidden(ast.parse(text))) == ["pickle", "marshal", "os.system", "shell="]


@pytest.mark.timeout(120)
def test_a_name_that_looks_like_a_template_is_only_a_name(tmp_path: Path) -> None:
    world = World(tmp_path, "[]")
    names = ["{digest8}{id}.txt", "{0.__class__}.txt", "$(touch pwned).txt", "%s%n.txt"]
    for name in names:
        world.drop(name, b"fine\n")
    config = (tmp_path / "filemill.yaml").read_text()
    (tmp_path / "filemill.yaml").write_text(
        config.replace("{folder: out}", '{folder: out, name: "{stem}-x.{ext}"}')
    )
    world.say("run", "--once")
    assert world.published == {name.replace(".txt", "-x.txt") for name in names}
    assert not list(tmp_path.rglob("pwned*"))
