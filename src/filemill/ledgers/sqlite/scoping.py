"""A reading connection that sees only what a scope lets it: its tables stand behind views of the same names.

SQLite looks a name up among a connection's temporary views first. So every statement there is, and every one that is
written later, sees through them, whether its author thought of scopes or not. Nothing is shown that no view shows: a
table that is not named here is empty. The names that the scope is made of are rows, not text of a statement.
"""

from __future__ import annotations

import re

import apsw

from filemill.ports.access import Scope

_SEEN = "EXISTS (SELECT 1 FROM temp.file AS seen WHERE seen.no = {0})"
_OF_RUN = "EXISTS (SELECT 1 FROM temp.run AS seen WHERE seen.no = {0}.run)"
_NAMED = "(SELECT name FROM temp.scope_{0})"
_HINT = re.compile(r" INDEXED BY \w+")
_REFERENCES = ("file.parent", "file.duplicate_of", "run.mended")
"""Columns with the id of another file."""


def narrow(db: apsw.Connection, scope: Scope) -> None:
    """Put the views in front of the tables of a connection that nobody uses yet."""
    db.pragma(
        "query_only", False
    )  # of temporary tables too; the file itself was opened for reading only
    for kind, names in (
        ("principal", (scope.principal,) if scope.principal else ()),
        ("source", scope.sources),
        ("pipeline", scope.pipelines),
    ):
        db.execute(f"CREATE TEMP TABLE scope_{kind} (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID")
        statement = f"INSERT OR IGNORE INTO temp.scope_{kind} VALUES (?)"  # noqa: S608 -- of the three names above
        db.executemany(statement, [(name,) for name in names])
    seen = {} if scope.nothing else _conditions(scope)
    tables = "SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    for table in sorted(str(name) for (name,) in db.execute(tables).fetchall()):
        condition = seen.get(table, "false")
        db.execute(f'CREATE TEMP VIEW "{table}" AS SELECT * FROM main."{table}" WHERE {condition}')  # noqa: S608 -- names of the schema
    db.pragma("query_only", True)


def narrowed(text: str) -> str:
    """A statement for such a connection: views have no indexes of their own to be told of."""
    return _HINT.sub("", text)


def hiding(columns: str) -> str:
    """A list of columns in which the id of a file out of sight is null."""
    for column in _REFERENCES:
        columns = columns.replace(column, f"(SELECT id FROM file AS seen WHERE seen.id = {column})")  # noqa: S608 -- of the three above
    return columns


def _conditions(scope: Scope) -> dict[str, str]:
    """By table, which of its rows are seen; the views are looked up when they are used, so any may name another.

    Every column is named with its table: a bare name is looked up in the innermost query first.
    """
    file, run = [], [_SEEN.format("run.file")]
    if scope.principal:
        file.append(f"file.principal <> '' AND file.principal = {_NAMED.format('principal')}")
    if scope.sources:
        file.append(f"file.source IN {_NAMED.format('source')}")
    if scope.pipelines:
        named = f"IN {_NAMED.format('pipeline')}"
        file.append(
            f"EXISTS (SELECT 1 FROM main.run AS own WHERE own.file = file.no AND own.pipeline {named})"  # noqa: S608
        )
        run.append(f"run.pipeline {named}")
    conditions = {"file": " AND ".join(file), "run": " AND ".join(run)}
    conditions["file_tag"] = _SEEN.format("file_tag.file")
    for table in ("chunk", "publication", "attempt", "reject"):
        conditions[table] = _OF_RUN.format(table)
    if scope.principal:
        # It sees what became of its own, not who of the staff did what.
        conditions["upload"] = f"upload.principal = {_NAMED.format('principal')}"
    else:
        conditions |= _of_staff(scope)
    return conditions


def _of_staff(scope: Scope) -> dict[str, str]:
    """What people did to the files and runs that are seen, and to their pipelines; how many of them are where."""
    seen = "EXISTS (SELECT 1 FROM temp.run AS seen WHERE seen.{0})"
    conditions = {
        "audit": (
            "EXISTS (SELECT 1 FROM temp.file AS seen WHERE seen.id = audit.object) "
            "OR EXISTS (SELECT 1 FROM temp.run AS seen WHERE seen.id = audit.object)"
        ),
        "cause": seen.format("state = 'dead' AND seen.fingerprint = cause.fingerprint"),
        "pause": seen.format("pipeline = pause.pipeline"),
    }
    standing = [
        f"standing.{kind} IN {_NAMED.format(kind)}"
        for kind, names in (("source", scope.sources), ("pipeline", scope.pipelines))
        if names
    ]
    conditions["standing"] = " AND ".join(standing)
    if scope.pipelines and not scope.sources:
        # With sources, too, only what their files are in: a pipeline may be theirs and have none of them.
        conditions["pause"] = f"pause.pipeline IN {_NAMED.format('pipeline')}"
        conditions["tally"] = f"tally.pipeline IN {_NAMED.format('pipeline')}"
    return conditions
