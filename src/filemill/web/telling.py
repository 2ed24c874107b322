"""What is told to whom: whoever only sees what it sent learns nothing of where things lie on the server."""

from __future__ import annotations

from typing import Any

import msgspec

from filemill.model.access import Principal
from filemill.queries import FileHistory, RunHistory
from filemill.service.shapes import file_history

_PLACES = ("path", "content")


def for_eyes_of(principal: Principal, found: FileHistory) -> FileHistory:
    """All of it, but for a mere sender without the places of the server."""
    if not principal.sees_own_only:
        return found
    runs = tuple(_without_places(run) for run in found.runs)
    return msgspec.structs.replace(found, path=b"", content="", runs=runs)


def history_for(principal: Principal, found: FileHistory) -> dict[str, Any]:
    """All that is known of a file, as `filemill.file/1` has it; places of the server are null for a mere sender."""
    told: dict[str, Any] = {**file_history(for_eyes_of(principal, found))}
    if principal.sees_own_only:
        told |= dict.fromkeys(_PLACES)
        told["runs"] = [
            run | {"outputs": [output | {"path": None} for output in run["outputs"]]}
            for run in told["runs"]
        ]
    return told


def _without_places(run: RunHistory) -> RunHistory:
    outputs = tuple(msgspec.structs.replace(each, path=b"") for each in run.outputs)
    return msgspec.structs.replace(run, outputs=outputs)
