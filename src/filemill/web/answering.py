"""Answers as JSON, by the encoder that the command line uses too."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response


def json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """The value as a JSON document."""
    return Response(msgspec.json.encode(value), status, headers, "application/json")
