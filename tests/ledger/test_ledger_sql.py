"""What the named SQL promises: only moves of the transition table, indexes for every move, groups in one step."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import apsw
import pytest

import filemill.ledgers.sqlite
from filemill.durable import Durable, Failpoints
from filemill.ledgers.sqlite.opening import open_writer
from filemill.ledgers.sqlite.packing import plain, signed, unsigned
from filemill.ledgers.sqlite.reading_connection import _FILE, _RUN
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
    "runs:left_chunks",
    "runs:left_staged",
    "retention:unused_revisions",
}
GROW = (
    "file",
    "run",
    "publication",
    "attempt",
    "tally",
    "reject",
    "chunk",
    "file_tag",
    "kept",
    "(?:later|first|hand|same|child|earlier|up|driver)",  # as queries call some of them
)
PARTIAL = ("run_group", "file_open", "run_due")
"""Indexes that know only what is not at a good end."""
IN_ORDER = ("run_end", "file_end")
"""Indexes that are read from their end, and no further than was asked for."""
COUNTS_EVERYTHING = {"reading:file_total", "reading:runs_total", "reading:revision_runs"}


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
    asked = {
        name: query
        for name, query in QUERIES.items()
        if not name.startswith(("reading:", "health:")) and name not in AT_START_OR_FOR_PEOPLE
    }
    assert {name.partition(":")[0] for name in asked} >= {
        "claims",
        "deeds",
        "leasing",
        "retention",
        "runs",
        "tally",
    }
    assert _scanning(db, asked) == {}


def test_what_people_read_looks_at_every_row_only_to_count_them(db):
    reading = {name: query for name, query in QUERIES.items() if name.startswith("reading:")}
    assert len(reading) > 40
    found = _scanning(db, reading, but=PARTIAL + IN_ORDER)
    assert set(found) == COUNTS_EVERYTHING, found
    for name in COUNTS_EVERYTHING - {"reading:revision_runs"}:
        assert "COVERING INDEX" in found[name]
    for name, query in reading.items():
        plan = _plan(db, query.text)
        if any(
            f"SCAN {table} USING INDEX {index}" in plan
            for table in ("run", "file")
            for index in IN_ORDER
        ):
            assert "LIMIT" in query.text, name
            assert "TEMP B-TREE" not in plan, name


def test_a_revision_in_use_is_found_by_the_oldest_runs(db):
    """It looks at runs until one names the revision: never at all of them each hour, to have them in a list."""
    plan = _plan(db, QUERIES["retention:unused_revisions"].text)
    assert "CORRELATED SCALAR SUBQUERY" in plan
    for step in ("SCAN attempt", "AUTOMATIC", "LIST SUBQUERY 4"):
        assert step not in plan


@pytest.mark.parametrize(
    ("index", "named"),
    [
        ("run_file", "retention:drop_runs"),
        ("file_arrived", "reading:file_total"),
        ("run_key", "leasing:ordered"),
        ("run_ended", "retention:waiting_before"),
    ],
)
def test_a_missing_index_is_noticed(index, named):
    db = open_writer(":memory:", Durable(Failpoints("test"), sync=False), 1)
    db.execute(f"DROP INDEX {index}")
    query = QUERIES[named]
    try:
        found = _scanning(db, {named: query}, but=PARTIAL)
    except apsw.SQLError as error:
        assert index in str(error)  # noqa: PT017 -- the query insists on it
    else:
        assert named in found
        assert index not in found[named]
    finally:
        db.close()


def _scanning(db, queries, but=()):
    """Plans of those of these queries that look at every row of a table that grows, but for small indexes."""
    found = {}
    for name, query in queries.items():
        plan = _plan(db, query.text)
        for index in but:
            plan = re.sub(rf"SCAN \w+ USING (COVERING )?INDEX {index}\b", "", plan)
        if any(re.search(rf"SCAN {table}\b", plan) for table in GROW):
            found[name] = plan
    return found


def _plan(db, text):
    text = text.replace("{file}", _FILE).replace("{run}", _RUN)
    bindings = [None] * max([0, *(int(n) for n in re.findall(r"\?(\d+)", text))])
    bindings = bindings or [None] * text.count("?")
    return "; ".join(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {text}", bindings))


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
