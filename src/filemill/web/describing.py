"""OpenAPI as it is served: what the framework knows of the routes, and the answers and headers that it does not."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import msgspec

from filemill.web import documents
from filemill.web.answers import ALWAYS, ANSWERS, HEADERS, KEYED, RETRIED, STATUSES, Answer
from filemill.web.api import health, logging_in
from filemill.web.cookies import CSRF_HEADER, SAFE_METHODS
from filemill.web.examples import example_of

ENTRANCE = "/{entrance}"
"""The pattern of paths that the configuration names."""
OPEN = (*health.OPEN, *logging_in.OPEN)
"""Paths that need no key."""
_PAGE = "text/html"
_REF = "#/components/schemas/{name}"
_REF_HEADER = "#/components/headers/"
_SAMPLE = "filemill_intake_open 1.0\n"
_NOT_JSON: dict[str, dict[str, Any]] = {
    "text/event-stream": {
        "schema": {"type": "string"},
        "example": 'id: 1777882530123000000\nevent: RunFinished\ndata: {"event": "RunFinished"}\n\n',
    },
    _PAGE: {"schema": {"type": "string"}, "example": "<!doctype html>"},
    "text/plain": {"schema": {"type": "string"}, "example": _SAMPLE},
    "application/openmetrics-text": {"schema": {"type": "string"}, "example": f"{_SAMPLE}# EOF\n"},
    "application/octet-stream": {
        "schema": {"type": "string", "format": "binary"},
        "example": "id,total\n1,20\n",
    },
    "application/json": {"schema": {"type": "object"}, "example": {"openapi": "3.1.0"}},
}
_ANY = "Any other error has the same shape: a head that is too large, a server that has a defect"


class Describing:
    """Completes what the framework found. `entrances` are the paths that take files, `cookie` is a session's."""

    def __init__(self, found: dict[str, Any], entrances: Sequence[str], cookie: str) -> None:
        self._found = found
        self._entrances = entrances
        self._cookie = cookie
        parts = found.setdefault("components", {})
        self._schemas: dict[str, Any] = parts.setdefault("schemas", {})

    def whole(self) -> dict[str, Any]:
        """All of it."""
        shapes = {shape for answer in ANSWERS.values() for shape in answer.shapes}
        ordered = sorted((*shapes, documents.Error), key=lambda each: each.__name__)
        _, components = msgspec.json.schema_components(ordered, ref_template=_REF)
        for name in ("HTTPValidationError", "ValidationError"):
            self._schemas.pop(name, None)
        self._schemas |= components
        parts = self._found["components"]
        parts["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer", "description": "`filemill keys create`"},
            "session": {
                "type": "apiKey",
                "in": "cookie",
                "name": self._cookie,
                "description": "A browser that is logged in, and says that a page of this server asks.",
            },
            "csrf": {
                "type": "apiKey",
                "in": "header",
                "name": CSRF_HEADER,
                "description": "With a session: the `csrf` of `GET /session`.",
            },
        }
        parts["headers"] = {
            name: {"description": said, "schema": {"type": "string"}}
            for name, said in HEADERS.items()
        }
        for path, operations in self._found["paths"].items():
            for method, operation in operations.items():
                self._complete(method.upper(), path, operation)
        self._name_entrances()
        return self._found

    def _complete(self, method: str, path: str, operation: dict[str, Any]) -> None:
        answer = ANSWERS.get((method, path), Answer())
        is_open = path in OPEN or method == "OPTIONS"
        session: dict[str, list[str]] = {"session": []}
        if method not in SAFE_METHODS:
            session["csrf"] = []
        operation["security"] = [] if is_open else [{"key": []}, session]
        operation["responses"] = self._responses(method, path, answer, is_open=is_open)
        for each in answer.asked:
            schema = {"type": "string"} | ({"pattern": each.pattern} if each.pattern else {})
            operation.setdefault("parameters", []).append(
                {
                    "name": each.name,
                    "in": "header",
                    "description": each.description,
                    "required": each.required,
                    "schema": schema,
                }
            )
        if answer.body:
            operation["requestBody"] = {
                "content": {media: {"schema": schema} for media, schema in answer.body.items()}
            }

    def _responses(
        self, method: str, path: str, answer: Answer, *, is_open: bool
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        content = {} if method == "HEAD" or answer.status == 204 else self._content(answer)
        for status in (answer.status, *answer.also):
            found[str(status)] = _response(status, content, answer.headers)
        error = {} if method == "HEAD" else self._json((documents.Error,))
        errors = {*ALWAYS, *answer.errors, *(() if is_open else KEYED)}
        for status in sorted(errors):
            headers: tuple[str, ...] = ("WWW-Authenticate",) if status == 401 else ()
            headers += ("Retry-After",) if status in RETRIED else ()
            page = {_PAGE: _NOT_JSON[_PAGE]} if status in answer.pages else {}
            found[str(status)] = _response(status, error | page, headers)
        if path == "/readyz":
            found["503"]["content"] = self._json((documents.Error, documents.Readiness))
        found["default"] = {"description": _ANY} | ({"content": error} if error else {})
        return found

    def _content(self, answer: Answer) -> dict[str, Any]:
        if answer.shapes:
            content = self._json(answer.shapes)
            if answer.name:
                content["application/json"]["example"]["schema"] = answer.name
            return content
        return {media: _NOT_JSON[media] for media in (answer.media, *answer.others) if media}

    def _json(self, shapes: tuple[Any, ...]) -> dict[str, Any]:
        refs = [{"$ref": _REF.format(name=each.__name__)} for each in shapes]
        example = example_of(refs[0], self._schemas)
        schema = refs[0] if len(refs) == 1 else {"anyOf": refs}
        return {"application/json": {"schema": schema, "example": example}}

    def _name_entrances(self) -> None:
        """Put the paths that the configuration names in the place of their pattern."""
        paths = self._found["paths"]
        pattern = paths.pop(ENTRANCE, {})
        for path in self._entrances:
            here = copy.deepcopy(pattern)
            for operation in here.values():
                operation["operationId"] += path.replace("/", "_")
                operation["parameters"] = [
                    each for each in operation.get("parameters", ()) if each["in"] != "path"
                ]
            paths[path] = here


def _response(status: int, content: dict[str, Any], headers: tuple[str, ...]) -> dict[str, Any]:
    named = ("X-Request-Id", *headers)
    told: dict[str, Any] = {
        "description": STATUSES[status],
        "headers": {name: {"$ref": f"{_REF_HEADER}{name}"} for name in named},
    }
    return told | ({"content": content} if content else {})
