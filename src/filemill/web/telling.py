"""What is told to whom: whoever only sees what it sent learns nothing of where things lie on the server."""

from __future__ import annotations

from typing import Any

from filemill.model.access import Principal
from filemill.queries import FileHistory
from filemill.service.shapes import file_history

_PLACES = ("path", "content")


def history_for(principal: Principal, found: FileHistory) -> dict[str, Any]:
    """All that is known of a file, as `filemill.file/1` has it; places of the server are null for a mere sender."""
    told: dict[str, Any] = {**file_history(found)}
    if principal.sees_own_only:
        told |= dict.fromkeys(_PLACES)
        told["runs"] = [
            run | {"outputs": [output | {"path": None} for output in run["outputs"]]}
            for run in told["runs"]
        ]
    return told
