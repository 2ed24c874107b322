"""From a selection of files to SQL: fixed fragments, every value bound, the most selective index first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from filemill.model.states import LIVE_RUN_STATES, RunState
from filemill.ports.reading import Selection

# ruff: noqa: S608 -- the pieces below are this module's own; every value is bound
_LIVE = "('queued', 'running', 'publishing', 'retrying')"
_WORST_FIRST = (RunState.DEAD, RunState.HELD, RunState.CANCELLED, RunState.DISCARDED)
_ENDED = "('dead', 'held', 'cancelled', 'discarded')"

assert {f"'{state}'" for state in LIVE_RUN_STATES} == set(_LIVE.strip("()").split(", "))  # noqa: S101


MANY_TAGS = 64
"""Tags behind one `partner:*` up to which each is asked for by itself."""


def build(
    selection: Selection, columns: str, first: int | None, tags: Sequence[str] | None = None
) -> tuple[str, dict[str, Any]]:
    """The statement and its bindings.

    `first` is the lowest number of a file to look at. `tags` are those that a pattern of tags (`partner:*`) stands
    for, if they are no more than MANY_TAGS: then the latest files of each are read and merged, where a million files
    under the pattern would have to be listed first.
    """
    bindings: dict[str, Any] = {"limit": selection.limit}
    lead, source, place = _lead(selection, tags)
    bindings |= {f"tag{i}": tag for i, tag in enumerate(tags or ())}
    conditions: list[str] = []
    if selection.name:
        column = "driver.relative" if lead == "name" else "file.relative"
        conditions.append(_named(column, selection.name, bindings))
    if selection.tag:
        conditions.append(_tagged(selection.tag, bindings, lead, tags))
    if selection.principal:
        bindings["principal"] = selection.principal
        conditions.append("file.principal = :principal AND file.principal <> ''")
    if selection.pipeline:
        bindings["pipeline"] = selection.pipeline
        conditions.append(
            "driver.pipeline = :pipeline"
            if lead == "pipeline"
            else "EXISTS (SELECT 1 FROM run WHERE run.file = file.no AND pipeline = :pipeline)"
        )
    if selection.state:
        conditions.append(_in_state(selection.state, bindings))
    for name, test, value in (
        ("since", "file.claimed_ns >= :since", selection.since_ns or None),
        ("first", f"{place} >= :first", first),
        ("before", f"{place} < :before", selection.before),
    ):
        if value is not None:
            conditions.append(test)
            bindings[name] = value
    where = " AND ".join(conditions) or "true"
    if lead == "tags":
        each = " UNION ALL ".join(
            f"SELECT * FROM (SELECT driver.file FROM {source} WHERE driver.tag = :tag{i} AND {where} "
            "ORDER BY driver.file DESC LIMIT :limit)"
            for i in range(len(tags or ()))
        )
        text = f"SELECT {columns} FROM file WHERE file.no IN ({each}) ORDER BY file.no DESC LIMIT :limit"
        return text, bindings
    # A replay is another run of the same file and pipeline.
    grouping = f"GROUP BY {place}" if lead == "pipeline" else ""
    text = f"SELECT {columns} FROM {source} WHERE {where} {grouping} ORDER BY {place} DESC LIMIT :limit"
    return text, bindings


def _lead(selection: Selection, tags: Sequence[str] | None) -> tuple[str, str, str]:
    """What is read first: its name, the tables, and the column that is in order of arrival."""
    if not _by_state(selection.state):
        if selection.tag and (tags or not selection.tag.endswith("*")):
            return (
                "tags" if tags else "tag",
                "file_tag AS driver CROSS JOIN file ON file.no = driver.file",
                "driver.file",
            )
        if selection.pipeline:
            return (
                "pipeline",
                "run AS driver CROSS JOIN file ON file.no = driver.file",
                "driver.file",
            )
        if selection.name:
            return (
                "name",
                "file AS driver INDEXED BY file_name CROSS JOIN file ON file.no = driver.no",
                "driver.no",
            )
    return "", "file", "file.no"


def _by_state(state: str) -> bool:
    """Whether the state alone leads to few files by an index."""
    return bool(state) and state != RunState.DONE


def _in_state(state: str, bindings: dict[str, Any]) -> str:
    """Files that count under one word: see `model.states.file_state_of`."""
    if state == "live":
        return (
            "file.no IN (SELECT no FROM file WHERE disposed_ns IS NULL AND state IN ('claiming', 'ingested') "
            f"UNION ALL SELECT file FROM run WHERE state IN {_LIVE})"
        )
    if state == RunState.DONE:
        return (
            "file.state = 'inspected' AND EXISTS (SELECT 1 FROM run WHERE run.file = file.no) "
            "AND NOT EXISTS (SELECT 1 FROM run WHERE run.file = file.no AND run.state <> 'done')"
        )
    bindings["state"] = state
    if state in LIVE_RUN_STATES:
        return f"file.no IN (SELECT file FROM run WHERE state = :state AND state IN {_LIVE})"
    own = "SELECT no FROM file WHERE disposed_ns IS NULL AND state = :state"
    if state not in _WORST_FIRST:
        return f"file.no IN ({own})"
    worse = "".join(f", '{each}'" for each in _WORST_FIRST[: _WORST_FIRST.index(RunState(state))])
    return (
        f"file.no IN ({own} UNION ALL SELECT file FROM run WHERE state = :state AND state IN {_ENDED}) "
        "AND NOT EXISTS (SELECT 1 FROM run WHERE run.file = file.no "
        f"AND run.state IN ('queued', 'running', 'publishing', 'retrying'{worse}))"
    )


def _tagged(tag: str, bindings: dict[str, Any], lead: str, tags: Sequence[str] | None) -> str:
    if lead == "tags":
        return "true"  # each part of the union asks for its own
    if tags:
        names = ", ".join(f":tag{i}" for i in range(len(tags)))
        return f"EXISTS (SELECT 1 FROM file_tag WHERE tag IN ({names}) AND file_tag.file = file.no)"
    if tag.endswith("*"):
        bindings["tag"] = tag[:-1]
        bindings["tag_end"] = tag[:-1] + "\U0010ffff"
        return "file.no IN (SELECT file FROM file_tag WHERE tag >= :tag AND tag < :tag_end)"
    bindings["tag"] = tag
    if lead == "tag":
        return "driver.tag = :tag"
    return "EXISTS (SELECT 1 FROM file_tag WHERE tag = :tag AND file_tag.file = file.no)"


def _named(column: str, name: bytes, bindings: dict[str, Any]) -> str:
    """Bytes in a path are compared as they are; a pattern, and letters of either case, as text."""
    text = name.decode("utf-8", "replace").lower()
    words = f"lower(CAST({column} AS TEXT))"
    if any(sign in text for sign in "*?"):
        pattern = text.replace("[", "[[]")  # GLOB knows [sets]; here a bracket is a bracket
        bindings["name"] = pattern
        bindings["below"] = "*/" + pattern
        return f"({words} GLOB :name OR {words} GLOB :below)"
    bindings["name"] = text
    bindings["bytes"] = name
    return f"(instr({words}, :name) OR instr({column}, :bytes))"
