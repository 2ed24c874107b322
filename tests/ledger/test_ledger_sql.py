"""What the named SQL promises: only moves of the transition table, indexes for every move, groups in one step."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import filemill.ledgers.sqlite
from filemill.durable import Durable, Failpoints
from filemill.ledgers.sqlite.opening import open_writer
from filemill.ledgers.sqlite.packing import plain, signed, unsigned
from filemill.ledgers.sqlite.sql import load
from filemill.model.histogram import bucket, quantile_ns, upper_ns
from filemill.model.states import FileState, RunState, may_move_file, may_move_run

HERE = Path(filemill.ledgers.sqlite.__file__).parent
QUERIES = {
    f"{path.stem}:{name}": query
    for path in sorted(HERE.glob("*.sql"))
    for name, query in load(path.name).items()
}
AT_START_OR_FOR_PEOPLE = {
    "claims:known_content",
    "claims:left_files",
    "claims:undisposed",
    "runs:left_staged",
    "retention:unused_revisions",
}


@pytest.fixture(scope="module")
def db():
    db = open_writer(":memory:", Durable(Failpoints("test"), sync=False), 1)
    yield db
    db.close()


def test_every_change_of_state_says_its_moves_and_the_table_allows_them():
    movers = 0
    for query in QUERIES.values():
        changes = re.match(r"(?:WITH.*)?UPDATE (file|run) SET state = ", query.text, re.DOTALL)
        assert bool(changes) == bool(query.moves), query.name
        movers += bool(changes)
        for kind, before, after in query.moves:
            if kind == "run":
                assert may_move_run(RunState(before), RunState(after)), query.name
            else:
                assert may_move_file(FileState(before), FileState(after)), query.name
    assert movers >= 8


def test_the_states_in_the_sql_are_those_of_its_moves():
    """Where the from-states or the to-state stand in the SQL itself, they are the declared ones."""
    for query in QUERIES.values():
        if not query.moves:
            continue
        befores = {before for _, before, _ in query.moves}
        afters = {after for _, _, after in query.moves}
        to = re.search(r"SET state = '(\w+)'", query.text)
        if to:
            assert afters == {to[1]}, query.name
        where = query.text[query.text.rindex("WHERE") :]
        literal = set(re.findall(r"'(\w+)'", where))
        assert literal == befores or "given.before" in where, query.name


def test_every_query_has_one_sentence(db):
    for query in QUERIES.values():
        assert query.comment.endswith("."), query.name


def test_every_query_is_asked():
    texts = {
        node.value
        for path in HERE.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert len(QUERIES) > 100
    assert [name for name in QUERIES if name.partition(":")[2] not in texts] == []


def test_no_move_looks_at_every_row(db):
    for name, query in QUERIES.items():
        if name.startswith(("reading:", "health:")) or name in AT_START_OR_FOR_PEOPLE:
            continue
        plan = "; ".join(
            row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {query.text}", _binds(query))
        )
        for table in (
            "file",
            "run",
            "publication",
            "attempt",
            "tally",
            "reject",
            "file_tag",
            "kept",
        ):
            assert not re.search(rf"SCAN {table}\b", plan), f"{name}: {plan}"


def _binds(query):
    numbered = {int(n) for n in re.findall(r"\?(\d+)", query.text)}
    return [None] * (max(numbered) if numbered else query.text.count("?"))


def test_rows_repeat_the_values():
    query = load("claims.sql")["add_tags"]
    assert query.rows(3).count("(?, ?)") == 3
    with pytest.raises(ValueError):
        load("claims.sql")["live"].rows(2)


def test_signed_is_reversible():
    for number in (0, 1, 2**63 - 1, 2**63, 2**64 - 1):
        assert unsigned(signed(number)) == number
        assert -(2**63) <= signed(number) < 2**63


def test_plain_keeps_what_utf8_can_hold():
    assert plain("näme") == "näme"
    assert plain("\udcff.csv") == "\\udcff.csv"


def test_a_histogram_is_within_a_quarter_of_the_truth():
    for exponent in range(11, 45):
        for took in (1 << exponent, (1 << exponent) + 1, 3 << (exponent - 1), (2 << exponent) - 1):
            above = upper_ns(bucket(took))
            assert took < above <= took * 1.25 + 1024
    assert bucket(-5) == 0
    counts = {bucket(1_000_000): 90, bucket(8_000_000): 10}
    assert 1_000_000 < quantile_ns(counts, 0.5) <= 1_250_000
    assert 8_000_000 < quantile_ns(counts, 0.95) <= 10_000_000
    assert quantile_ns({}, 0.5) == 0
