"""What is asked for never becomes SQL: statements are fixed texts of this program, and every value is bound."""

import ast
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

import filemill
from filemill.ledgers.sqlite.scoping import narrow
from filemill.ledgers.sqlite.selecting import build
from filemill.model.states import FileState, RunState
from filemill.ports.access import Scope
from filemill.ports.reading import Selection

SOURCES = Path(filemill.__file__).parent
MARK = "zqmark"
HOSTILE = st.text(st.sampled_from("'\";-()%*?:$@\\\0 a"), max_size=12).map(
    lambda t: f"{t}{MARK}{t}"
)
BUILDING = (".format", ".join", ".replace")
MADE_HERE = {
    ("ledgers/sqlite/scoping.py", "kind"): "one of three words of the module",
    ("ledgers/sqlite/scoping.py", "table"): "names of the ledger's own schema",
    ("ledgers/sqlite/scoping.py", "condition"): "made of the module's texts alone, see below",
    ("ledgers/sqlite/health.py", "_SHOWN"): "a number of the module",
}
"""What is put into the text of a statement where it is executed, and why that may be."""


def put_into_statements(tree):
    """What f-strings, `%`, `+` and `format` put into the first argument of `execute` and `executemany`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr not in {"execute", "executemany"} or not node.args:
            continue
        for part in ast.walk(node.args[0]):
            if isinstance(part, ast.FormattedValue):
                yield ast.unparse(part.value)
            elif isinstance(part, ast.BinOp) or (
                isinstance(part, ast.Call) and ast.unparse(part.func).endswith(BUILDING)
            ):
                yield ast.unparse(part)


def test_nothing_but_words_of_the_program_is_put_into_a_statement():
    found = {
        (str(path.relative_to(SOURCES)), what)
        for path in SOURCES.rglob("*.py")
        for what in put_into_statements(ast.parse(path.read_text()))
    }
    assert found == set(MADE_HERE)


def test_the_search_finds_every_way_to_build_one():
    text = "a.execute(f'x {y}')\na.execute('x ' + y)\na.executemany('x {}'.format(y))\na.execute('%s' % y)"
    assert len(list(put_into_statements(ast.parse(text)))) == 4


SELECTIONS = st.builds(
    Selection,
    state=st.sampled_from(["", "live", *RunState, *FileState]) | HOSTILE,
    tag=st.just("") | HOSTILE | HOSTILE.map(lambda t: f"{t}*"),
    pipeline=st.just("") | HOSTILE,
    principal=st.just("") | HOSTILE,
    name=st.just(b"") | HOSTILE.map(str.encode),
)


@given(SELECTIONS, st.none() | st.lists(HOSTILE, min_size=1, max_size=3))
def test_no_value_of_a_selection_is_in_its_statement(selection, tags):
    tags = tags if selection.tag.endswith("*") else None
    text, bindings = build(selection, "file.no", None, tags)
    assert MARK not in text
    assert (MARK in repr(bindings)) is (MARK in repr(selection)), "the control: it is bound"


@pytest.mark.parametrize("kind", ["principal", "sources", "pipelines"])
def test_no_name_of_a_scope_is_in_a_view(kind):
    hostile = f"x') OR ('1'='1{MARK}"
    db = apsw.Connection(":memory:")
    db.execute(
        "CREATE TABLE file (no, id, principal, source, parent, duplicate_of);"
        "CREATE TABLE run (no, id, file, pipeline, state, fingerprint, mended);"
        "INSERT INTO file VALUES (1, 'a', 'key:a', 's', NULL, NULL);"
        "INSERT INTO run VALUES (1, 'r', 1, 'p', 'done', '', NULL);"
    )
    narrow(db, Scope(**{kind: hostile if kind == "principal" else (hostile,)}))
    texts = [
        sql for (sql,) in db.execute("SELECT sql FROM sqlite_temp_schema WHERE sql IS NOT NULL")
    ]
    assert texts
    assert MARK not in "".join(texts)
    assert db.execute("SELECT count(*) FROM file").get == 0
