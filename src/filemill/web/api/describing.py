"""The description of all routes: OpenAPI, and a page made of it that needs no script and nothing from elsewhere."""

from __future__ import annotations

from html import escape
from typing import Any, NamedTuple

import msgspec
from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response

from filemill.web.cookies import session_name
from filemill.web.describing import Describing
from filemill.web.identifying import MetaViewer
from filemill.web.state import State

router = APIRouter(tags=["description"])
_METHODS = ("get", "post", "put", "patch", "delete", "head", "options")


@router.get("/openapi.json", summary="This description, for programs")
async def openapi(request: Request, principal: MetaViewer) -> Response:
    """OpenAPI of every route."""
    del principal
    return Response(_made(request.app).encoded, media_type="application/json")


@router.get("/docs", summary="This description, for people")
async def docs(request: Request, principal: MetaViewer) -> Response:
    """A page that lists every route."""
    del principal
    return Response(_made(request.app).page, media_type="text/html")


class _Made(NamedTuple):
    """What is sent, ready: it is large, and who asks for it again and again must not keep others waiting."""

    entrances: list[str]
    encoded: bytes
    page: bytes


def _made(app: FastAPI) -> _Made:
    """The description with the paths that the configuration names now. It is made once for each of these."""
    state: State = app.state.filemill
    entrances = [each.path for each in state.opening.entrances]
    made: _Made | None = getattr(app.state, "described", None)
    if made is None or made.entrances != entrances:
        found = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        whole = Describing(found, entrances, session_name(state.opening)).whole()
        app.state.described = made = _Made(
            entrances, msgspec.json.encode(whole), _page(whole).encode()
        )
    return made


def _page(found: dict[str, Any]) -> str:
    rows = "".join(
        f"<dt><code>{method.upper()} {escape(path)}</code> {escape(operation.get('summary', ''))}</dt>"
        f"<dd>{escape(operation.get('description', ''))}{_asked(operation)}</dd>"
        for path, operations in found["paths"].items()
        for method, operation in operations.items()
        if method in _METHODS
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>filemill</title></head><body>'
        f"<h1>filemill</h1><p>{escape(found['info']['description'])}</p>"
        f'<p><a href="/openapi.json">openapi.json</a></p><dl>{rows}</dl></body></html>'
    )


def _asked(operation: dict[str, Any]) -> str:
    names = [f"{each['name']} ({each['in']})" for each in operation.get("parameters", ())]
    return f"<br>Takes: {escape(', '.join(names))}" if names else ""
