"""From a selection of files to SQL: fixed fragments, every value bound, the most selective index first."""

from __future__ import annotations

from typing import Any

from filemill.model.states import LIVE_RUN_STATES, RunState
from filemill.ports.reading import Selection

# ruff: noqa: S608 -- the pieces below are this module's own; every value is bound
_LIVE = "('queued', 'running', 'publishing', 'retrying')"
_WORST_FIRST = (RunState.DEAD, RunState.HELD, RunState.CANCELLED, RunState.DISCARDED)
_ENDED = "('dead', 'held', 'cancelled', 'discarded')"

assert {f"'{state}'" for state in LIVE_RUN_STATES} == set(_LIVE.strip("()").split(", "))  # noqa: S101


def build(selection: Selection, columns: str, first: int | None) -> tuple[str, dict[str, Any]]:
    """The statement and its bindings; `first` is the lowest number of a file to look at."""
    bindings: dict[str, Any] = {"limit": selection.limit}
    conditions: list[str] = []
    source, place = "file", "file.no"
    if selection.tag and not selection.tag.endswith("*") and not _by_state(selection.state):
        source = "file_tag AS driver CROSS JOIN file ON file.no = driver.file"
        place = "driver.file"
        conditions.append("driver.tag = :tag")
        bindings["tag"] = selection.tag
    elif selection.tag:
        conditions.append(_tagged(selection.tag, bindings))
    if selection.state:
        conditions.append(_in_state(selection.state, bindings))
    if selection.pipeline:
        bindings["pipeline"] = selection.pipeline
        conditions.append(
            "file.no IN (SELECT file FROM run WHERE pipeline = :pipeline)"
            if source == "file" and not _by_state(selection.state)
            else "EXISTS (SELECT 1 FROM run WHERE run.file = file.no AND pipeline = :pipeline)"
        )
    if selection.name:
        conditions.append(_named(selection.name, bindings))
    if selection.since_ns:
        conditions.append("file.claimed_ns >= :since")
        bindings["since"] = selection.since_ns
    if first is not None:
        conditions.append(f"{place} >= :first")
        bindings["first"] = first
    if selection.before is not None:
        conditions.append(f"{place} < :before")
        bindings["before"] = selection.before
    where = " AND ".join(conditions) or "true"
    text = f"SELECT {columns} FROM {source} WHERE {where} ORDER BY {place} DESC LIMIT :limit"
    return text, bindings


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
    own = "SELECT no FROM file WHERE disposed_ns IS NULL AND state = :state"
    if state not in _WORST_FIRST:
        return f"file.no IN ({own})"
    worse = "".join(f", '{each}'" for each in _WORST_FIRST[: _WORST_FIRST.index(RunState(state))])
    return (
        f"file.no IN ({own} UNION ALL SELECT file FROM run WHERE state = :state AND state IN {_ENDED}) "
        "AND NOT EXISTS (SELECT 1 FROM run WHERE run.file = file.no "
        f"AND run.state IN ('queued', 'running', 'publishing', 'retrying'{worse}))"
    )


def _tagged(tag: str, bindings: dict[str, Any]) -> str:
    if not tag.endswith("*"):
        bindings["tag"] = tag
        return "EXISTS (SELECT 1 FROM file_tag WHERE tag = :tag AND file_tag.file = file.no)"
    bindings["tag"] = tag[:-1]
    bindings["tag_end"] = tag[:-1] + "\U0010ffff"
    return "file.no IN (SELECT file FROM file_tag WHERE tag >= :tag AND tag < :tag_end)"


def _named(name: bytes, bindings: dict[str, Any]) -> str:
    """Bytes in a path are compared as they are; a pattern, and letters of either case, as text."""
    text = name.decode("utf-8", "replace").lower()
    if any(sign in text for sign in "*?"):
        # GLOB knows [sets]; here a bracket is only a bracket.
        pattern = text.replace("[", "[[]")
        bindings["name"] = pattern
        bindings["name_below"] = "*/" + pattern
        return (
            "(lower(CAST(file.relative AS TEXT)) GLOB :name "
            "OR lower(CAST(file.relative AS TEXT)) GLOB :name_below)"
        )
    bindings["name"] = text
    bindings["name_bytes"] = name
    return "(instr(lower(CAST(file.relative AS TEXT)), :name) OR instr(file.relative, :name_bytes))"
