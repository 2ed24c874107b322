"""Answers: as JSON, by the encoder that the command line uses too, or as values, for the command line itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from filemill.service import values

T = TypeVar("T", bound=msgspec.Struct)


def json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """The value as a JSON document."""
    return Response(msgspec.json.encode(value), status, headers, "application/json")


def told(request: Request, value: T, document: Callable[[T], Any], status: int = 200) -> Response:
    """The value itself for whoever accepts it so, else its document as JSON. Both tell the same."""
    if request.headers.get("accept", "") == values.MEDIA:
        return Response(values.pack(value), status, media_type=values.MEDIA)
    return json(document(value), status)
