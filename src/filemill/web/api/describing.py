"""The description of all routes: OpenAPI, and a page made of it that needs no script and nothing from elsewhere."""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response

from filemill.web.answering import json
from filemill.web.identifying import MetaViewer

router = APIRouter(tags=["description"])
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "help", "request_id"],
            "properties": {
                name: {"type": "string"} for name in ("code", "message", "help", "request_id")
            },
        }
    },
    "example": {
        "error": {
            "code": "not-found",
            "message": "no file or run has an id that begins with `3fk2`",
            "help": "`filemill files ls` shows ids",
            "request_id": "5f0c1d2e3a4b",
        }
    },
}
_METHODS = ("get", "post", "put", "patch", "delete", "head", "options")


@router.get("/openapi.json", summary="This description, for programs")
async def openapi(request: Request, principal: MetaViewer) -> Response:
    """OpenAPI of every route."""
    del principal
    return json(described(request.app))


@router.get("/docs", summary="This description, for people")
async def docs(request: Request, principal: MetaViewer) -> Response:
    """A page that lists every route."""
    del principal
    return Response(_page(described(request.app)), media_type="text/html")


def described(app: FastAPI) -> dict[str, Any]:
    """OpenAPI of the application: every route may answer with the one shape of errors, and all but a few need a key."""
    from filemill.web.api.health import OPEN  # noqa: PLC0415 -- only for this

    found = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    parts = found.setdefault("components", {})
    parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    parts.setdefault("schemas", {})["Error"] = _ERROR
    error = {
        "description": "Every error",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    for path, operations in found["paths"].items():
        for method in _METHODS:
            if (operation := operations.get(method)) is not None:
                operation["responses"].pop("422", None)
                operation["responses"]["default"] = error
                is_open = path in OPEN or method == "options"
                operation["security"] = [] if is_open else [{"key": []}]
    return found


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
